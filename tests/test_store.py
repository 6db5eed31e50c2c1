"""The store of images: content by digest, names, what nobody needs; two at once; deaths."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from killed import at_each_call

from labkit.images import base, digest, oci, platform
from labkit.images.adding import adding
from labkit.images.load import load
from labkit.images.reference import parse
from labkit.images.save import save
from labkit.images.store import Image, NoSuchImage, Store
from labkit.images.writable import NoSuchContainer, find, writable
from labkit.state import held


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "images"))


def make_layer(path: Path, **files: str) -> Path:
    """A layer's archive with these files."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            content = path.parent / "content"
            content.write_text(text)
            with content.open("rb") as file:
                tar.addfile(entry, file)
    return path


def make_image(store: Store, tmp: Path, *layers: dict[str, str], name: str = "small") -> str:
    """An image of these layers, the lowest first."""
    with adding(store) as into:
        added = []
        for number, files in enumerate(layers):
            with make_layer(tmp / f"layer{number}.tar", **files).open("rb") as file:
                added.append(into.layer(oci.TAR, file))
        config = oci.new_config([each.diff_id for each in added], {}, [], created=oci.timestamp(0))
        names = [parse(name).tagged()] if name else []
        return into.image(oci.write(config), added, names)


def check_whole(store: Store) -> list[Image]:
    """Everything that the index leads to is there and has its digest; the images."""
    found = store.images()
    for image in found:
        for about in (image.manifest, *image.layers):
            content = Path(store.blob(about.digest)).read_bytes()
            assert (digest.of(content), len(content)) == (about.digest, about.size)
        for layer in image.diff_ids:
            assert Path(store.layer(layer), "file").read_text()
    return found


def contents(store: Store) -> list[str]:
    """What is in the store beside the index, its locks and the marks of its form."""
    places = ("blobs/sha256", "layers", "ingest", "containers")
    found = [Path(store.path, place) for place in places]
    return sorted(
        str(p.name)
        for place in found
        if place.is_dir()
        for p in place.iterdir()
        if not p.name.startswith(".")
    )


# --- Base images ---------------------------------------------------------------------------------


def test_busybox_is_made_of_the_systems_own_program(store: Store) -> None:
    first = base.busybox(store)
    image = store.find("busybox")
    assert (image.id, image.settings["Cmd"], image.config["os"]) == (first, ["sh"], "linux")
    (root,) = store.lowers(image)
    assert Path(root, "bin/sh").samefile(Path(root, "bin/busybox"))
    assert os.stat(f"{root}/tmp").st_mode & 0o7777 == 0o1777
    hello = subprocess.run(
        ["chroot", root, "/bin/sh", "-c", "id -un; echo $((6*7))"], capture_output=True, text=True
    )
    assert hello.stdout == "root\n42\n"
    assert base.busybox(store) == first  # the same again is the same image
    assert len(store.images()) == 1


def test_a_busybox_that_needs_libraries_makes_no_image(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "busybox").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no static busybox: install busybox-static"):
        base.busybox(store)
    assert contents(store) == []


def test_host_is_this_machines_own_root(store: Store) -> None:
    image_id = base.host(store)
    image = store.find("host")
    assert (image.id, image.layers, store.lowers(image)) == (image_id, (), ("/",))


# --- Names ---------------------------------------------------------------------------------------


def test_an_image_is_found_by_name_and_by_id(store: Store, tmp_path: Path) -> None:
    made = make_image(store, tmp_path, {"file": "1"}, name="host:5000/team/app:v1")
    same = ("host:5000/team/app:v1", made, made[7:], made[7:19], made[:19])
    assert {store.find(text).id for text in same} == {made}
    for text, said in (
        ("host:5000/team/app", "No such image: host:5000/team/app:latest"),
        ("docker.io/library/none", "No such image: none:latest"),
        ("0" * 64, f"No such image: {'0' * 64}"),
    ):
        with pytest.raises(NoSuchImage, match=said):
            store.find(text)
    with pytest.raises(ValueError, match="invalid reference format"):
        store.find("a..b")


