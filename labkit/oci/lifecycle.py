"""The verbs of a container's life: create, start, pause, update, kill, delete."""

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.linux import proc
from labkit.linux.fields import dataclass
from labkit.linux.flags import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    MNT_DETACH,
    MS_REC,
    Clone,
)
from labkit.linux.id_maps import map_files
from labkit.linux.mounts import mount_setattr, umount2
from labkit.oci import config as configuration
from labkit.oci import devices, groups, hooks
from labkit.oci.birth import Channel, Told, bear
from labkit.oci.config import Config
from labkit.oci.init import STARTING, Plan, first_process
from labkit.oci.mounts import MountPoint, open_bind
from labkit.oci.namespaces import namespaces, own
from labkit.oci.process import filtering, set_rlimits
from labkit.oci.state import Kept, Missing, begin, clear, held, now
from labkit.oci.sysctls import sysctls
from labkit.oci.translate import container, id_map
from labkit.state.lock import Lock
from labkit.text.words import Words

_PATIENCE = 10.0  # seconds for a killed process to end
_MOUNT_ATTR_IDMAP = 0x100000  # linux/mount.h


@dataclass(frozen=True)
class Asked:
    """What the command line asks of `create`, besides the configuration.

    console: the socket that a terminal's other end goes to. preserve: how many descriptors the
    program inherits besides its three streams. systemd: whether its driver is meant. pivot,
    keyring: see `Plan`.
    """

    bundle: str
    pid_file: str = ""
    console: socket.socket | None = None
    preserve: int = 0
    systemd: bool = False
    pivot: bool = True
    keyring: bool = True


def create(root: str, name: str, asked: Asked) -> Kept:
    """Make a container whose first process waits."""
    config = configuration.load(asked.bundle)
    check(config, asked.bundle)
    keep_descriptors(asked.preserve)
    with begin(root, name) as (path, lock):
        kept = Kept(path, _document(config, asked.bundle))
        pid = 0
        try:
            with _gate(path) as gate:
                plan = _plan(config, kept, asked, (gate, lock))
                pid, channel = _born(plan, config)
                kept.values |= {"pid": pid, "started": proc.stat(pid).started}
                kept.write()
                kept.note(groups.make(config, name, pid, kept.note, by_systemd=asked.systemd))
                _lead(kept, config, channel)
            kept.values["ready"] = True
            kept.write()
            write_pid(asked.pid_file, pid)
        except BaseException:
            _give_up(kept, config, pid)
            raise
        return kept


def check(config: Config, bundle: str) -> None:
    """Refuse what could be found out only when half of the container is there."""
    if "process" in config:
        container(config, bundle)
    sysctls(config)
    namespaces(config)
    devices.devices(config)
    for section in config.get("mounts", ()):
        MountPoint(section, bundle)
    if "intelRdt" in config["linux"]:
        raise ValueError(Words("labkit 没有 intelRdt", "labkit has no intelRdt"))


