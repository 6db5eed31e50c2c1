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


def connect(pid: int) -> None:
    """A cable, the other end in the container; then there, for the address."""
    from pyroute2 import IPRoute

    def end(name: str, ip: str) -> None:
        with IPRoute() as netlink:
            [number] = netlink.link_lookup(ifname=name)
            netlink.addr("add", index=number, address=ip, prefixlen=24)
            netlink.link("set", index=number, state="up")

    with IPRoute() as netlink:
        there = {"ifname": "eth0", "net_ns_pid": pid}
        netlink.link("add", ifname="to-box", kind="veth", peer=there)
    end("to-box", "10.9.0.1")
    with open(f"/proc/{pid}/ns/net") as file:
        setns(file.fileno(), CLONE_NEWNET)
    end("eth0", "10.9.0.2")


def route(routes: list[tuple[str, str]], address: str) -> str | None:
    """Of the routes that fit, the one with the longest prefix; "default" has none at all."""
    import ipaddress

    best, found = -1, None
    for to, link in routes:
        network = ipaddress.ip_network("0.0.0.0/0" if to == "default" else to)
        if ipaddress.ip_address(address) in network and network.prefixlen > best:
            best, found = network.prefixlen, link
    return found


def publish() -> str:
    """The same rule at both hooks: for packets from elsewhere, and for our own."""
    rule = "fib daddr type local tcp dport 8080 dnat to 10.9.0.2:80"
    return f"""
table ip lab {{
    chain prerouting {{
        type nat hook prerouting priority dstnat;
        {rule}
    }}
    chain output {{
        type nat hook output priority -100;
        {rule}
    }}
}}
"""


def way_out(pid: int) -> None:
    """The same script, with the line that makes a router of the host."""
    import subprocess

    script = """
        ip link add to-box type veth peer name eth0 netns PID
        ip addr add 10.9.0.1/24 dev to-box
        ip link set to-box up
        nsenter -t PID -n ip addr add 10.9.0.2/24 dev eth0
        nsenter -t PID -n ip link set eth0 up
        nsenter -t PID -n ip route add default via 10.9.0.1
        sysctl -q -w net.ipv4.ip_forward=1
        nft add table ip lab
        nft add chain ip lab out { type nat hook postrouting priority 100 ; }
        nft add rule ip lab out oifname lan masquerade
    """
    for line in script.strip().splitlines():
        subprocess.run(line.replace("PID", str(pid)).split(), check=True)


def status(raw: int) -> int:
    """The exit status, or 128 and the signal."""
    code = os.waitstatus_to_exitcode(raw)
    return code if code >= 0 else 128 - code


def login(terminal: int) -> None:
    """A session of its own, its terminal, and the three streams."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(terminal, fd)


def entrypoint(server: "Callable[[], object]") -> None:
    """PID 1 is the server itself."""
    server()