def test_a_name_moves_and_leaves_an_image_without_one(store: Store, tmp_path: Path) -> None:
    old = make_image(store, tmp_path, {"file": "1"})
    new = make_image(store, tmp_path, {"file": "2"})
    assert store.find("small").id == new
    assert [image.names for image in store.images() if image.id == old] == [()]
    store.name(store.find(old), parse("old:1"), parse("old:2"))
    assert [name.familiar for name in store.find(old).tags] == ["old:1", "old:2"]
    store.forget(store.find(old), [parse("old:1")])
    assert [name.familiar for name in store.find(old).tags] == ["old:2"]
    assert len(check_whole(store)) == 2


def test_what_no_name_leads_to_goes_and_what_is_shared_stays(store: Store, tmp_path: Path) -> None:
    one = make_image(store, tmp_path, {"file": "shared"}, {"file": "1"}, name="one")
    make_image(store, tmp_path, {"file": "shared"}, {"file": "2"}, name="two")
    assert len(contents(store)) == 7 + 3  # of seven blobs three are layers
    store.forget(store.find(one))
    store.prune()
    (left,) = check_whole(store)
    assert len(contents(store)) == 4 + 2
    store.forget(left)
    store.prune()
    assert contents(store) == []


def test_what_is_added_without_an_image_does_not_stay(store: Store, tmp_path: Path) -> None:
    archive = make_layer(tmp_path / "layer.tar", file="1")
    with adding(store) as into, archive.open("rb") as file:
        into.layer(oci.TAR, file)
    assert contents(store) == []


def test_nothing_is_removed_while_somebody_reads(store: Store, tmp_path: Path) -> None:
    image = store.find(make_image(store, tmp_path, {"file": "1"}))
    with store.reading():
        store.forget(image)
        store.prune()
        assert Path(store.layer(image.diff_ids[0]), "file").read_text() == "1"
    store.prune()
    assert contents(store) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"diff_id": "sha256:" + "0" * 64}, "does not have its digest"),
        ({"digest": "sha256:" + "0" * 64}, "does not have its digest"),
        ({"media": "text/plain"}, "unknown media type of a layer: text/plain"),
    ],
)
def test_a_layer_has_to_be_what_it_is_said_to_be(
    store: Store, tmp_path: Path, given: dict[str, str], said: str
) -> None:
    archive = make_layer(tmp_path / "layer.tar", file="1")
    with pytest.raises(ValueError, match=said), adding(store) as into, archive.open("rb") as file:
        into.layer(given.pop("media", oci.TAR), file, **given)
    assert contents(store) == []


# --- Roots of containers -------------------------------------------------------------------------


def test_a_container_has_a_directory_to_write_to(store: Store, tmp_path: Path) -> None:
    image = store.find(make_image(store, tmp_path, {"file": "1"}, {"file": "2"}))
    with writable(store, image) as root:
        assert root.layers[1:] == tuple(store.layer(each) for each in reversed(image.diff_ids))
        assert sorted(os.listdir(root.layers[0])) == ["dev", "etc", "proc", "sys"]
        assert len(root.id) == 64
        assert os.listdir(root.upper) == os.listdir(root.work) == []
        assert os.stat(root.upper).st_mode == os.stat(root.layers[1]).st_mode
        assert find(store, root.short_id) == root
        store.forget(image)
        store.prune()  # which leaves what a container uses
        assert Path(root.layers[1], "file").read_text() == "2"
    with pytest.raises(NoSuchContainer, match=f"No such container: {root.short_id}"):
        find(store, root.short_id)
    store.prune()
    assert contents(store) == []


# --- Two at once, and deaths ---------------------------------------------------------------------


def test_two_processes_add_and_remove_at_once(store: Store, tmp_path: Path) -> None:
    """Each adds images that share a layer with the other's, and removes them again."""
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from test_store import *\n"
        "store, tmp = Store(sys.argv[1]), Path(sys.argv[2]); tmp.mkdir()\n"
        "for n in range(12):\n"
        "    both = {'file': f'{n}'}, {'file': sys.argv[2]}\n"
        "    made = make_image(store, tmp, *both, name=tmp.name)\n"
        "    check = store.find(made)\n"
        "    assert Path(store.lowers(check)[1], 'file').read_text() == f'{n}'\n"
        "    if n % 3: store.forget(check); store.prune()\n"
    )
    command = [sys.executable, "-c", program, store.path]
    both = [
        subprocess.Popen([*command, tmp_path / name, Path(__file__).parent]) for name in ("a", "b")
    ]
    assert [each.wait() for each in both] == [0, 0]
    assert len(check_whole(store)) == 8  # the others have lost their names to their followers
    for image in store.images():
        store.forget(image)
    store.prune()
    assert contents(store) == []