def keep_descriptors(count: int) -> None:
    """Let the program inherit the three streams and `count` more, and nothing else."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the directory's own is closed by now
            os.set_inheritable(fd, fd < 3 + count)


def _document(config: Config, bundle: str) -> dict[str, Any]:
    return {
        "pid": 0,
        "started": 0,
        "ready": False,
        "created": now(),
        "bundle": os.path.abspath(bundle),
        "rootfs": configuration.rootfs(config, bundle),
        "annotations": config.get("annotations", {}),
        "groups": groups.Groups(0, {}, ()).as_data(),
        "config": dict(config),
    }


@contextlib.contextmanager
def _gate(path: str) -> Iterator[socket.socket]:
    """The socket on which the first process waits. Its path may be longer than a socket's may be.

    So it is named by the directory's descriptor.
    """
    with _by_descriptor(path) as directory, socket.socket(socket.AF_UNIX) as gate:
        gate.bind(f"{directory}/gate")
        gate.listen(1)
        yield gate


@contextlib.contextmanager
def _by_descriptor(path: str) -> Iterator[str]:
    fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _plan(config: Config, kept: Kept, asked: Asked, inherited: tuple[socket.socket, Lock]) -> Plan:
    new, entered = namespaces(config)
    given = config.get("process", {})
    return Plan(
        config=config,
        name=kept.name,
        rootfs=kept.values["rootfs"],
        new=new,
        entered=Clone(sum(entered)),
        points=_points(config, asked.bundle),
        gate=inherited[0],
        lock=inherited[1],
        console=asked.console if given.get("terminal") else None,
        state=kept.state("creating"),
        filtered=filtering(given, config["linux"]),
        pivot=asked.pivot,
        keyring=asked.keyring,
    )


def _points(config: Config, bundle: str) -> list[MountPoint]:
    points = [MountPoint(each, bundle) for each in config.get("mounts", ())]
    for point in points:
        if point.idmapped:
            point.tree = _mapped_tree(point, config)
    return points


def _mapped_tree(point: MountPoint, config: Config) -> int:
    """Open a bind mount in which IDs are shown as others.

    The map is a user namespace's, so a process is born in one for as long as it takes.
    """
    maps = [tuple(_ranges(each)) for each in point.maps]
    if not any(maps):
        maps = [tuple(id_map(config["linux"], f"{kind}Mappings")) for kind in ("uid", "gid")]
    pid, channel = bear(CLONE_NEWUSER, {}, lambda channel: channel.receive())
    try:
        map_ids(pid, maps[0], maps[1])
        fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        tree = open_bind(point)
        below = point.options.idmapped == "ridmap" or point.options.flags & MS_REC
        recursive = AT_RECURSIVE if below and point.options.idmapped != "idmap" else 0
        mount_setattr(tree, "", AT_EMPTY_PATH | recursive, _MOUNT_ATTR_IDMAP, 0, fd)
        os.close(fd)
        return tree
    finally:
        channel.send(go=True)
        channel.close()
        os.waitpid(pid, 0)


def _ranges(section: object) -> list[tuple[int, int, int]]:
    return id_map({"map": section}, "map")


def map_ids(pid: int, users: object, groups_: object) -> None:
    """Write the maps of a user namespace from outside."""
    allowed = "deny" if os.geteuid() else "allow"
    for name, text in map_files(users, groups_, allowed):  # type: ignore[arg-type]
        path = f"/proc/{pid}/{name}"
        try:
            with open(path, "w") as file:
                file.write(text)
        except OSError as error:
            raise ValueError(Words(*[f'write("{path}"): {error.strerror}: {text!r}'] * 2)) from None


def _born(plan: Plan, config: Config) -> tuple[int, Channel]:
    """Have the first process born, in its namespaces. Two kinds it makes itself."""
    _, entered = namespaces(config)
    later = CLONE_NEWTIME | CLONE_NEWCGROUP
    with contextlib.ExitStack() as stack:
        opened = {}
        for flag, path in entered.items():
            opened[flag] = _opened(path)
            stack.callback(os.close, opened[flag])
        return bear(plan.new & ~later, opened, lambda channel: first_process(plan, channel))


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ValueError(
            Words(f"命名空间 {path}：{reason}", f"the namespace {path}: {reason}")
        ) from None


def _lead(kept: Kept, config: Config, channel: Channel) -> None:
    """Do the runtime's part while the first process builds the container."""
    pid, linux = kept.values["pid"], config["linux"]
    new, _ = namespaces(config)
    if new & CLONE_NEWUSER:
        map_ids(pid, id_map(linux, "uidMappings"), id_map(linux, "gidMappings"))
    given = config.get("process", {})
    if "oomScoreAdj" in given:
        set_oom_score(pid, given["oomScoreAdj"])
    channel.send(go=True)
    channel.receive()  # "mounted"
    set_rlimits(given, pid)
    # Hooks of the older kind are told "created", as when they ran only before the program.
    hooks.run(config, "prestart", kept.state("created"))
    hooks.run(config, "createRuntime", kept.state("creating"))
    channel.send(go=True)
    channel.receive()  # "ready"
    channel.close()


def set_oom_score(pid: int, score: int) -> None:
    """Say how soon a process is to be killed when memory runs out."""
    with open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write(str(score))


def _give_up(kept: Kept, config: Config, pid: int) -> None:
    """Take back what has been made of a container that cannot be."""
    if pid:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    kept.groups.remove()
    _unmount(kept)
    hooks.run_all(config, "poststop", kept.state("stopped"))


