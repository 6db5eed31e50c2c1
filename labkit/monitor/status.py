"""What has become of a container: worked out when somebody asks, and never stored.

Its folder says when it started, and when it ended if somebody was there to see that. Its lock says
whether its monitor lives. Its control group says whether it is paused. So whoever was killed, the
answer is right.
"""

import os
from _collections_abc import Mapping

from labkit.cgroups import stats
from labkit.cgroups.freezer import is_frozen
from labkit.linux.fields import dataclass
from labkit.monitor.lines import moment
from labkit.monitor.record import RUN, Record, looking
from labkit.python.typing import Any

KILLED, LOST = 137, 255  # exit statuses: ended with its monitor; ended with the machine, as Docker
NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Status:
    """word: created, running, paused, restarting, exited. pid: its first process, or 0.

    code: its last exit status. started, finished: when, NEVER if not. about: what its launcher has
    noted: groups, addresses, ports.
    """

    word: str
    pid: int = 0
    code: int = 0
    started: str = NEVER
    finished: str = NEVER
    oom: bool = False
    restarts: int = 0
    about: Mapping[str, Any] | None = None

    @property
    def is_up(self) -> bool:
        """Whether it has processes, or is going to have some by itself."""
        return self.word in ("running", "paused", "restarting")

    @property
    def directories(self) -> dict[str, str]:
        """Its control groups, by controller; none if it has no limits."""
        group = (self.about or {}).get("group") or {}
        found: dict[str, str] = group.get("directories", {})
        return found

    @property
    def version(self) -> int:
        """The version of its control groups; 0 if it has none."""
        group = (self.about or {}).get("group") or {}
        return int(group.get("version", 0))


def of(record: Record) -> Status:
    """What has become of a container.

    The lock comes first. If nobody has it, the container does not run, whatever the folder says.
    """
    try:
        with looking(record.path) as lives:
            run = record.run()
    except FileNotFoundError:  # it is being removed
        return Status("removing")
    return _worked_out(record, run, lives=lives)


def of_held(record: Record) -> Status:
    """The same of a container whose folder we hold: no monitor looks after it."""
    return _worked_out(record, record.run(), lives=False)


def _worked_out(record: Record, run: Mapping[str, Any], *, lives: bool) -> Status:
    if not run:
        return Status("created")
    known = {"started": run["started"] or NEVER, "restarts": run["restarts"]}
    if "finished" in run:
        word = "restarting" if lives and run["restarting"] else "exited"
        word = "created" if run["void"] else word
        more = {"finished": run["finished"], "oom": run["oom"], "about": run["about"]}
        return Status(word, code=run["code"], **known, **more)
    if lives:
        status = Status("running", run["pid"], **known, about=run["about"])
        return Status(**{**vars(status), "word": "paused" if is_paused(status) else "running"})
    code = KILLED if run["boot"] == _boot() else LOST
    return Status("exited", code=code, **known, finished=_last_sign(record), about=run["about"])


def is_paused(status: Status) -> bool:
    """Whether its processes are stopped."""
    return is_frozen(status.version, status.directories)


def _boot() -> str:
    return stats.text("/proc/sys/kernel/random/boot_id").strip()


def _last_sign(record: Record) -> str:
    """When we last heard of a container whose monitor was killed."""
    seen = max(os.stat(record.at(name)).st_mtime_ns for name in (RUN, "log"))
    return moment(seen)