class Changing:
    """An image is there; another one that shares a layer is added, and the first is removed."""

    @staticmethod
    def prepare(base_: Path) -> None:
        make_image(Store(), base_, {"file": "shared"}, {"file": "1"}, name="one")

    @staticmethod
    def work(base_: Path) -> None:
        make_image(Store(), base_, {"file": "shared"}, {"file": "2"}, name="two")
        store = Store()
        with writable(store, store.find("two")) as root:
            Path(root.upper, "new").write_text("text")
        store.forget(store.find("one"))
        store.prune()

    @staticmethod
    def look(_: Path) -> None:
        store = Store()
        names = {name.familiar for image in check_whole(store) for name in image.names}
        assert names in ({"one:latest"}, {"one:latest", "two:latest"}, {"two:latest"})
        with adding(store):  # whoever comes next
            pass
        for orphan in held.orphans(store.container_folders):
            orphan.remove()
        check_whole(store)
        for image in store.images():
            store.forget(image)
        store.prune()
        assert contents(store) == []


def test_what_a_killed_writer_left_goes(store: Store, tmp_path: Path) -> None:
    left = [Path(store.path, ".index.json.abc"), Path(store.path, "blobs/sha256/.1f2e.abc")]
    for each in left:
        each.write_text("{")
    make_image(store, tmp_path, {"file": "1"})
    assert [each for each in left if each.exists()] == []


@pytest.mark.slow
def test_wherever_a_process_dies_the_store_is_whole_and_nothing_stays() -> None:
    assert at_each_call("test_store:Changing", step=3) > 200


# --- Archives ------------------------------------------------------------------------------------


class Loading:
    """A file with two images is loaded."""

    @staticmethod
    def prepare(base_: Path) -> None:
        store = Store(str(base_ / "other"))
        make_image(store, base_, {"file": "shared"}, {"file": "1"}, name="one")
        make_image(store, base_, {"file": "shared"}, {"file": "2"}, name="two")
        with open(base_ / "both.tar", "wb") as file:
            save(store, ["one", "two"], file)

    @staticmethod
    def work(base_: Path) -> None:
        load(Store(), str(base_ / "both.tar"))

    @staticmethod
    def look(base_: Path) -> None:
        check_whole(Store())
        assert len(load(Store(), str(base_ / "both.tar"))) == 2
        assert len(check_whole(Store())) == 2
        assert held.names(Store().ingest) == []


@pytest.mark.slow
def test_wherever_load_dies_a_second_one_completes_it() -> None:
    assert at_each_call("test_store:Loading", step=3) > 100


@pytest.fixture
def saved(store: Store, tmp_path: Path) -> Path:
    make_image(store, tmp_path, {"file": "1"}, {"file": "2"}, name="small:v1")
    store.name(store.find("small:v1"), parse("small:v2"), parse("other.org/x:y"))
    path = tmp_path / "saved.tar"
    with open(path, "wb") as file:
        save(store, ["small"], file)
    return path


def rewritten(saved: Path, change: dict[str, bytes | None], to: Path) -> Path:
    """The archive with other contents of some files, or without them."""
    with tarfile.open(saved) as old, tarfile.open(to, "w") as new:
        for entry in old:
            content = old.extractfile(entry)
            data: bytes | None = content.read() if content else b""
            data = change.get(entry.name, data)
            if data is not None:
                entry.size = len(data)
                new.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
        names = set(old.getnames())
        for name, added in change.items():
            if name not in names and added is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(added)
                new.addfile(entry, io.BytesIO(added))
    return to


def test_what_is_saved_is_loaded_with_its_digests_and_names(
    store: Store, saved: Path, tmp_path: Path
) -> None:
    other = Store(str(tmp_path / "other"))
    loaded = load(other, str(saved))
    assert [name.familiar for each in loaded for name in each.names] == ["small:v1", "small:v2"]
    one, two = store.find("small:v1"), other.find("small:v2")
    assert (one.id, one.manifest, one.layers) == (two.id, two.manifest, two.layers)
    assert len(check_whole(other)) == 1


