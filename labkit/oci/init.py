"""What the first process of a container does until it is the container's program.

It makes the calls itself, in a copy of this Python, and imports nothing any more: after pivot_root
there is no file of ours. Where the runtime has to do its part, the two talk (`birth.py`).
"""

import fcntl
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from labkit.container.container import Container
from labkit.container.new_root import mask
from labkit.container.user_namespace import in_user_namespace
from labkit.linux import trace
from labkit.linux.call import may_be_missing
from labkit.linux.credentials import setresgid, setresuid
from labkit.linux.fields import dataclass
from labkit.linux.files import chdir, close, openat, umask, write_file
from labkit.linux.flags import (
    AT_FDCWD,
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    MNT_DETACH,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_MOVE,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    PR_SET_DUMPABLE,
    Clone,
)
from labkit.linux.mounts import chroot, mount, mount_setattr, pivot_root, umount2
from labkit.linux.proc import mounts as mounted
from labkit.linux.processes import prctl, sethostname, setns, setsid, unshare
from labkit.linux.waking import Waking
from labkit.oci import devices, hooks, mounts, process, terminal
from labkit.oci.birth import Channel, explained
from labkit.oci.config import Config
from labkit.oci.options import PROPAGATION
from labkit.oci.sysctls import sysctls
from labkit.state.lock import Lock
from labkit.text.words import Words

STARTING = b"+"
"""What is sent through the gate before the program: if nothing comes after it, the program runs."""
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # netdevice(7)


@dataclass(frozen=True)
class Plan:
    """All that a first process needs to know, and the descriptors that it inherits.

    new, entered: the kinds of namespaces. gate: a socket on which it waits to be started. lock: of
    the runtime, not to be kept. console: the socket that its terminal goes to. state: for hooks.
    filtered: what judges the program's calls.
    pivot, keyring: whether to change the root by pivot_root(2), and to make a session keyring.
    """

    config: Config
    name: str
    rootfs: str
    new: Clone
    entered: Clone
    points: list[mounts.MountPoint]
    gate: socket.socket
    lock: Lock
    console: socket.socket | None
    state: Mapping[str, Any]
    filtered: process.Filtering
    pivot: bool = True
    keyring: bool = True

    @property
    def binds_devices(self) -> bool:
        """Whether the kernel lets no device be made, since a user namespace owns this."""
        return bool(self.own & CLONE_NEWUSER) or in_user_namespace(Container(("true",)))

    @property
    def own(self) -> Clone:
        """The kinds that the container does not share with us."""
        return self.new | self.entered

    @property
    def linux(self) -> Config:
        """The section of Linux."""
        found: Config = self.config["linux"]
        return found


def first_process(plan: Plan, channel: Channel) -> None:
    """Build the container, wait to be started, become the program."""
    plan.lock.release()
    channel.receive()  # the IDs are mapped, and we are in our control groups
    with Waking() as woken:  # it opens files, of which the program's limits may soon allow few
        build(plan, channel)
        given = plan.config.get("process")
        path = ready(plan, given) if given else ""
        signal.signal(signal.SIGTERM, _ended)  # process 1 has no default action
        channel.send(at="ready")
        channel.close()
        started(plan, path, woken)


def build(plan: Plan, channel: Channel) -> None:
    """Build the container around us, in order. The runtime sets our limits on the way."""
    become_root(plan.own)
    enter_namespaces(plan)
    name_and_settings(plan)
    umask(0)
    prepare_mounts(plan)
    chdir(plan.rootfs)
    fill(plan)
    channel.send(at="mounted")
    channel.receive()  # hooks have seen the container from outside
    hooks.run(plan.config, "createContainer", {**plan.state, "pid": os.getpid()})
    change_root(plan)
    finish(plan)


def become_root(own: Clone) -> None:
    """Become user and group 0 of our user namespace, and own our files in /proc."""
    if own & CLONE_NEWUSER:
        setresgid(0, 0, 0)
        setresuid(0, 0, 0)
        prctl(PR_SET_DUMPABLE, 1)


def enter_namespaces(plan: Plan) -> None:
    """Make those namespaces in which one cannot be born, lead a session, and bring lo up."""
    if plan.new & CLONE_NEWTIME:
        _set_clocks(plan.linux.get("timeOffsets", {}))
    if plan.new & CLONE_NEWCGROUP:
        unshare(CLONE_NEWCGROUP)  # its root is the groups in which we are by now
    setsid()
    if plan.keyring:
        process.own_keyring(plan.name)
    if plan.new & CLONE_NEWNET:
        _bring_up("lo")


def _set_clocks(offsets: Mapping[str, Any]) -> None:
    """Make a time namespace, set its clocks, enter it: see `container/contain.py:move_clocks`."""
    unshare(CLONE_NEWTIME)
    lines = [f"{k} {v.get('secs', 0)} {v.get('nanosecs', 0)}\n" for k, v in offsets.items()]
    if lines:
        write_file("/proc/self/timens_offsets", "".join(lines))
    fd = openat(AT_FDCWD, "/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    setns(fd, CLONE_NEWTIME)
    close(fd)


def _bring_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sh14x", name.encode(), 0))
        (flags,) = struct.unpack("16xh14x", asked)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), flags | _IFF_UP))


