"""A group of an ordinary user's own: systemd's user manager hands one on to a scope, over D-Bus.

org.freedesktop.systemd1(5). A scope is a unit of processes that systemd has not started itself. It
gets this process with all that it has started, because the kernel lets nobody move a process out of
a group that is not his own. `systemd-run --user --scope` would have to start a notebook's process,
which runs already. D-Bus is spoken by jeepney: it is pure Python.
"""

import contextlib
import os
import socket
import time

from labkit.cgroups import stats
from labkit.cgroups.membership import own
from labkit.linux import id_maps, proc
from labkit.python.typing import Any
from labkit.text.words import Words

_PATIENCE = 10.0  # seconds for systemd's answer, and again for the move
_TRIES = 5
_ENDED = "org.freedesktop.DBus.Error.UnixProcessIdUnknown"


def begin() -> None:
    """Be moved to a new scope whose groups are ours to make.

    ValueError where nobody can do it: no bus of the user's, no systemd behind it, or it refuses.
    """
    address, name = _bus(), f"labkit-{os.urandom(6).hex()}.scope"
    if address is None:
        raise _refused(Words("没有用户总线", "the user has no bus"))
    try:
        _ask(address, name)
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(Words(str(error), str(error))) from error
    end = time.monotonic() + _PATIENCE
    while name not in own():
        if time.monotonic() > end:
            raise _refused(Words(f"{name} 没有启动", f"{name} was not started"))
        time.sleep(0.005)


def offered(top: str) -> list[str]:
    """The controllers that the user manager can hand on; none for root, or without a bus.

    top: where version 2 is mounted.
    """
    user = id_maps.outside()
    if not user or _bus() is None:
        return []
    manager = f"{top}/user.slice/user-{user}.slice/user@{user}.service"
    return stats.text(f"{manager}/cgroup.controllers").split()


def _bus() -> str | None:
    """Where the bus of this user is, if there is one."""
    if named := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return named
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{id_maps.outside()}"
    return f"unix:path={folder}/bus" if os.path.exists(f"{folder}/bus") else None


def _ask(address: str, name: str) -> None:
    """Ask for the scope. Who has ended since we looked is left out of the next attempt."""
    from jeepney.io.blocking import DBusConnection  # only who asks pays for its import
    from jeepney.low_level import HeaderFields, MessageType

    with DBusConnection(_let_in(address)) as bus:
        for _ in range(_TRIES):
            reply = bus.send_and_get_reply(_request(name), timeout=_PATIENCE)
            if reply.header.message_type != MessageType.error:
                return
            kind = reply.header.fields.get(HeaderFields.error_name, "")
            if kind != _ENDED:
                break
    raise RuntimeError(" ".join(str(part) for part in (kind, *reply.body[:1])))


def _let_in(address: str) -> socket.socket:
    """A connection to a bus that knows who we are: D-Bus specification, "Authentication Protocol".

    It compares what we say with what the kernel tells it of us, which is our ID outside. jeepney
    would say the one that we have inside of a user namespace.
    """
    from jeepney.bus import get_bus

    bus = socket.socket(socket.AF_UNIX)
    try:
        bus.settimeout(_PATIENCE)  # one that systemd starts only now is slow to let anybody in
        bus.connect(get_bus(address))
        bus.sendall(b"\0AUTH EXTERNAL %b\r\n" % f"{id_maps.outside()}".encode().hex().encode())
        answer = bus.recv(1024)
        if not answer.startswith(b"OK "):
            raise RuntimeError(answer.decode(errors="replace").strip())
        bus.sendall(b"BEGIN\r\n")
        bus.settimeout(None)
    except BaseException:
        bus.close()
        raise
    return bus


def _request(name: str) -> Any:  # noqa: ANN401 - a message of jeepney's
    from jeepney import DBusAddress, new_method_call

    manager = DBusAddress(
        "/org/freedesktop/systemd1",
        bus_name="org.freedesktop.systemd1",
        interface="org.freedesktop.systemd1.Manager",
    )
    properties = [
        ("Description", ("s", "labkit: containers with limits")),
        ("Delegate", ("b", True)),
        ("PIDs", ("au", _family())),
    ]
    form = "ssa(sv)a(sa(sv))"
    return new_method_call(manager, "StartTransientUnit", form, (name, "fail", properties, []))


def _family() -> list[int]:
    """This process and all that it has started, the engine among them, but for who has ended."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found = proc.stat(name)
            if found.state != "Z":
                parents[int(name)] = found.ppid
    family = [os.getpid()]
    for pid in family:  # it grows meanwhile
        family += [child for child, parent in parents.items() if parent == pid]
    return family


def _refused(why: Words) -> ValueError:
    return ValueError(
        Words(
            "普通用户限制容器，要由 systemd 的用户管理器给一个自己的控制组，"
            f"这里没要到（{why.zh}）：直接登录，不要用 su；"
            "或者请管理员执行 loginctl enable-linger 你的用户名；或者用 root",
            "an ordinary user needs a control group from systemd's user manager to limit a "
            f"container, and did not get it here ({why.en}): log in yourself, not by su; or have "
            "an administrator run loginctl enable-linger with your name; or be root",
        )
    )