@pytest.mark.usefixtures("saved")
def test_an_image_that_is_saved_by_its_id_has_no_name(store: Store, tmp_path: Path) -> None:
    with open(tmp_path / "id.tar", "wb") as file:
        save(store, [store.find("small:v1").id[7:19]], file)
    other = Store(str(tmp_path / "other"))
    assert [each.names for each in load(other, str(tmp_path / "id.tar"))] == [()]
    assert [image.names for image in other.images()] == [()]  # and it stays


def test_the_same_images_make_the_same_file(store: Store, saved: Path) -> None:
    again = io.BytesIO()
    save(store, ["small:v1", "small:v2", store.find("small:v1").id], again)
    assert again.getvalue() == saved.read_bytes()


def test_what_cannot_be_saved(store: Store) -> None:
    base.host(store)
    for text, said in ("host", "this machine's own root"), ("none", "No such image: none$"):
        with pytest.raises(ValueError, match=said):
            save(store, [text], io.BytesIO())


@pytest.mark.parametrize("program", ["gzip -c", "zstd -qc", "cat"])
def test_a_file_may_be_compressed_or_come_through_a_pipe(
    program: str, saved: Path, tmp_path: Path
) -> None:
    other = Store(str(tmp_path / "other"))
    command = [*program.split(), str(saved)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert len(load(other, process.stdout)) == 1  # type: ignore[arg-type]
    packed = tmp_path / "packed"
    packed.write_bytes(subprocess.check_output(command))
    assert load(other, str(packed))[0].id == other.find("small:v1").id


@pytest.mark.usefixtures("saved")
def test_a_docker_archive_of_the_old_form_is_loaded(store: Store, tmp_path: Path) -> None:
    """With a link for a layer that stands in it twice, as Docker wrote it before version 25."""
    image = store.find("small:v1")
    path = tmp_path / "old.tar"
    layers = [Path(store.blob(layer.digest)) for layer in image.layers]
    with tarfile.open(path, "w") as tar:
        tar.add(layers[0], "./a/layer.tar")
        for name, target in ("b/layer.tar", "../a/layer.tar"), ("c/layer.tar", "../b/layer.tar"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        tar.add(layers[1], "d/layer.tar")
    config = oci.new_config([image.diff_ids[0]] * 3 + [image.diff_ids[1]], {}, [])
    listed = {
        "Config": "x.json",
        "RepoTags": ["old"],
        "Layers": [f"{name}/layer.tar" for name in "abcd"],
    }
    more: dict[str, bytes | None] = {
        "x.json": oci.write(config),
        "manifest.json": json.dumps([listed]).encode(),
    }
    other = Store(str(tmp_path / "other"))
    load(other, str(rewritten(path, more, tmp_path / "old2.tar")))
    found = other.find("old")
    assert (found.id, len(found.diff_ids)) == (digest.of(oci.write(config)), 4)
    assert len(check_whole(other)) == 1


def names_of(saved: Path) -> dict[str, str]:
    """The files in an archive of one image: its configuration, manifest and layers."""
    with tarfile.open(saved) as tar:
        (listed,) = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
    blobs = "blobs/sha256/"
    return {
        "config": listed["Config"],
        "layer": listed["Layers"][1],
        "manifest": blobs + index["manifests"][0]["digest"][7:],
    }


def hostile(saved: Path) -> dict[str, tuple[dict[str, bytes | None], str]]:
    """What may be wrong with an archive, and what is said then."""
    names = names_of(saved)
    about = {"mediaType": oci.MANIFEST, "digest": "sha256:" + "0" * 64, "size": 2}

    def index(**entry: object) -> bytes:
        return json.dumps({"manifests": [{**about, **entry}]}).encode()

    def listed(**entry: object) -> dict[str, bytes | None]:
        whole = {"Config": names["config"], "RepoTags": ["x"], "Layers": [names["layer"]]}
        return {"index.json": None, "manifest.json": json.dumps([{**whole, **entry}]).encode()}

    return {
        "no list": ({"index.json": None, "manifest.json": None}, "neither manifest.json nor"),
        "no JSON": ({"index.json": b"{"}, "index.json: it is not a JSON object"),
        "nested JSON": ({"index.json": b"[" * 99999}, "index.json: it is not a JSON object"),
        "too large": ({"index.json": b" " * (5 << 20)}, "too large for a document"),
        "a list": ({"index.json": b"[]"}, "index.json: it is not a JSON object"),
        "no manifests": ({"index.json": b"{}"}, "it has no manifests"),
        "no descriptor": ({"index.json": b'{"manifests": [1]}'}, "descriptors is not valid"),
        "a path for a digest": ({"index.json": index(digest="sha256:../../x")}, "digest format"),
        "another digest": ({"index.json": index()}, "there is no such file in the archive"),
        "negative size": ({"index.json": index(size=-1)}, "descriptors is not valid"),
        "true for a size": ({"index.json": index(size=True)}, "descriptors is not valid"),
        "another manifest": ({names["manifest"]: b"{}"}, "its size is 2, not"),
        "another layer": ({names["layer"]: b"x" * 10240}, names["layer"][13:]),
        "a short layer": ({names["layer"]: b""}, "its size is 0, not"),
        "no layer": ({names["layer"]: None}, "there is no such file in the archive"),
        "no config": (listed(Config="none.json"), "none.json: there is no such file"),
        "config outside": (listed(Config="../../etc/passwd"), "there is no such file"),
        "layer outside": (listed(Layers=["/etc/passwd", "/etc/passwd"]), "no such file"),
        "no list of layers": (listed(Layers="abc"), "an entry is not complete"),
        "too few layers": (listed(), "layers length mismatch: expected 2, got 1"),
        "a wrong name": (listed(RepoTags=["A"], Layers=[names["layer"]] * 2), "digest"),
        "no images": (
            {"index.json": None, "manifest.json": b'{"a": 1}'},
            "it is no list of images",
        ),
    }


CASES = [
    "no list", "no JSON", "nested JSON", "too large", "a list", "no manifests", "no descriptor",
    "a path for a digest", "another digest", "negative size", "true for a size", "another manifest",
    "another layer", "a short layer", "no layer", "no config", "config outside", "layer outside",
    "no list of layers", "too few layers", "a wrong name", "no images",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_archive_of_images_is_refused_and_nothing_stays(
    case: str, saved: Path, tmp_path: Path
) -> None:
    assert list(hostile(saved)) == CASES
    change, said = hostile(saved)[case]
    other = Store(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        load(other, str(rewritten(saved, change, tmp_path / "hostile.tar")))
    assert re.search("[一-鿿]", str(caught.value))
    assert (contents(other), other.images()) == ([], [])


@pytest.mark.parametrize("keep", [0, 1, 511, 512, 5000, -1, -20000])
def test_an_archive_that_breaks_off_is_refused(keep: int, saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    size = keep % len(whole) if keep >= 0 else len(whole.rstrip(b"\0")) + keep
    saved.write_bytes(whole[:size])
    other = Store(str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"breaks off|no tar"):
        load(other, str(saved))
    assert (contents(other), other.images()) == ([], [])


def test_an_image_for_another_system_is_refused(store: Store) -> None:
    config = oci.new_config([], {}, []) | {"os": "windows"}
    with (
        pytest.raises(ValueError, match='operating system "windows" cannot be used'),
        adding(store) as into,
    ):
        into.image(oci.write(config), [])
    assert contents(store) == []


def test_of_an_index_the_manifest_for_this_machine_is_taken(
    store: Store, saved: Path, tmp_path: Path
) -> None:
    own = store.find("small:v1").manifest
    platforms = [("linux", "other"), ("linux", platform.here().architecture)]
    entries = [
        own.json(
            digest=own.digest if arch != "other" else "sha256:" + "0" * 64,
            platform={"os": system, "architecture": arch},
        )
        for system, arch in platforms
    ]
    for chosen, said in (entries, ""), (entries[:1], "no matching manifest for linux/"):
        inner = json.dumps({"manifests": chosen}).encode()
        outer = oci.Descriptor.of(oci.INDEX, inner)
        name = "docker.io/library/multi:1"
        index = {"manifests": [outer.json(annotations={"io.containerd.image.name": name})]}
        change: dict[str, bytes | None] = {
            "index.json": json.dumps(index).encode(),
            f"blobs/sha256/{outer.digest[7:]}": inner,
        }
        path = str(rewritten(saved, change, tmp_path / "multi.tar"))
        other = Store(str(tmp_path / "other"))
        if said:
            with pytest.raises(ValueError, match=said):
                load(other, path)
        else:
            load(other, path)
            assert other.find("multi:1").id == store.find("small:v1").id
