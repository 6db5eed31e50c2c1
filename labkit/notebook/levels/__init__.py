"""Each lesson's cell is real, rootless or recorded, by what this machine allows.

    real       as the cell is written
    rootless   by root of a new user namespace: a second engine makes the containers
    recorded   the cell shows what it showed where the lesson was built

The level is decided by trying (`levels.py`). A cell of a lesson is recognized by its source; blank
lines and spaces at a line's end do not count (`saved_outputs.py`). If the machine refuses something
to it, its output is cleared, and it runs again with the second engine. So no cell is written twice,
and %%child, %docker and the exercises go the same way. If that fails as well, the recording is
shown. Each cell says which way it took, and why.

Nothing is hidden
    On a machine that allows everything, only a call that the kernel refused is excused.
    A cell that a learner has changed fails as it should.
    A cell that needs what no earlier cell has made fails too, unless that cell was only shown.

The second engine cannot enter a container's PID namespace for a clone, because it could not come
back. There the child clones once more.

`%load_ext labkit` does the same as `doctor()`: after a restart, a learner may go on below the first
cell.
"""
