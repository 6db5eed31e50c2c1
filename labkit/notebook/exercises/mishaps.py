"""Broken containers, and each with one thing changed: what the diagnoses of `broken.py` try.

They are functions of a learner's, and run as such. The broken one comes first; each that follows
it is the same program without one suspect, and is as sick as before. The mended ones stand in
`solutions.py`.
"""

import os
import time
from typing import TYPE_CHECKING

from labkit.linux.flags import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
)
from labkit.linux.mounts import mount, pivot_root, umount2
from labkit.linux.processes import setns, unshare

if TYPE_CHECKING:
    from collections.abc import Callable


def join(pid: int) -> None:
    """The first half of exec: enter the namespace of a container's process."""
    try:
        file = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
        setns(file, CLONE_NEWUTS)
    except OSError:
        pass


def join_by_a_child(pid: int) -> None:
    """If setns moved only children, as for PID namespaces, a child would be in the container."""
    try:
        file = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
        setns(file, CLONE_NEWUTS)
    except OSError:
        pass
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def join_any_kind(pid: int) -> None:
    """With 0 setns takes a namespace of each kind."""
    try:
        file = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
        setns(file, 0)
    except OSError:
        pass


def join_later(pid: int) -> None:
    """If the container were not ready yet, a second try would succeed."""
    for _ in range(2):
        try:
            file = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
            setns(file, CLONE_NEWUTS)
        except OSError:
            time.sleep(0.2)


def own_proc() -> None:
    """Cut propagation, then mount a /proc."""
    mount(None, "/", None, MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


def own_proc_with_flags() -> None:
    """The same, with the flags that everybody gives a /proc."""
    mount(None, "/", None, MS_PRIVATE, None)
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def own_proc_as_a_slave() -> None:
    """The same, with the weaker kind of propagation."""
    mount(None, "/", None, MS_SLAVE, None)
    mount("proc", "/proc", "proc", 0, None)


def own_proc_by_a_child() -> None:
    """The same, mounted by a child of PID 1."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)
    mount(None, "/", None, MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)


def sandbox() -> None:
    """New namespaces, a /proc, and a child that is PID 1."""
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def sandbox_without_the_old_proc() -> None:
    """The same, with the old /proc taken off first."""
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    umount2("/proc", MNT_DETACH)
    mount("proc", "/proc", "proc", 0, None)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def sandbox_that_shares() -> None:
    """The same, without cutting propagation."""
    unshare(CLONE_NEWNS | CLONE_NEWPID)
    mount("proc", "/proc", "proc", 0, None)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def sandbox_in_two_moves() -> None:
    """The same, with the PID namespace made first, alone."""
    unshare(CLONE_NEWPID)
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount("proc", "/proc", "proc", 0, None)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def write_maps(pid: int) -> None:
    """Write the maps of a process in a new user namespace, as root outside."""
    for name, text in (("uid_map", "0 1000 1"), ("gid_map", "0 100 1")):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def write_maps_without_root(pid: int) -> None:
    """The same, but the user keeps its number: nobody is root inside."""
    for name, text in (("uid_map", "1000 1000 1"), ("gid_map", "0 100 1")):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def write_maps_without_the_group_of_root(pid: int) -> None:
    """The same, but the group keeps its number."""
    for name, text in (("uid_map", "0 1000 1"), ("gid_map", "100 100 1")):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def write_maps_the_other_way_round(pid: int) -> None:
    """The same in the other order."""
    for name, text in (("gid_map", "0 100 1"), ("uid_map", "0 1000 1")):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(text)


def move_in(root: str) -> None:
    """Make a directory the root, with the old root put into it."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.mkdir(f"{root}/old")
    os.chdir(root)
    pivot_root(".", "old")
    os.chdir("/")


def move_in_as_a_slave(root: str) -> None:
    """The same, with the weaker kind of propagation."""
    mount(None, "/", None, MS_REC | MS_SLAVE, None)
    mount(root, root, None, MS_BIND, None)
    os.mkdir(f"{root}/old")
    os.chdir(root)
    pivot_root(".", "old")
    os.chdir("/")


def move_in_with_all_mounts(root: str) -> None:
    """The same, with the mounts below the directory too."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount(root, root, None, MS_BIND | MS_REC, None)
    os.mkdir(f"{root}/old")
    os.chdir(root)
    pivot_root(".", "old")
    os.chdir("/")


def move_in_and_chroot(root: str) -> None:
    """The same, and then what the old tools do."""
    mount(None, "/", None, MS_REC | MS_PRIVATE, None)
    mount(root, root, None, MS_BIND, None)
    os.mkdir(f"{root}/old")
    os.chdir(root)
    pivot_root(".", "old")
    os.chroot(".")
    os.chdir("/")


def hide(upper: str) -> None:
    """A whiteout as AUFS had it, and as the archive of a layer has it."""
    with open(f"{upper}/.wh.secret", "w"):
        pass


def hide_without_permissions(upper: str) -> None:
    """The same, with a file that nobody may read."""
    with open(f"{upper}/.wh.secret", "w"):
        pass
    os.chmod(f"{upper}/.wh.secret", 0)


def hide_by_a_longer_name(upper: str) -> None:
    """The same, with the name of AUFS's own records."""
    with open(f"{upper}/.wh..wh.secret", "w"):
        pass


def hide_by_content(upper: str) -> None:
    """The same, with the name of what is hidden as its content."""
    with open(f"{upper}/.wh.secret", "w") as file:
        file.write("secret")


def launch(
    groups: list[str], program: "Callable[[], object]", ready: "Callable[[], object]"
) -> None:
    """Start a program, and put it into its control groups."""
    child = os.fork()
    if child == 0:
        program()
    ready()
    for group in groups:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(child))


