"""What the cells of V0.7 have at hand: layers, room for an overlay, a store of images."""

import atexit
import os
import shutil
import stat
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from labkit.container.container import Container
from labkit.docker.roots import rooted
from labkit.images import base
from labkit.images import digest as digests
from labkit.images.changes import changes
from labkit.images.commit import About, commit
from labkit.images.load import load
from labkit.images.merged import is_opaque, is_whiteout
from labkit.images.oci import Descriptor
from labkit.images.reference import parse
from labkit.images.save import save
from labkit.images.store import Store
from labkit.images.writable import takes_upper
from labkit.notebook.lessons import v06
from labkit.notebook.lessons.v06 import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.v06 import a_folder, replace, run, small_root
from labkit.notebook.widgets.layers_explorer import layers
from labkit.state import folder
from labkit.text.words import Words

__all__ = [
    "About",
    "Store",
    "a_layer",
    "a_space",
    "a_store",
    "changes",
    "commit",
    "cost",
    "images",
    "kind",
    "layer_names",
    "layers",
    "load",
    "marks",
    "mount_options",
    "parse",
    "rooted",
    "save",
    "sha256",
    "size",
]
__all__ += v06.__all__

MIB = 1 << 20
_MORE_PROGRAMS = ("rm", "mkdir", "mv", "chmod")
_COPY, _UNION = Words("抄一份", "a copy"), Words("叠一层", "a union")
_WHITEOUT = Words("遮盖", "whiteout")
_OPAQUE = Words("不透明", "opaque")


def a_layer(files: Mapping[str, str | int], *, programs: bool = False) -> str:
    """A new directory with these files, by path: their text, or how many bytes they have.

    programs: with a busybox in /bin as well.
    """
    layer = small_root() if programs else a_folder({})
    for name in _MORE_PROGRAMS * programs:
        Path(layer, "bin", name).symlink_to("busybox")
    if programs:
        Path(layer, "proc").mkdir()
    for path, content in files.items():
        place = Path(layer, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("x" * content if isinstance(content, int) else content, encoding="utf-8")
    return layer


def a_space() -> tuple[str, str]:
    """Two new directories for an overlay, upper and work."""
    here = _room()
    places = f"{here}/upper", f"{here}/work"
    for place in places:
        os.mkdir(place)
    return places


def a_store() -> Store:
    """A store of images with busybox in it. It goes when the notebook's process ends."""
    store = Store(_room())
    base.busybox(store)
    return store


def _room() -> str:
    """A new folder where the kernel takes an overlay's upper directory, and what hides files.

    Where the lab is in a container, that one's root is an overlay itself, which takes neither.
    """
    here = a_folder({})
    lasting = folder.where_lasting()
    if not takes_upper(here):
        shutil.rmtree(here)
        volume = os.access(lasting, os.W_OK) and takes_upper(lasting)
        here = f"{lasting if volume else '/dev/shm'}/{os.path.basename(here)}"  # noqa: S108 - a tmpfs
        os.mkdir(here)
        Path(here).chmod(0o755)
    atexit.register(folder.remove, here)
    return here


# --- What is in a directory --------------------------------------------------------------------


def kind(path: str) -> str:
    """What stands there, whatever it is called: file, directory, whiteout, or nothing."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return "nothing"
    if is_whiteout(path, about):
        return "whiteout"
    return "directory" if stat.S_ISDIR(about.st_mode) else "file"


def marks(upper: str) -> str:
    """What the upper directory of an overlay holds, a line each, with overlay's own marks."""
    return "\n".join(_marks(upper)) or str(Words("（空的）", "(empty)"))


def _marks(upper: str) -> Iterator[str]:
    for path in sorted(Path(upper).rglob("*")):
        about, name = path.lstat(), f"/{path.relative_to(upper)}"
        if is_whiteout(str(path), about):
            numbers = f"{os.major(about.st_rdev)},{os.minor(about.st_rdev)}"
            yield f"c {numbers:>9}  {name}  {_WHITEOUT}"
        elif path.is_dir():
            opaque = f"  {_OPAQUE}" if is_opaque(str(path)) else ""
            yield f"d {'':>9}  {name}/{opaque}"
        else:
            yield f"- {about.st_size:>9}  {name}"


def size(*folders: str) -> int:
    """How many bytes the files below some directories have, each file counted once."""
    files = (path.lstat() for each in folders for path in Path(each).rglob("*"))
    each_once = {about.st_ino: about for about in files if stat.S_ISREG(about.st_mode)}
    return sum(about.st_size for about in each_once.values())


# --- What a second container costs ---------------------------------------------------------------


def cost(box: Container, lowers: Sequence[str]) -> tuple[int, int]:
    """Print what a root of its own costs one more container: as a copy, and as a union.

    The bytes of both; the time is the best of three.
    """
    copied, (upper, work) = f"{a_folder({})}/copy", a_space()

    def copy() -> None:
        _copy(lowers, copied)
        run(replace(box, root=v06.Root(copied, bare=True)))

    def overlay() -> None:
        run(replace(box, root=v06.Root(layers=lowers, upper=upper, work=work, bare=True)))

    # The union first: where one ends, the kernel writes to disk all that waits for it.
    quick = min(_spent(overlay) for _ in range(3))
    slow = min(_spent(copy) for _ in range(3))
    for what, where, spent in ((_COPY, copied, slow), (_UNION, upper, quick)):
        print(f"{what}: {size(where) / MIB:8.2f} MiB, {spent:8.1f} ms")
    return size(copied), size(upper)


def _copy(lowers: Sequence[str], copied: str) -> None:
    folder.remove(copied)
    os.mkdir(copied)
    for layer in reversed(lowers):
        subprocess.run(["cp", "-a", f"{layer}/.", copied], check=True)


def _spent(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def images(store: Store) -> str:
    """The images made in a store, a line each, and the bytes of each layer above the lowest."""
    lines = []
    for image in store.images():
        sizes = " + ".join(str(store.layer_size(each)) for each in image.diff_ids[1:])
        lines.append(f"{image.tags[0].familiar:<14} {sizes}".rstrip())
    return "\n".join(reversed(lines))


def layer_names(store: Store, layer: Descriptor) -> list[str]:
    """What the archive of a layer holds, by name."""
    with tarfile.open(store.blob(layer.digest)) as tar:
        return tar.getnames()


def sha256(store: Store, digest: str) -> str:
    """The digest of what a store has under a digest, computed anew."""
    return digests.of(store.read(digest))


def mount_options(mounts: str) -> list[str]:
    """The directories of an overlay, as the text of /proc/mounts has them."""
    lines = (line.split() for line in mounts.splitlines())
    options = next(words[3] for words in lines if words[2] == "overlay")
    return [option for option in options.split(",") if "dir" in option.partition("=")[0]]
