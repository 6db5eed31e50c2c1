"""What a program sees in the learner's container: it is run there by a bare Python, and prints it.

It is its own witness: what it reads, the kernel tells it. Nothing of labkit is imported here.
"""

import fcntl
import json
import os
import socket
import struct
import sys

STATUS = 7  # what it ends with, for somebody to pass on
KINDS = ("mnt", "uts", "ipc", "net", "pid", "user")


def text(path: str) -> str:
    """A small file, or nothing where there is none to be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def inode(kind: str) -> int:
    """The namespace of a kind that this process is in; 0 where /proc does not tell."""
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


PORT = 80  # where somebody waits outside
_SIOCGIFADDR = 0x8915


def address() -> str:
    """The address of eth0; nothing where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        try:
            answer = fcntl.ioctl(ours, _SIOCGIFADDR, struct.pack("256s", b"eth0"))
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def talks_to_itself() -> bool:
    """Whether 127.0.0.1 is there."""
    with socket.socket() as listener, socket.socket() as caller:
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            caller.connect(listener.getsockname())
        except OSError:
            return False
    return True


def reaches(neighbour: str) -> bool:
    """Whether somebody answers there."""
    try:
        socket.create_connection((neighbour, PORT), timeout=3).close()
    except OSError:
        return False
    return True


def network() -> dict[str, object]:
    """Links, the address of eth0, whether there is a default route; who can be reached."""
    own = address()
    routes = [line.split() for line in text("/proc/net/route").splitlines()]
    return {
        "links": sorted(name for _, name in socket.if_nameindex()),
        "address": own,
        "itself": talks_to_itself(),
        "default": any(words[1:2] == ["00000000"] for words in routes),
        "host": bool(own) and reaches(own.rpartition(".")[0] + ".1"),
    }


def seen() -> dict[str, object]:
    """Who and where this process is."""
    listed = os.listdir("/proc") if os.path.isdir("/proc") else []
    return {
        "pid": os.getpid(),
        "ids": [os.getuid(), os.getgid()],
        "name": os.uname().nodename,
        "inodes": {kind: inode(kind) for kind in KINDS},
        "children": inode("pid_for_children"),  # 0: a new one, in which nobody has been born yet
        "mounts": text("/proc/self/mountinfo").splitlines(),
        "processes": sorted(int(name) for name in listed if name.isdigit()),
        "uid_map": text("/proc/self/uid_map").split(),
        "gid_map": text("/proc/self/gid_map").split(),
        "setgroups": text("/proc/self/setgroups").strip(),
        "network": network(),
    }


if __name__ == "__main__":
    print(json.dumps(seen()))
    sys.stdout.flush()
    sys.exit(STATUS)
