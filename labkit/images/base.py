"""Images that need no network: `busybox` from the system's program, `host` from its own root."""

import os
import shutil
import subprocess
import tarfile

from labkit.images import oci, reference
from labkit.images.adding import Adding, adding
from labkit.images.store import Store
from labkit.text.words import Words

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST = {"Cmd": ["/bin/sh"], "Env": [_PATH]}
"""What the programs of `host` are run with."""
_DIRECTORIES = {
    **dict.fromkeys(("bin", "dev", "etc", "home", "proc", "sys", "usr", "usr/bin", "var"), 0o755),
    "root": 0o700,
    "tmp": 0o1777,
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\nnobody:x:65534:\n",
}
_PT_INTERP = 3  # a segment that names the program's loader: elf(5)


def busybox(store: Store) -> str:
    """Make the image busybox:latest of the static busybox of this machine. Its ID.

    Every program in /bin is the same file under another name, as in the image of that name on
    Docker Hub. It takes a moment, and each time the same image comes of it.
    """
    program = _static_busybox()
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    made = os.stat(program).st_mtime
    with adding(store) as into:
        path = into.beside()
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
            _fill(tar, program, listed.stdout.split(), made)
        with open(path, "rb") as file:
            layer = into.layer(oci.TAR, file)
        created = oci.timestamp(int(made))
        history = [{"created": created, "created_by": f"labkit: {program}"}]
        settings = {"Cmd": ["sh"], "Env": [_PATH]}
        config = oci.new_config([layer.diff_id], settings, history, created=created)
        return into.image(oci.write(config), [layer], [reference.parse("busybox").tagged()])


def host(store: Store) -> str:
    """Make the image host:latest: this machine's own root, to be read and not written. Its ID.

    It has no layer. What the machine mounts below its root, such as /home on another disk, is not
    seen in it.
    """
    with adding(store) as into:
        return _host(into)


def _host(into: Adding) -> str:
    created = oci.timestamp(int(os.stat("/usr").st_mtime))
    history = [{"created": created, "created_by": "labkit: /", "empty_layer": True}]
    config = oci.new_config([], HOST, history, created=created)
    return into.image(oci.write(config), [], [reference.parse("host").tagged()], root="/")


def _static_busybox() -> str:
    program = shutil.which("busybox")
    if program is None or _loader_is_named(program):
        raise ValueError(
            Words(
                "这台机器没有静态的 busybox：请安装 busybox-static",
                "this machine has no static busybox: install busybox-static",
            )
        )
    return program


def _loader_is_named(program: str) -> bool:
    """Whether a program needs a loader and libraries, which an image would have to have too."""
    with open(program, "rb") as file:
        head = file.read(1 << 12)
    start, size, count = (
        int.from_bytes(head[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58))
    )
    kinds = (head[at : at + 4] for at in range(start, start + size * count, size))
    return any(int.from_bytes(kind, "little") == _PT_INTERP for kind in kinds)


def _fill(tar: tarfile.TarFile, program: str, names: list[str], made: float) -> None:
    """Write the entries of the one layer, always in the same order."""
    for name, mode in _DIRECTORIES.items():
        tar.addfile(_entry(name, tarfile.DIRTYPE, mode, made))
    with open(program, "rb") as file:
        about = _entry("bin/busybox", tarfile.REGTYPE, 0o755, made)
        about.size = os.fstat(file.fileno()).st_size
        tar.addfile(about, file)
    for name in sorted(set(names) - {"busybox"}):
        link = _entry(f"bin/{name}", tarfile.LNKTYPE, 0o755, made)
        link.linkname = "bin/busybox"
        tar.addfile(link)
    for name, text in _FILES.items():
        _add_text(tar, name, text, made)


def _add_text(tar: tarfile.TarFile, name: str, text: str, made: float) -> None:
    import io

    about = _entry(name, tarfile.REGTYPE, 0o644, made)
    about.size = len(text)
    tar.addfile(about, io.BytesIO(text.encode()))


def _entry(name: str, kind: bytes, mode: int, made: float) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, int(made)
    entry.uname = entry.gname = "root"
    return entry
