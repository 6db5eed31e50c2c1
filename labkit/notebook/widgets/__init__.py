"""What moves on the page: the map, the chooser, the stepper, the terminal, the switch.

A widget has a static form beside it, as text and HTML. That form is what a saved notebook keeps.

A widget outlives the notebook's process that made it: after a restart it is still on the page. So
each one says that its process is gone, disables what cannot work, and has a button that runs its
cell again: it presses Ctrl+Enter, since a page cannot reach JupyterLab's commands. The part that is
the same for all of them is in `static/widget.js` (`sayEnd`).

The switch of languages waits for the page, which alone knows what it speaks. Else a first Run All
would speak both.

A terminal in a cell has bounds
    Nothing between a program and a page may grow without limit, and nothing may wait for a page
    that sleeps. So `screen.py` keeps the latest 256 KiB and counts bytes. Reading stops while a
    page is 128 KiB behind. After a second without progress it goes on without that page. When the
    page speaks again, it gets what is kept. A page that is reloaded is served the same
    way. xterm.js is in `static/vendor/`, unchanged and with its licence. It is not part of each
    widget; it is sent to a page once.
    Keys are received on the thread that JupyterLab keeps for widgets (a subshell). So they arrive
    while a cell runs.

A terminal belongs to its cell and ends when
    the cell runs again (IPython says which cell runs);
    the output is cleared or the cell deleted: its view is gone, the notebook is still there, and no
    other view appears for two seconds (one appears when a cell is moved);
    it is closed, or the kernel is gone.
Closing a notebook leaves it running, as it leaves the kernel running. Keys go to the terminal;
Ctrl+Shift+Enter leads out of it. Ctrl+Shift+Escape would be the task manager on Windows, and
Docker's Ctrl-P Ctrl-Q closes some browsers.
"""
