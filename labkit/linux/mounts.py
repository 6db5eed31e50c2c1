"""The calls that change mounts and the root directory: mount(2), pivot_root(2)."""

import os

from labkit.linux import trace
from labkit.linux.call import only_thread
from labkit.linux.flags import Mount, Umount
from labkit.linux.trace import STRING, quoted


def mount(
    source: str | None,
    target: str,
    filesystemtype: str | None = None,
    mountflags: int = 0,
    data: str | None = None,
) -> None:
    """Mount a file system on `target`, or bind, move or change a mount. mount(2)."""
    only_thread("mount")
    texts = [None if t is None else os.fsencode(t) for t in (source, target, filesystemtype, data)]
    shown = (
        f"{quoted(source)}, {quoted(target)}, {quoted(filesystemtype, STRING)}, "
        f"{Mount(mountflags)}, {quoted(data, STRING)}"
    )
    trace.make("mount", shown, *texts[:3], mountflags, texts[3])


def umount2(target: str, flags: int = 0) -> None:
    """Unmount the file system on `target`. umount(2)."""
    only_thread("umount2")
    shown = f"{quoted(target)}, {Umount(flags)}"
    trace.make("umount2", shown, os.fsencode(target), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make the mount at `new_root` the root and move the old root to `put_old`. pivot_root(2)."""
    only_thread("pivot_root")
    shown = f"{quoted(new_root)}, {quoted(put_old)}"
    trace.make("pivot_root", shown, os.fsencode(new_root), os.fsencode(put_old))


def chroot(path: str) -> None:
    """Change what ``/`` means to this process, and nothing else. chroot(2)."""
    only_thread("chroot")
    trace.make("chroot", quoted(path), os.fsencode(path))
