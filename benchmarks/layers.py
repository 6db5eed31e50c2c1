"""A layer unpacked with its digest, beside tar(1) and sha256sum(1); an image fetched, and skopeo.

The layer is Debian's smallest root directory (debootstrap --variant=minbase), where that can be
made; else part of this machine's own /usr.
"""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from peers import Call, Missing

from labkit.images.commit import About, import_archive
from labkit.images.extract import extract
from labkit.images.fetch import Fetched, fetch
from labkit.images.pull import push
from labkit.images.reference import parse
from labkit.images.store import Store

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_PATIENCE = 10  # seconds for the registry's start


def archive(folder: Path) -> Path:
    """The layer, made once for a run."""
    made, root = folder / "layer.tar", folder / "debian"
    wanted = ["debootstrap", "--variant=minbase", "bookworm", str(root)]
    with contextlib.suppress(OSError):
        subprocess.run(wanted, capture_output=True, check=False)
    if (root / "etc/debian_version").exists():
        what = ["-C", str(root), "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/*", "."]
    else:
        what = ["-C", "/usr", "bin", "sbin", "lib/python3"]
    subprocess.run(["tar", "-cf", str(made), *what], check=True)
    shutil.rmtree(root, ignore_errors=True)
    return made


class Unpacking:
    """Ours and theirs in a folder of this machine's disk, and in one of its memory."""

    def __init__(self, folder: Path, memory: Path, layer: Path) -> None:
        self.layer = layer
        self._places = {"tmpfs": memory, "disk": folder / "disk"}
        self._places["disk"].mkdir()

    def calls(self) -> dict[str, Call]:
        """What is timed, by name."""
        found: dict[str, Call] = {}
        for name, place in self._places.items():
            found[f"extract(), {name}"] = self._ours(place / "root")
            found[f"tar -x; sha256sum, {name}"] = self._theirs(place / "root")
        return found

    def before(self) -> dict[str, Call]:
        """What is done before each of them, untimed: an empty directory."""
        return {name: self._emptied(name.rpartition(", ")[2]) for name in self.calls()}

    def _emptied(self, name: str) -> Call:
        def empty() -> None:
            root = self._places[name] / "root"
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()

        return empty

    def _ours(self, root: Path) -> Call:
        def call() -> None:
            with self.layer.open("rb") as file:
                extract(file, str(root))

        return call

    def _theirs(self, root: Path) -> Call:
        def call() -> None:
            subprocess.run(["tar", "-xf", str(self.layer), "-C", str(root)], check=True)
            subprocess.run(["sha256sum", str(self.layer)], capture_output=True, check=True)

        return call


@contextlib.contextmanager
def fetching(folder: Path, layer: Path) -> Iterator[Mapping[str, Callable[[], Call]]]:
    """An image in a registry on loopback: fetched by us, and by skopeo, to a directory each."""
    if not shutil.which("docker-registry"):
        yield {"skopeo copy": _missing, "fetch()": _missing}
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder / "registry", port=port))
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as it:
        try:
            name = f"127.0.0.1:{port}/layer:1"
            _wait(port)
            store = Store(str(folder / "store"))
            with layer.open("rb") as file:
                import_archive(store, file, "bench", (parse(name),), About())
            push(store, parse(name))
            yield {
                "fetch()": lambda: _ours(folder, name),
                "skopeo copy": lambda: _skopeo(folder, name),
            }
        finally:
            it.terminate()


def _missing() -> Call:
    raise Missing("docker-registry is not installed")


def _wait(port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)


class _Folder:
    """Layers as files, written anew each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(exist_ok=True)

    def expect(self, found: Fetched) -> None:
        (self._path / "config").write_bytes(found.config)

    def has(self, _: str) -> bool:
        return False

    @contextlib.contextmanager
    def writer(self, digest: str) -> Iterator[object]:
        with (self._path / digest).open("wb", buffering=0) as file:
            yield file


def _ours(folder: Path, name: str) -> Call:
    kept = _Folder(folder / "fetched")
    return lambda: fetch(parse(name), kept)  # type: ignore[arg-type]


def _skopeo(folder: Path, name: str) -> Call:
    there = f"dir:{folder / 'copied'}"
    words = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{name}"]

    def call() -> None:
        subprocess.run([*words, there], capture_output=True, check=True)

    return call