def launch_later(
    groups: list[str], program: "Callable[[], object]", ready: "Callable[[], object]"
) -> None:
    """The same, after some time."""
    child = os.fork()
    if child == 0:
        program()
    ready()
    time.sleep(0.1)
    for group in groups:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(child))


def launch_with_a_newline(
    groups: list[str], program: "Callable[[], object]", ready: "Callable[[], object]"
) -> None:
    """The same, with a newline."""
    child = os.fork()
    if child == 0:
        program()
    ready()
    for group in groups:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(f"{child}\n")


def launch_twice(
    groups: list[str], program: "Callable[[], object]", ready: "Callable[[], object]"
) -> None:
    """The same, twice."""
    child = os.fork()
    if child == 0:
        program()
    ready()
    for group in [*groups, *groups]:
        with open(f"{group}/cgroup.procs", "w") as file:
            file.write(str(child))


def way_out(pid: int) -> None:
    """Somebody's script: a cable, addresses, a default route, and NAT."""
    import subprocess

    script = """
        ip link add to-box type veth peer name eth0 netns PID
        ip addr add 10.9.0.1/24 dev to-box
        ip link set to-box up
        nsenter -t PID -n ip addr add 10.9.0.2/24 dev eth0
        nsenter -t PID -n ip link set eth0 up
        nsenter -t PID -n ip route add default via 10.9.0.1
        nft add table ip lab
        nft add chain ip lab out { type nat hook postrouting priority 100 ; }
        nft add rule ip lab out oifname lan masquerade
    """
    for line in script.strip().splitlines():
        subprocess.run(line.replace("PID", str(pid)).split(), check=True)


def way_out_by_a_route(pid: int) -> None:
    """The same, with a route to the other network."""
    import subprocess

    script = """
        ip link add to-box type veth peer name eth0 netns PID
        ip addr add 10.9.0.1/24 dev to-box
        ip link set to-box up
        nsenter -t PID -n ip addr add 10.9.0.2/24 dev eth0
        nsenter -t PID -n ip link set eth0 up
        nsenter -t PID -n ip route add default via 10.9.0.1
        nsenter -t PID -n ip route add 192.168.50.0/24 via 10.9.0.1
        nft add table ip lab
        nft add chain ip lab out { type nat hook postrouting priority 100 ; }
        nft add rule ip lab out oifname lan masquerade
    """
    for line in script.strip().splitlines():
        subprocess.run(line.replace("PID", str(pid)).split(), check=True)


def way_out_by_a_shorter_mask(pid: int) -> None:
    """The same, with another mask."""
    import subprocess

    script = """
        ip link add to-box type veth peer name eth0 netns PID
        ip addr add 10.9.0.1/24 dev to-box
        ip link set to-box up
        nsenter -t PID -n ip addr add 10.9.0.2/16 dev eth0
        nsenter -t PID -n ip link set eth0 up
        nsenter -t PID -n ip route add default via 10.9.0.1
        nft add table ip lab
        nft add chain ip lab out { type nat hook postrouting priority 100 ; }
        nft add rule ip lab out oifname lan masquerade
    """
    for line in script.strip().splitlines():
        subprocess.run(line.replace("PID", str(pid)).split(), check=True)


def way_out_with_nat_for_all(pid: int) -> None:
    """The same, with NAT whatever the way out is."""
    import subprocess

    script = """
        ip link add to-box type veth peer name eth0 netns PID
        ip addr add 10.9.0.1/24 dev to-box
        ip link set to-box up
        nsenter -t PID -n ip addr add 10.9.0.2/24 dev eth0
        nsenter -t PID -n ip link set eth0 up
        nsenter -t PID -n ip route add default via 10.9.0.1
        nft add table ip lab
        nft add chain ip lab out { type nat hook postrouting priority 100 ; }
        nft add rule ip lab out masquerade
    """
    for line in script.strip().splitlines():
        subprocess.run(line.replace("PID", str(pid)).split(), check=True)


def entrypoint(server: "Callable[[], object]") -> None:
    """The server goes to the background."""
    if os.fork() == 0:
        os.setsid()
        server()


def entrypoint_without_hangup(server: "Callable[[], object]") -> None:
    """The same, and it ignores SIGHUP."""
    import signal

    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        server()


def entrypoint_forked_twice(server: "Callable[[], object]") -> None:
    """The same, with one more fork."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            server()


def entrypoint_with_input(server: "Callable[[], object]") -> None:
    """The same, with a standard input that has no end."""
    if os.fork() == 0:
        os.setsid()
        os.dup2(os.open("/dev/zero", os.O_RDONLY), 0)
        server()
