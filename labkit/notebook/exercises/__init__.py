"""The exercises of the notebooks, a lesson each: ``from labkit.notebook.exercises import v01``.

``v01`` shows which are solved; ``v01.argv`` what one asks; ``v01.argv.check(answer)``, ``.hint()``
and ``.solution()`` do what they say. ``v01.restart()`` begins afresh.
"""

from labkit.notebook.exercises.v00_why import V00
from labkit.notebook.exercises.v01_run import V01
from labkit.notebook.exercises.v02_uts import V02
from labkit.notebook.exercises.v02b_unshare import V02b
from labkit.notebook.exercises.v03_mount_ipc_net import V03
from labkit.notebook.exercises.v04_pid_proc import V04
from labkit.notebook.exercises.v05_user import V05

__all__ = ["v00", "v01", "v02", "v02b", "v03", "v04", "v05"]

v00, v01, v02, v02b = V00(), V01(), V02(), V02b()
v03, v04, v05 = V03(), V04(), V05()
