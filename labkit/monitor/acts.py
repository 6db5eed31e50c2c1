"""What is done to a container: started, stopped, signalled, paused, waited for, removed.

Refusals are in Docker's words. Each act is safe beside others: who starts or removes a container
holds its folder, and what is sent to one that runs goes to its monitor, which knows its process.
"""

import _signal  # type: ignore[import-not-found]
import select
import time
from _collections_abc import Callable

from labkit.cgroups import v1, v2
from labkit.linux.fields import replace
from labkit.monitor import names, status
from labkit.monitor import record as records
from labkit.monitor.address import Monitor, begin, connect
from labkit.monitor.after import tidy
from labkit.monitor.record import NoSuchContainer, Record
from labkit.monitor.status import Status
from labkit.python import contextlib
from labkit.state.held import Held
from labkit.state.lock import Lock, Taken
from labkit.text.words import Words

_PATIENCE = 20.0  # seconds for somebody else who is at work on a container
_STOP = 10.0  # seconds that docker stop gives a program


def _nothing(_: Monitor) -> None:
    """Nobody is attached."""


def start(
    record: Record,
    attach: Callable[[Monitor], None] = _nothing,
    size: tuple[int, int] | None = None,
) -> Monitor | None:
    """Start a container, if it does not run already (None). Its monitor.

    attach: what is said to the monitor before the container prints anything. size: of its terminal.
    """
    owner = _held_unless_up(record)
    if owner is None:
        return None
    from labkit.monitor.launch import launch  # only who starts one pays for its import

    try:
        monitor = begin(record, owner)
    finally:
        owner.release()
    try:
        attach(monitor)
        launch(record, monitor, size)
    except BaseException:
        monitor.close()  # or the folder's lock would be on its way to us
        raise
    return monitor


def _held_unless_up(record: Record) -> Held | None:
    end = time.monotonic() + _PATIENCE
    while True:
        found = status.of(record)
        if found.word == "paused":
            raise ValueError(
                Words(
                    "容器暂停着，不能启动：用 unpause 让它继续",
                    "cannot start a paused container, try unpause instead",
                )
            )
        if found.is_up:
            return None
        try:
            return record.hold(timeout=0.2)
        except Taken:  # somebody starts or removes it, or its monitor is just ending
            if time.monotonic() > end:
                raise


def running(record: Record) -> Status:
    """The status of a container that runs or is paused. ValueError: it does not."""
    found = status.of(record)
    if found.word not in ("running", "paused"):
        raise ValueError(
            Words(f"容器 {record.name} 没有在运行", f"container {record.id} is not running")
        )
    return found


def monitor_of(record: Record) -> Monitor | None:
    """A connection to the monitor of a container; None: it has none."""
    with contextlib.suppress(ConnectionError, FileNotFoundError):
        return connect(record, int(record.run().get("monitor", 0)))
    return None


def kill(record: Record, number: int) -> None:
    """Send the first process of a container a signal. ValueError: it does not run.

    SIGKILL is waited for, as Docker does: afterwards the container has ended.
    """
    running(record)
    if number == _signal.SIGKILL:
        stop(record, number=number, timeout=-1, told=False)
    elif monitor := monitor_of(record):
        with contextlib.suppress(ConnectionError):
            records.tell(record, "kill", signal=f"{number}")
            ends = number == stop_signal(record)
            monitor.send(f"{'stop' if ends else 'signal'} {number}")
            monitor.send("pidfd")  # whose answer says that the signal has been sent
            monitor.answer()
        monitor.close()


def stop_signal(record: Record) -> int:
    """The signal that asks its program to end: SIGTERM, if it or its image has no other."""
    return number_of(str(record.settings.get("stop_signal") or "TERM"))


def number_of(text: str) -> int:
    """A signal by name or number: KILL, SIGKILL, 9. ValueError: there is none."""
    if text.isdigit() and 0 < int(text) < _signal.NSIG:
        return int(text)
    name = text.upper()
    name = name.removeprefix("SIG")
    if name[:1].isalpha() and isinstance(found := getattr(_signal, f"SIG{name}", None), int):
        return found
    raise ValueError(Words(f"没有这个信号：{text}", f"invalid signal: {text}"))


def stop(
    record: Record, *, number: int = 0, timeout: float | None = None, told: bool = True
) -> None:
    """Ask a container to end, and kill it when the time is up. Nothing if it does not run.

    timeout: seconds; less than 0: wait for ever. told: whether that is an event of its own.
    """
    monitor = monitor_of(record)
    if monitor is None:
        return
    own = record.settings.get("stop_timeout")
    seconds = timeout if timeout is not None else _STOP if own is None else float(own)
    with contextlib.suppress(ConnectionError):
        monitor.send("wait")
        _ask_to_end(record, monitor, number or stop_signal(record))
        if not heard(monitor, seconds):
            _ask_to_end(record, monitor, int(_signal.SIGKILL))
        _until_gone(monitor)
    monitor.close()
    if told:
        records.tell(record, "stop")


