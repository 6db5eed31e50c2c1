"""One right answer to each exercise: what .solution() shows and the tests hand in.

Those with an argument or without a return value are handed in as they are; the others return the
answer. The steps that use labkit.syscalls' names run as in %%child: in a program of their own.
"""

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Any

from labkit.cgroups.limits import Limits
from labkit.container.container import Container
from labkit.linux.flags import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
)
from labkit.linux.mounts import mount, pivot_root, umount2
from labkit.linux.processes import sethostname, setns, unshare

if TYPE_CHECKING:
    from collections.abc import Callable


def kernels() -> int:
    """One for all: the machine's own."""
    return 1


def parent(pid: int) -> int:
    """The PID of the process that made `pid`: proc_pid_status(5)."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("PPid:"))


def change(root: str) -> None:
    """Delete one file of the image and change another: copy-on-write does the rest."""
    os.remove(f"{root}/secret.txt")
    with open(f"{root}/hello.txt", "a") as file:
        file.write("mine\n")


def argv() -> Container:
    """Four words: the quotes were the shell's."""
    return Container(argv=("sh", "-c", "sleep 1000; true", "my container"))


def killed() -> Container:
    """A shell that sends itself SIGTERM: $$ is its own PID."""
    return Container(argv=("sh", "-c", "kill -TERM $$"))


def inode(pid: int, kind: str) -> int:
    """stat(2) follows the link to the namespace itself."""
    return os.stat(f"/proc/{pid}/ns/{kind}").st_ino


def reach(pid: int) -> Container:
    """A container of V0.1 sees every process of the host, so it can end one."""
    return Container(argv=("kill", "-TERM", str(pid)))


def kinds(pid: int) -> set[str]:
    """The kinds whose link leads elsewhere than ours."""

    def target(process: int | str, kind: str) -> str:
        return os.readlink(f"/proc/{process}/ns/{kind}")

    links = os.listdir("/proc/self/ns")
    own = {kind for kind in links if not kind.endswith("_for_children")}
    return {kind for kind in own if target(pid, kind) != target("self", kind)}


def rename() -> None:
    """First a namespace of our own, then the name."""
    unshare(CLONE_NEWUTS)
    sethostname("box")


def join(pid: int) -> None:
    """Who cannot enter stops there: the error goes to the caller."""
    file = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
    setns(file, CLONE_NEWUTS)


def first() -> None:
    """What --fork does: unshare moves only the children, so the child goes on."""
    unshare(CLONE_NEWPID)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def capability() -> set[str]:
    """One of the forty is enough."""
    return {"CAP_SYS_ADMIN"}


def options() -> tuple[str, ...]:
    """Three kinds; and --fork, so that the program is born in the new PID namespace."""
    return ("--uts", "--ipc", "--pid", "--fork")


def fork() -> str:
    """The first child, PID 1 of the new namespace, lives on: so others may be born there."""
    return "sleep 1000 &"


def keep(file: str) -> None:
    """A namespace lives as long as something holds it: a process, or a mount of its file."""
    unshare(CLONE_NEWUTS)
    sethostname("kept")
    mount("/proc/self/ns/uts", file, None, MS_BIND, None)


def flags() -> Container:
    """The kinds' bits, put together with |."""
    return Container(argv=("true",), cloneflags=CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET)


def contain(place: str) -> None:
    """Private first, all the way down; only then mount."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, None)


def accident() -> None:
    """What many tutorials do: right inside, fatal outside, for nothing was made private."""
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def repair() -> None:
    """Take the dead /proc off; the old one has been below it all the time."""
    umount2("/proc")


def own_proc() -> None:
    """Private from / all the way down: /proc is a mount point of its own."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