def name_and_settings(plan: Plan) -> None:
    """Set the names of the machine and the kernel's settings, by the /proc that is still there."""
    if name := plan.config.get("hostname"):
        sethostname(name)
    if name := plan.config.get("domainname"):
        data = os.fsencode(name)
        trace.make("setdomainname", f"{trace.quoted(name)}, {len(data)}", data, len(data))
    for path, value in sysctls(plan.config).items():
        write_file(path, value)


def prepare_mounts(plan: Plan) -> None:
    """Cut the mounts off from the host's, and make the root a mount: pivot_root wants one.

    Neither the root's parent nor the old root may be shared. Without a mount namespace of its own
    the root is a mount too, private, and all others lie in it: so `delete` lets go of one.
    """
    if not plan.own & CLONE_NEWNS:
        mount(plan.rootfs, plan.rootfs, None, MS_BIND | MS_REC, None)
        mount(None, plan.rootfs, None, MS_PRIVATE | MS_REC, None)
        return
    word = plan.linux.get("rootfsPropagation") or "rslave"
    if word not in PROPAGATION:
        raise ValueError(
            Words(f"rootfsPropagation：没有 {word!r}", f"rootfsPropagation: there is no {word!r}")
        )
    flag = PROPAGATION[word] & ~MS_REC
    mount(None, "/", None, (flag if flag & ~int(MS_PRIVATE) else MS_PRIVATE) | MS_REC, None)
    _parent_private(plan.rootfs)
    mount(plan.rootfs, plan.rootfs, None, MS_BIND | MS_REC, None)


def _parent_private(path: str) -> None:
    above = [each for each in mounted() if f"{path}/".startswith(f"{each.point.rstrip('/')}/")]
    parent = max(above, key=lambda each: len(each.point))
    if any(word.startswith("shared:") for word in parent.propagation):
        mount(None, parent.point, None, MS_PRIVATE, None)


def fill(plan: Plan) -> None:
    """Mount what the configuration wants, in its order, and make the devices."""
    for point in plan.points:
        mounts.put(point, plan.own)
    if not devices.is_the_hosts(plan.config):
        for device in devices.devices(plan.config):
            devices.put(device, bound=plan.binds_devices)
        devices.link()


def change_root(plan: Plan) -> None:
    """Exchange the root, and let go of the old one."""
    if not plan.own & CLONE_NEWNS:
        chroot(".")
    elif plan.pivot:
        pivot_root(".", ".")
        mount(None, ".", None, MS_SLAVE | MS_REC, None)  # or the host would see it unmounted
        umount2(".", MNT_DETACH)
    else:
        mount(".", "/", None, MS_MOVE, None)
        chroot(".")
    chdir("/")


def finish(plan: Plan) -> None:
    """What is done by paths of the container: its terminal, what is covered, what is read-only."""
    given = plan.config.get("process", {})
    if plan.console:
        terminal.take(given, plan.console, as_console=True)
        plan.console.close()
    else:
        process.give_streams(given)
    if given:
        os.makedirs(given["cwd"], 0o755, exist_ok=True)
    if word := plan.linux.get("rootfsPropagation"):
        mount(None, "/", None, PROPAGATION[word], None)
    for path in plan.linux.get("readonlyPaths", ()):
        _make_read_only(path)
    for path in plan.linux.get("maskedPaths", ()):
        mask(path)
    if plan.config["root"].get("readonly"):
        mount_setattr(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY)


def _make_read_only(path: str) -> None:
    with may_be_missing():
        mount(path, path, None, MS_BIND | MS_REC, None)
    with may_be_missing():
        mount_setattr(AT_FDCWD, path, AT_RECURSIVE, MOUNT_ATTR_RDONLY)


def ready(plan: Plan, given: Config) -> str:
    """Find the program, from its working directory. Its path."""
    process.schedule(given, plan.linux)
    chdir(given["cwd"])
    return process.found_program(given)


def started(plan: Plan, path: str, woken: int) -> None:
    """Wait at the gate; then run the last hooks, and become the program.

    Whoever opens the gate hears of what goes wrong from here on. It hears nothing, when the program
    runs: execve(2) closes the connection. woken: a descriptor that a signal makes readable.
    """
    # A handler runs between two instructions: accept(2) alone might begin after the signal came.
    select.select([plan.gate.fileno(), woken], (), ())
    answer, _ = plan.gate.accept()
    try:
        given = plan.config.get("process")
        if given is None:
            raise ValueError(Words("config.json 里没有 process", "config.json has no process"))
        state = {**plan.state, "pid": os.getpid(), "status": "created"}
        hooks.run(plan.config, "startContainer", state)
        become(given, plan.filtered, path, lambda: answer.send(STARTING))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told, and we end
        answer.send(json.dumps(explained(error)).encode())
    os._exit(1)


def become(
    given: Config, filtered: process.Filtering, path: str, announce: Callable[[], object]
) -> None:
    """Become a program, with the signals as they are at first: Python ignores two.

    announce: says that only execve(2) is left to be done.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    env = process.variables(given)
    process.limit(given, filtered)
    announce()
    process.become(path, given, env)


def _ended(number: int, _: object) -> None:
    os._exit(128 + number)