def _ask_to_end(record: Record, monitor: Monitor, number: int) -> None:
    records.tell(record, "kill", signal=f"{number}")
    monitor.send(f"stop {number}")


def heard(monitor: Monitor, seconds: float) -> bool:
    """Whether a monitor says something within so many seconds."""
    poll = select.poll()
    poll.register(monitor, select.POLLIN)
    return bool(poll.poll(None if seconds < 0 else seconds * 1000))


def _until_gone(monitor: Monitor) -> None:
    """Wait until a monitor has done all, and ended."""
    while monitor.answer()[0]:
        pass


def wait(record: Record) -> int:
    """Wait until a container does not run. Its exit status."""
    while status.of(record).is_up:
        monitor = monitor_of(record)
        if monitor is None:  # it is just ending
            time.sleep(0.01)
            continue
        with contextlib.suppress(ConnectionError):
            monitor.send("wait")
            if (code := monitor.status()) is not None:
                return code
    return status.of(record).code


def remove(record: Record, *, force: bool = False, volumes: bool = False) -> None:
    """Remove a container. force: kill it first, if it runs. volumes: and those without a name."""
    with contextlib.suppress(NoSuchContainer) if force else contextlib.nullcontext():
        owner = _held_stopped(record, force=force)
        try:
            records.remove(record, owner, volumes=volumes)
        finally:
            owner.release()


def _held_stopped(record: Record, *, force: bool) -> Held:
    """Hold the folder of a container that does not run. One that is just being started may yet."""
    end = time.monotonic() + _PATIENCE
    while True:
        found = status.of(record)
        if found.is_up and not force:
            raise _is_up(record, found)
        if found.is_up:
            stop(record, number=_signal.SIGKILL, timeout=-1, told=False)
        try:
            return record.hold(timeout=0.2)
        except Taken:
            if time.monotonic() > end:
                raise


def _is_up(record: Record, found: Status) -> ValueError:
    why = Words("正在运行", "container is running")
    how = Words("先停下它，或者用 -f", "stop the container before removing or force remove")
    if found.word == "paused":
        why = Words("暂停着", "container is paused and must be unpaused first")
        how = Words("先 unpause，或者用 -f", "unpause it, or force remove")
    return ValueError(
        Words(
            "不能删除容器 {name}：它{why}：{how}",
            'cannot remove container "/{name}": {why}: {how}',
        ).filled(name=record.name, why=why, how=how)
    )


def restart(record: Record, *, number: int = 0, timeout: float | None = None) -> None:
    """Stop a container, if it runs, and start it."""
    stop(record, number=number, timeout=timeout)
    if monitor := start(record):
        monitor.close()
    records.tell(record, "restart")


def rename(record: Record, name: str) -> None:
    """Give a container another name; events tell of it by that from now on."""
    try:
        names.rename(record.name, name)
    except FileNotFoundError:  # it has just been removed, or renamed
        raise NoSuchContainer(record.name) from None
    renamed = replace(record, name=name.removeprefix("/"))
    from labkit.monitor import connecting  # only this one of the acts is about networks

    connecting.rename(record, renamed.name)
    records.tell(renamed, "rename", oldName=f"/{record.name}")
    if monitor := monitor_of(record):
        with contextlib.suppress(ConnectionError):
            monitor.send(f"called {records.called(renamed)}")
        monitor.close()


def freeze(record: Record, *, frozen: bool) -> None:
    """Stop all processes of a container, or let them go on."""
    found = running(record)
    if not found.directories:
        raise ValueError(
            Words(
                f"容器 {record.name} 没有控制组，不能暂停",
                f"container {record.name} has no control group, so it cannot be paused",
            )
        )
    if (found.word == "paused") == frozen:
        said = (
            Words("已经暂停", "is already paused") if frozen else Words("没有暂停", "is not paused")
        )
        raise ValueError(Words("容器 {}{}", "Container {} {}").filled(record.name, said))
    form = v1 if found.version == 1 else v2
    form.freeze(found.directories, frozen=frozen)
    records.tell(record, "pause" if frozen else "unpause")


def change_policy(record: Record, policy: str) -> None:
    """Give a container another restart policy, at once if it runs."""
    record.change(restart=policy)
    if monitor := monitor_of(record):
        with contextlib.suppress(ConnectionError):
            monitor.send(f"policy {policy.replace(':', ' ')}")
        monitor.close()


def finish(record: Record, monitor: Monitor) -> int | None:
    """Wait for the end of a container of ours, and tidy up in its monitor's place.

    Its exit status; None: its monitor was killed.
    """
    while (answer := monitor.answer())[0]:
        if answer[0].startswith("exited"):
            if answer[1]:
                owner = Held(record.path, Lock(answer[1][0]))
                tidy(record, owner)
                owner.release()
            return int(answer[0].split()[1])
    return None
