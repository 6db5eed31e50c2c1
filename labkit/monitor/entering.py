"""One more process in a container that runs: whose namespaces it enters, and who makes it."""

from labkit.cgroups.membership import way_in
from labkit.engine import connection
from labkit.engine.request import Target
from labkit.linux import proc
from labkit.monitor import acts
from labkit.monitor.record import Record
from labkit.text.words import Words


def target(found: Record) -> Target:
    """The process whose namespaces are entered. From now on its monitor is our engine."""
    now = acts.running(found)
    if now.word == "paused":
        raise ValueError(
            Words(
                f"容器 {found.name} 暂停着，先 unpause",
                f"Container {found.name} is paused, unpause the container before exec",
            )
        )
    monitor = acts.monitor_of(found)
    if monitor is None:
        raise ValueError(
            Words(f"容器 {found.name} 没有在运行", f"container {found.id} is not running")
        )
    pidfd = monitor.pidfd()
    connection.use(monitor)
    paths = dict.fromkeys(now.directories.values())
    groups = [way_in(path, now.version) for path in paths]
    return Target(now.pid, proc.number(now.pid), pidfd, groups)
