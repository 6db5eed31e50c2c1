"""The way in and on: the page that `make lab` opens, and the learner's own copies of the lessons.

A page of the server, not a notebook
    Nothing has to be run before it shows something, and each look is fresh: what is solved is read
    when the page is asked for, and again when somebody comes back to it. A notebook would want a
    kernel, and an extension of JupyterLab a build. The page stands under the token of the lab
    (`server.py`), speaks the language that the notebooks' switch has chosen, and leads into
    JupyterLab by links.

Copies, not the lessons themselves
    A notebook changes as soon as it is run. In a clone, ``git pull`` would then refuse to go on.
    So a learner works in `lessons/`, which git does not follow (`copies.py`). A copy that nobody
    has changed is brought up to date when the lab starts; one that was changed is left alone, and
    the learner is told that there is a newer one. Whether it was changed, its cells say: outputs
    alone are no work of the learner's.

The lab shows the project, and begins at `lessons/`
    So a lesson's links lead to `docs/` and to the source, and the file list greets nobody with the
    project's files. Where the project is not ours, links beside the copies stand in for it.

An open notebook is saved
    JupyterLab writes into a notebook what its kernel says of its language. What is already there it
    does not write, so a copy has it (`copies.py:language`), and opening a lesson changes nothing.
"""
