"""Images exchanged with skopeo and umoci: what we save they read, what they make we load."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from test_commit import FIND, WORK, inside, listing
from test_store import check_whole, make_image

from labkit.images import base
from labkit.images.commit import About, commit
from labkit.images.load import load
from labkit.images.reference import parse
from labkit.images.save import save
from labkit.images.store import Store
from labkit.images.writable import writable


def tell(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with an image of two layers; the upper one adds, replaces and takes away."""
    store = Store(str(tmp_path / "images"))
    base.busybox(store)
    with writable(store, store.find("busybox")) as root:
        inside(root, WORK)
        commit(store, root, (parse("made:1"),), About())
    return store


@pytest.fixture
def saved(store: Store, tmp_path: Path) -> Path:
    path = tmp_path / "saved.tar"
    with path.open("wb") as file:
        save(store, ["made:1"], file)
    return path


def seen(store: Store, text: str) -> list[str]:
    """What overlay shows of an image, without what a container mounts on."""
    image = store.find(text)
    with writable(store, image) as root:
        return listing(inside(replace(root, layers=store.lowers(image)), "true", FIND))


def test_skopeo_finds_the_digests_that_we_have(store: Store, saved: Path, tmp_path: Path) -> None:
    image = store.find("made:1")
    told = json.loads(tell("skopeo", "inspect", f"oci-archive:{saved}:1"))
    assert told["Digest"] == image.manifest.digest
    assert told["Layers"] == [layer.digest for layer in image.layers]
    copied = tmp_path / "dir"
    tell("skopeo", "copy", "--preserve-digests", f"oci-archive:{saved}:1", f"dir:{copied}")
    assert (copied / "manifest.json").read_bytes() == store.read(image.manifest.digest)
    tell("skopeo", "copy", f"docker-archive:{saved}:made:1", f"dir:{tmp_path}/other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_text())
    assert manifest["config"]["digest"] == image.id
    assert [layer["digest"] for layer in manifest["layers"]] == list(image.diff_ids)


def test_the_store_itself_is_a_layout_that_skopeo_reads(store: Store) -> None:
    image = store.find("busybox")
    told = tell("skopeo", "inspect", f"oci:{store.path}:docker.io/library/busybox:latest")
    assert json.loads(told)["Digest"] == image.manifest.digest


def test_umoci_unpacks_what_overlay_shows(store: Store, saved: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    tell("tar", "-xf", saved, "-C", layout)
    tell("umoci", "unpack", "--image", f"{layout}:1", tmp_path / "bundle")
    found = tell("sh", "-c", f"cd {tmp_path}/bundle/rootfs && {FIND}")
    assert listing(found) == seen(store, "made:1")


@pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-archive", "zstd"])
def test_what_umoci_and_skopeo_make_is_loaded(form: str, tmp_path: Path) -> None:
    """An image of four layers made by umoci, of which one takes away what others have."""
    layout, image = tmp_path / "layout", f"{tmp_path}/layout:latest"
    tell("umoci", "init", "--layout", layout)
    tell("umoci", "new", "--image", image)
    bundle = tmp_path / "bundle"
    for script in (
        "mkdir -p a/b etc bin; echo 1 > a/b/f; echo 2 > etc/x; cp /bin/busybox bin",
        "ln bin/busybox bin/sh",
        "rm -r a; mkdir a; echo 3 > a/new; rm etc/x; ln -s /etc/none link; chmod 4755 bin/sh",
        "mkfifo pipe; mknod null c 1 3; chown 7:8 etc",
    ):
        subprocess.run(["rm", "-rf", bundle], check=True)
        tell("umoci", "unpack", "--image", image, bundle)
        tell("sh", "-euc", f"cd {bundle}/rootfs; {script}")
        tell("umoci", "repack", "--image", image, bundle)
    store = Store(str(tmp_path / "images"))
    source, name = packed(form, layout, tmp_path)
    (loaded,) = load(store, source)
    assert [each.familiar for each in loaded.names] == name
    (kept,) = store.images()
    assert len(kept.layers) == 4
    if form == "zstd":
        assert {layer.media for layer in kept.layers} == {
            "application/vnd.oci.image.layer.v1.tar+zstd"
        }
    found = tell("sh", "-c", f"cd {bundle}/rootfs && {FIND}")
    assert seen(store, loaded.id) == listing(found)


def packed(form: str, layout: Path, tmp: Path) -> tuple[str, list[str]]:
    """The image of a layout in another form, and the names that it is loaded with."""
    path = str(tmp / "packed")
    copy = ["skopeo", "copy", f"oci:{layout}:latest"]
    if form == "layout":  # a mere tag names no repository
        return str(layout), []
    if form == "oci-archive":
        tell(*copy, f"oci-archive:{path}:team/made:2")
        return path, ["team/made:2"]
    tell(*copy, f"docker-archive:{path}:team/made:3")
    if form == "docker-archive":
        return path, ["team/made:3"]
    # skopeo leaves a layer that is compressed already as it is, but one of a docker-archive is not.
    zstd = ["--format", "oci", "--dest-compress-format", "zstd"]
    tell("skopeo", "copy", *zstd, f"docker-archive:{path}", f"oci:{tmp}/zstd:x/made:4")
    return f"{tmp}/zstd", ["x/made:4"]


def test_what_is_loaded_and_saved_again_has_its_digests(tmp_path: Path) -> None:
    """Through skopeo with compressed layers, through our store, and back."""
    first = Store(str(tmp_path / "first"))
    make_image(first, tmp_path, {"file": "1" * 9999}, {"file": "2"}, name="some:1")
    with (tmp_path / "a.tar").open("wb") as file:
        save(first, ["some:1"], file)
    packed_ = f"oci-archive:{tmp_path}/b.tar:other:1"
    tell("skopeo", "copy", f"docker-archive:{tmp_path}/a.tar", packed_)
    digest = json.loads(tell("skopeo", "inspect", packed_))["Digest"]
    second = Store(str(tmp_path / "second"))
    load(second, f"{tmp_path}/b.tar")
    assert check_whole(second)[0].manifest.digest == digest
    assert second.find("other:1").diff_ids == first.find("some:1").diff_ids
    with (tmp_path / "c.tar").open("wb") as file:
        save(second, ["other:1"], file)
    for name in ("oci-archive:{}:1", "docker-archive:{}:other:1"):
        told = json.loads(tell("skopeo", "inspect", name.format(tmp_path / "c.tar")))
        assert name.startswith("docker") or told["Digest"] == digest
    third = Store(str(tmp_path / "third"))
    load(third, f"{tmp_path}/c.tar")
    assert third.find("other:1").manifest.digest == digest