def loopback() -> None:
    """A new network namespace has lo, but lo is down."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def numbers(pid: int) -> list[int]:
    """One number for each PID namespace that sees it, the outermost first: proc_pid_status(5)."""
    with open(f"/proc/{pid}/status") as lines:
        line = next(line for line in lines if line.startswith("NSpid:"))
    return [int(number) for number in line.split()[1:]]


def reap() -> None:
    """Wait for whoever ends, known or not, until nobody is left: ECHILD."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def sandbox() -> None:
    """The child mounts: /proc shows the PID namespace of whoever mounts it."""
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


def stop() -> Container:
    """A handler, and wait: bash would let a program in the foreground end before it listens."""
    script = 'trap "exit 0" TERM; sleep 1000 & wait'
    return Container(argv=("bash", "-c", script), cloneflags=CLONE_NEWPID)


def root() -> None:
    """Who we are is asked before we move: afterwards the kernel says 65534."""
    user, group = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER)
    for name, text in (
        ("uid_map", f"0 {user} 1\n"),
        ("setgroups", "deny"),
        ("gid_map", f"0 {group} 1\n"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def write_maps(pid: int) -> None:
    """First take away the right to leave groups; the map of groups would give it."""
    for name, text in (
        ("uid_map", "0 1000 1"),
        ("setgroups", "deny"),
        ("gid_map", "0 100 1"),
    ):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def caps() -> tuple[str, ...]:
    """One for each thing that it does as root; serving pages takes none."""
    return ("CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID")


def forbid() -> dict[str, Any]:
    """Two doors have the flags in a register; the third keeps them in memory, unseen."""
    bit = int(CLONE_NEWUSER)
    test = {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": bit, "valueTwo": bit}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["unshare", "clone"], "action": "SCMP_ACT_ERRNO", "args": [test]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
        ],
    }


def walls(root: str) -> None:
    """The new root is a mount, the mounts are private, and the old root is let go."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.chdir(root)
    pivot_root(".", ".")
    umount2(".", MNT_DETACH)


def null(dev: str) -> None:
    """A device has two numbers instead of contents; the umask is not to take any permission."""
    os.umask(0)
    os.mknod(f"{dev}/null", 0o020666, os.makedev(1, 3))


def volume(source: str, target: str) -> None:
    """A bind ignores MS_RDONLY: it takes a second call, and MS_BIND to mean this mount alone."""
    mount(source, target, None, MS_BIND, None)
    mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY, None)


def move_in(root: str) -> None:
    """What pivot_root has put there must be taken off again."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.mkdir(f"{root}/old")
    os.chdir(root)
    pivot_root(".", "old")
    os.chdir("/")
    umount2("/old", MNT_DETACH)
    os.rmdir("/old")


def union(layers: list[str], upper: str, work: str, place: str) -> None:
    """The uppermost layer stands first, as in the list."""
    lower = ":".join(layers)
    mount("overlay", place, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")


def who(layers: list[str], name: str) -> str | None:
    """The first layer that says something about a name decides; a whiteout says that it is gone."""
    for layer in layers:
        try:
            about = os.lstat(f"{layer}/{name}")
        except FileNotFoundError:
            continue
        gone = about.st_mode & 0o170000 == 0o020000 and about.st_rdev == 0
        return None if gone else layer
    return None


def hide(upper: str) -> None:
    """A whiteout is a character device 0, 0."""
    os.mknod(f"{upper}/secret", 0o020000, os.makedev(0, 0))


def fits() -> Limits:
    """Between the two programs, and no swap."""
    return Limits(memory="96m", memory_swap="96m")


def quarter() -> Limits:
    """A quota holds on an idle machine too; a share does not."""
    return Limits(cpus=0.25)


def enter(groups: list[str]) -> None:
    """The kernel takes 0 for whoever writes it."""
    for group in groups:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write("0")


def launch(
    groups: list[str], program: "Callable[[], object]", ready: "Callable[[], object]"
) -> None:
    """Whoever is to be limited goes in first, and then begins."""
    if os.fork() == 0:
        for group in groups:
            with open(f"{group}/cgroup.procs", "w") as file:
                file.write("0")
        program()
    ready()