def _unmount(kept: Kept) -> None:
    """Take away the root's mount, with all that lies in it, where it was made among our own."""
    if not own(kept.values["config"]) & CLONE_NEWNS:
        with contextlib.suppress(OSError):  # it was not mounted yet
            umount2(kept.values["rootfs"], MNT_DETACH)


def write_pid(path: str, pid: int) -> None:
    """Write a PID for an engine, which may be waiting for the file: it is never half there."""
    if path:
        beside = f"{path}.labkit"
        with open(beside, "w") as file:
            file.write(str(pid))
        os.rename(beside, path)


def start(root: str, name: str) -> None:
    """Open the gate, and wait until the program runs, or cannot."""
    with held(root, name) as kept:
        if kept.status != "created":
            raise _wrong_status("start", kept, "created")
        with _by_descriptor(kept.path) as directory, socket.socket(socket.AF_UNIX) as gate:
            gate.connect(f"{directory}/gate")
            os.unlink(kept.gate)
            said = b"".join(iter(lambda: gate.recv(65536), b""))
        if said != STARTING:
            raise Told(_last_words(said.removeprefix(STARTING)))
        hooks.run_all(kept.values["config"], "poststart", kept.state("running"))


def _last_words(said: bytes) -> Words:
    if said:
        return Words(*json.loads(said))
    return Words("容器的第一个进程在启动前就结束了", "the first process ended before the start")


def _wrong_status(verb: str, kept: Kept, wanted: str) -> ValueError:
    if kept.status == "stopped":  # engines look for these English words
        return ValueError(Words("容器没有在运行", "container not running"))
    return ValueError(
        Words(
            f"{verb}：容器 {kept.name} 是 {kept.status}，要是 {wanted} 才行",
            f"cannot {verb} container {kept.name}: it is {kept.status}, not {wanted}",
        )
    )


def kill(root: str, name: str, number: int, *, every: bool = False) -> None:
    """Send a signal to the first process, or to every one."""
    with held(root, name) as kept:
        if every:
            return _kill_every(kept, number)
        if kept.status not in ("created", "running", "paused"):
            raise _wrong_status("kill", kept, "running")
        os.kill(kept.pid, number)
        if number == signal.SIGKILL and kept.groups.frozen:
            kept.groups.freeze(frozen=False)  # in version 1 even SIGKILL waits for that
    return None


def _kill_every(kept: Kept, number: int) -> None:
    for pid in kept.groups.pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def delete(root: str, name: str, *, force: bool = False) -> None:
    """Remove a container that has stopped; force: any."""
    try:
        with held(root, name) as kept:
            _delete(kept, force=force)
    except Missing:
        clear(root, name)
        raise


def _delete(kept: Kept, *, force: bool) -> None:
    status = kept.status
    if status != "stopped" and not force:
        raise ValueError(
            Words(
                f"容器 {kept.name} 是 {status}，停下之后才能删除；--force 先杀死它",
                f"cannot delete container {kept.name} that is not stopped: {status}; --force kills "
                "it first",
            )
        )
    if kept.pid:
        _end(kept)
    kept.groups.remove()
    _unmount(kept)
    config = kept.values["config"]
    state = kept.state("stopped")
    kept.remove()
    hooks.run_all(config, "poststop", state)


def _end(kept: Kept) -> None:
    """Kill the first process, and wait for its end. In a PID namespace all others end with it."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(kept.pid)
        try:
            if kept.groups.frozen:
                kept.groups.freeze(frozen=False)
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], _PATIENCE)
        finally:
            os.close(pidfd)


def pause(root: str, name: str, *, frozen: bool) -> None:
    """Stop the processes of a container, or let them go on."""
    with held(root, name) as kept:
        wanted = ("running", "created") if frozen else ("paused",)
        if kept.status not in wanted:
            raise _wrong_status("pause" if frozen else "resume", kept, wanted[0])
        kept.groups.freeze(frozen=frozen)


def update(root: str, name: str, resources: Mapping[str, Any]) -> None:
    """Change the limits of a container."""
    with held(root, name) as kept:
        if kept.status == "stopped":
            raise _wrong_status("update", kept, "running")
        kept.groups.apply(resources)
