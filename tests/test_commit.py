"""What a container has changed: diff, commit, export; what the kernel's own overlay shows."""

import io
import os
import subprocess
import tarfile
from pathlib import Path
from stat import S_ISLNK

import pytest

from labkit.images import base
from labkit.images.changes import changes
from labkit.images.commit import About, commit, import_archive
from labkit.images.export import export
from labkit.images.load import load
from labkit.images.merged import find, walk
from labkit.images.reference import parse
from labkit.images.save import save
from labkit.images.settings import change
from labkit.images.store import Store
from labkit.images.writable import Writable, writable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "images"))
    base.busybox(store)
    return store


def inside(root: Writable, script: str, look: str = "") -> str:
    """Run a shell's script in the overlay of the kernel, as root of it; `look` from outside."""
    lowers = ":".join(root.layers)
    options = f"lowerdir={lowers},upperdir={root.upper},workdir={root.work}"
    mount = f"mount -t overlay -o {options} overlay {root.upper}"
    enter = (
        f"cd {root.upper} && env -i PATH=/bin $(command -v chroot) . /bin/sh -euc {quote(script)}"
    )
    command = ["unshare", "-m", "sh", "-euc", f"{mount}; ({enter}); cd {root.upper}; {look}"]
    # mount(8) of today makes the calls of fsconfig(2), which take a string of 255 bytes at most.
    env = os.environ | {"LIBMOUNT_FORCE_MOUNT2": "always"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


WORK = """
echo new > /etc/new; echo "# more" >> /etc/group; rm /bin/vi; mkdir -p /srv/a/b; echo x > /srv/a/b/f
chmod 700 /home; rm -r /var; mkdir /var; echo y > /var/fresh; touch -r /etc/group /tmp/same
rm -r /usr; echo file > /usr; ln -s /etc/new /link; mkfifo /pipe; mknod /node c 1 3
touch /tmp/t; cat /tmp/t >> /etc/passwd; chown 5:6 /bin/ls; ln /etc/new /etc/hard
"""


def test_what_has_changed_is_told_as_docker_does(store: Store) -> None:
    with writable(store, store.find("busybox")) as root:
        inside(root, WORK)
        found = [str(each) for each in changes(root.upper, root.layers)]
    assert found == [
        "C /bin", "C /bin/ls", "D /bin/vi", "C /etc", "C /etc/group", "A /etc/hard", "A /etc/new",
        "C /home", "A /link", "A /node", "A /pipe", "A /srv", "A /srv/a", "A /srv/a/b",
        "A /srv/a/b/f", "C /tmp", "A /tmp/same", "A /tmp/t", "C /usr", "C /var",
        "A /var/fresh",
    ]  # fmt: skip


def test_nothing_has_changed_in_a_fresh_root(store: Store) -> None:
    with writable(store, store.find("busybox")) as root:
        inside(root, "cat /etc/passwd; ls /bin")
        assert changes(root.upper, root.layers) == []


def listing(find: str) -> list[str]:
    return sorted(find.splitlines())


FIND = r"find . -mindepth 1 -printf '%P %y %m %U %G %l\n'"


def test_the_merged_root_is_what_the_kernel_shows(store: Store) -> None:
    with writable(store, store.find("busybox")) as root:
        shown = listing(inside(root, WORK, FIND))
        found = [path for path, _ in walk((root.upper, *root.layers))]
        assert sorted(found) == sorted(line.split()[0] for line in shown)


@pytest.mark.parametrize("opaque", [False, True], ids=["merged", "opaque"])
def test_a_path_leads_to_what_all_names_say(store: Store, opaque: bool) -> None:
    """Also to nothing: through a whiteout, an opaque directory, a file in a directory's place."""
    with writable(store, store.find("busybox")) as root:
        inside(root, f"{WORK}rm -r /etc; mkdir /etc; echo new > /etc/new")
        if opaque:
            os.setxattr(root.upper, "trusted.overlay.opaque", b"y")
        layers = (root.upper, *root.layers)
        nodes = dict(walk(layers))
        below = {path for each in root.layers for path, _ in walk((each,))}
        assert {"bin/vi", "usr/bin", "etc/group"} <= below - {*nodes}
        for path in below | {*nodes} | {"x" * 300, "bin/ls/x"}:
            found, node = find(layers, path), nodes.get(path)
            if node is None or not S_ISLNK(node.stat.st_mode):
                told = (node.path, node.directories) if node else None
                assert (found and (found.path, found.directories)) == told, path


def test_a_commit_is_an_image_of_what_the_container_saw(store: Store) -> None:
    with writable(store, store.find("busybox")) as root:
        shown = listing(inside(root, WORK, FIND))
        about = About("my message", "me", ('CMD ["ls", "-l"]', "ENV A=1"), "sh")
        image = store.find(commit(store, root, (parse("mine:1"),), about))
    assert image.settings["Cmd"] == ["ls", "-l"]
    assert image.settings["Env"][-1] == "A=1"
    last = image.config["history"][-1]
    assert (last["author"], last["comment"], last["created_by"]) == ("me", "my message", "sh")
    assert len(image.diff_ids) == len(image.config["history"]) == 2
    with writable(store, image) as again:
        assert listing(inside(again, "true", FIND)) == shown
        assert changes(again.upper, again.layers) == []


def test_a_third_layer_and_the_way_through_a_file(store: Store, tmp_path: Path) -> None:
    """An image by hand from three layers, saved and loaded: overlay shows the same."""
    for name, script in ("one", "echo 1 > /a; mkdir /d; echo 1 > /d/x"), ("two", "rm /a /d/x"):
        source = "busybox" if name == "one" else "one"
        with writable(store, store.find(source)) as root:
            inside(root, script)
            commit(store, root, (parse(name).tagged(),), About())
    path = tmp_path / "two.tar"
    with path.open("wb") as file:
        save(store, ["two"], file)
    other = Store(str(tmp_path / "other"))
    load(other, str(path))
    image = other.find("two")
    assert (image.id, len(image.diff_ids)) == (store.find("two").id, 3)
    with writable(other, image) as root:
        assert inside(root, "ls /d; ls /a 2>&1 || true") == "ls: /a: No such file or directory\n"


def test_a_commit_over_this_machines_own_root(store: Store) -> None:
    base.host(store)
    with writable(store, store.find("host")) as root:
        Path(root.upper, "labkit-was-here").write_text("1")
        image = store.find(commit(store, root, (parse("more:1"),), About()))
    assert store.lowers(image)[1:] == ("/",)
    assert os.listdir(store.lowers(image)[0]) == ["labkit-was-here"]
    with pytest.raises(ValueError, match="this machine's own root"):
        save(store, ["more:1"], io.BytesIO())


def test_what_is_exported_is_imported_as_one_layer(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    with writable(store, store.find("busybox")) as root:
        shown = listing(inside(root, WORK, FIND))
        with path.open("wb") as file:
            export((root.upper, *root.layers), file)
    with tarfile.open(path) as tar:
        assert tar.getmember("bin/sh").islnk()
        assert {tar.getmember(name).linkname for name in ("etc/new",)} == {"etc/hard"}
    with path.open("rb") as source:
        made = import_archive(store, source, "-", (parse("flat:1"),), About(changes=("CMD sh",)))
    image = store.find("flat:1")
    assert (image.id, image.settings["Cmd"]) == (made, ["/bin/sh", "-c", "sh"])
    assert image.config["history"][0]["comment"] == "Imported from -"
    with writable(store, image) as root:
        assert listing(inside(root, "true", FIND)) == shown


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('CMD ["a", "b"]', "Cmd", ["a", "b"]),
        ("CMD a b", "Cmd", ["/bin/sh", "-c", "a b"]),
        ('entrypoint ["a"]', "Entrypoint", ["a"]),
        ("ENV A=2 B='3 4'", "Env", ["A=2", "C=1", "B=3 4"]),
        ("ENV A 2 3", "Env", ["A=2 3", "C=1"]),
        ("LABEL a=b", "Labels", {"a": "b"}),
        ("EXPOSE 80 53/udp", "ExposedPorts", {"80/tcp": {}, "53/udp": {}}),
        ('VOLUME ["/a", "/b"]', "Volumes", {"/a": {}, "/b": {}}),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}),
        ("USER me", "User", "me"),
        ("WORKDIR /srv", "WorkingDir", "/srv"),
        ("STOPSIGNAL 9", "StopSignal", "9"),
    ],
)  # fmt: skip
def test_a_line_of_a_dockerfile_changes_the_settings(line: str, key: str, value: object) -> None:
    before = {"Env": ["A=1", "C=1"], "Cmd": ["old"]}
    after = change(before, (line,))
    assert after[key] == value
    assert before == {"Env": ["A=1", "C=1"], "Cmd": ["old"]}
    if key == "Entrypoint":
        assert "Cmd" not in after


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RUN ls", "RUN is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A=1 B", "can't find = in 'B'. Must be of the form: name=value"),
    ],
)
def test_a_line_that_changes_nothing_is_refused(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        change({}, (line,))
