"""A docker of one's own: the one file that a learner writes, and what judges it.

``from labkit.notebook import mydocker``; then ``mydocker.begin()`` begins the file beside the
notebooks, ``mydocker.check("v0.2")`` judges it up to a lesson, and ``hint()``, ``diff()``,
``model()`` and ``reset("v0.3")`` help. ``standing()`` says how far it is without running anything.

The file is the learner's
    git does not follow it, no update touches it, and what replaces it keeps it under another name.
    It is edited in JupyterLab's editor, where it is a program, not in a cell, where it would be
    text. It imports `labkit.syscalls` and the standard library only: its imports are read, and that
    is all that is read of it.

It is judged as a black box, by what the kernel shows
    It is run as ``python mydocker.py run ...`` in a machine that is thrown away (`trials.py`).
    There `bench.py` plays a host whose mounts are shared, as on a machine with systemd, and looks
    at that host afterwards. Inside the learner's container, `probe.py` says what it sees. A stage's
    claims say what that has to be (`claims.py`).
    V0.5 is tried by a user without privileges. This is a user of a user namespace who owns what we
    own, so the file and Python can be read.
    When a stage's own model fails too, the machine is to blame.

A model of each stage stands in `models`
    Each is the smallest file that reaches its stage, and the next one grows out of it. They are
    read as text and never imported. What ``begin()`` writes stands beside them.
"""

from labkit.notebook.mydocker.own import Own

__all__ = ["begin", "check", "diff", "hint", "model", "reset", "standing"]

_own = Own()
begin, check, hint, standing = _own.begin, _own.check, _own.hint, _own.standing
diff, model, reset = _own.diff, _own.model, _own.reset
