"""What a program sees in the learner's container: it is run there by a bare Python, and prints it.

It is its own witness: what it reads, the kernel tells it. Nothing of labkit is imported here.
"""

import json
import os
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
    }


if __name__ == "__main__":
    print(json.dumps(seen()))
    sys.stdout.flush()
    sys.exit(STATUS)
