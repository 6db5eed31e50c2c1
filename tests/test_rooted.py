"""A container in an image: its own programs, a fresh upper layer each time, nothing left behind."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from archives import END, header
from conftest import until
from test_store import make_image

from labkit import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Container, run
from labkit.docker.roots import program, rooted
from labkit.images import base
from labkit.images.changes import changes
from labkit.images.commit import About, commit
from labkit.images.reference import parse
from labkit.images.store import Store
from labkit.images.writable import writable
from labkit.state import held

BOX = Container(("sh",), cloneflags=CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS, proc=True)
LABKIT = [sys.executable, "-m", "labkit"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "state"))
    store = Store()
    base.busybox(store)
    yield store
    assert held.names(store.container_folders) == []


def sh(store: Store, script: str, image: str = "busybox", box: Container = BOX) -> str:
    with rooted(store, image, box, ("sh", "-c", script)) as (inside, _):
        done = run(inside)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_program_is_looked_up_in_the_image(store: Store) -> None:
    """The host has sh in /usr/bin, the image only in /bin."""
    assert os.path.exists("/usr/bin/sh")
    assert sh(store, "ls /usr/bin; command -v true; echo $PATH").splitlines()[-1].endswith(":/bin")


@pytest.mark.parametrize("rootless", [False, True])
def test_each_container_begins_with_the_image_as_it_was(store: Store, rootless: bool) -> None:
    box = replace(BOX, rootless=rootless)
    assert sh(store, "rm -r /home; echo 1 > /new; ls /", box=box).split().count("new") == 1
    assert "home" in sh(store, "ls /", box=box)
    assert "new" not in sh(store, "ls /", box=box)


@pytest.mark.parametrize("rootless", [False, True])
def test_a_directory_that_was_replaced_hides_the_old_one(store: Store, rootless: bool) -> None:
    """The layer is unpacked by root of the host, and read by root of a user namespace too."""
    with rooted(store, "busybox", BOX, ("sh", "-c", "echo 1 > /home/old")) as (inside, made):
        run(inside)
        commit(store, made, (parse("old").tagged(),), About())
    script = "rm -r /home; mkdir /home; echo 1 > /home/mine"
    with rooted(store, "old", BOX, ("sh", "-c", script)) as (inside, made):
        run(inside)
        assert ("/home/old", "D") in changes(made.upper, made.layers)
        commit(store, made, (parse("new").tagged(),), About())
    assert sh(store, "ls /home", "new", replace(BOX, rootless=rootless)) == "mine\n"


def test_the_image_says_how_its_program_runs(store: Store) -> None:
    lines = (
        'ENTRYPOINT ["sh", "-c"]',
        'CMD ["id -u; pwd; echo $A $HOME"]',
        "ENV A=1",
        "USER nobody",
        "WORKDIR /tmp",
    )
    with writable(store, store.find("busybox")) as root:
        commit(store, root, (parse("told").tagged(),), About(changes=lines))
    with rooted(store, "told", BOX) as (inside, _):
        assert run(inside).stdout == "65534\n/tmp\n1 /home\n"
    image = store.find("told")
    assert program(image, ("x",)) == ("sh", "-c", "x")
    own = replace(BOX, env={"A": "2"}, cwd="/etc", user=(0, 0, ()))
    with rooted(store, "told", own) as (inside, _):
        assert run(inside).stdout == "0\n/etc\n2 /root\n"


def test_what_is_mounted_on_is_no_change_of_the_container(store: Store) -> None:
    """As with Docker, whose layer "init" has these files too. /etc keeps its own mode."""
    with rooted(store, "busybox", BOX, ("sh", "-c", "chmod 711 /etc; rm -r /etc/*")) as (
        inside,
        made,
    ):
        run(inside)
        commit(store, made, (parse("strict").tagged(),), About())
    with rooted(store, "strict", BOX, ("sh", "-c", "stat -c %a /etc; ls /etc")) as (inside, made):
        assert run(inside).stdout.split() == ["711", "hostname", "hosts", "resolv.conf"]
        assert changes(made.upper, made.layers) == []


def test_an_image_that_says_nothing_needs_a_program(store: Store, tmp_path: Path) -> None:
    make_image(store, tmp_path, {"file": "1"}, name="silent")
    with pytest.raises(ValueError, match="no command specified"), rooted(store, "silent", BOX):
        pass


def test_a_link_for_passwd_leads_nowhere(store: Store, tmp_path: Path) -> None:
    """The user is looked up in the image, and the image could name a file of the host."""
    with writable(store, store.find("busybox")) as root:
        Path(root.upper, "etc").mkdir()
        secret = tmp_path / "passwd"
        secret.write_text("me:x:0:0::/stolen:/bin/sh\n")
        Path(root.upper, "etc", "passwd").symlink_to(secret)
        commit(store, root, (parse("linked").tagged(),), About())
    assert sh(store, "echo $HOME", "linked") == "/\n"


def test_this_machines_own_root_is_read_and_not_written(store: Store) -> None:
    base.host(store)
    name = f"/usr/labkit-{os.getpid()}"
    assert sh(store, f"echo 1 > {name}; cat {name}; ls /proc/1/exe >/dev/null", "host") == "1\n"
    assert not os.path.exists(name)


# --- Where overlay cannot write ------------------------------------------------------------------


def test_where_the_store_is_on_an_overlay_the_changes_go_elsewhere(tmp_path: Path) -> None:
    """As in a container that labkit itself runs in; real, in a mount namespace of its own."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f"""
        mount -t overlay -o {options} overlay {tmp_path}/merged
        export LABKIT_STATE={tmp_path}/merged
        mount -t tmpfs shm /dev/shm  # that of others changes meanwhile
        labkit() {{ {" ".join(LABKIT)} "$@"; }}
        labkit base > /dev/null
        labkit v0.7 run busybox sh -c 'echo 1 > /new; cat /new; mount | grep -o upperdir=/dev/shm'
        labkit images -q busybox > /dev/null
        [ "$(ls /dev/shm)" = "" ]
    """
    done = subprocess.run(["unshare", "-m", "sh", "-euc", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["1", "upperdir=/dev/shm"]
    assert "the upper directory of an overlay: changes are in /dev/shm" in done.stderr


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the user nobody."""
    with tempfile.TemporaryDirectory(prefix="labkit-nobody-") as path:
        os.chown(path, 65534, 65534)
        yield Path(path)


def test_an_ordinary_user_has_images_too(nobody: list[str], home: Path) -> None:
    environment = os.environ | {"LABKIT_STATE": str(home / "state"), "LABKIT_LANG": "en"}

    def python(*words: str) -> str:
        command = [*nobody, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.partition("]\n")[2] or done.stdout

    script = "id -u; rm -r /home; mkdir /home; echo new > /home/new; ls /home"
    python("-c", "from labkit.images import base, store; base.busybox(store.Store())")
    labkit = ("-m", "labkit", "v0.7", "run", "busybox")
    assert python(*labkit, "sh", "-c", script).split() == ["0", "new"]
    python("-c", SAVE_AND_LOAD)
    assert python(*labkit, "cat", "/etc/group").startswith("root:x:0:\n")
    assert held.names(str(home / "state" / "lib" / "images" / "containers")) == []


SAVE_AND_LOAD = """
from labkit.docker import images; from labkit.images.load import load
from labkit.images.save import save; from labkit.images.store import Store
with open("busybox.tar", "wb") as file:
    save(Store(), ["busybox"], file)
images.rmi(Store(), "busybox")
load(Store(), "busybox.tar")
"""


# --- On the command line -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["busybox", "sh", "-c", "exit 7"], 7),
        (["busybox", "nosuch"], 127),
        (["busybox", "/etc/passwd"], 126),
        (["nosuch", "sh"], 125),
        (["a..b", "sh"], 125),
        ([], 2),
    ],
)
@pytest.mark.usefixtures("store")
def test_exit_status(words: list[str], status: int) -> None:
    done = subprocess.run([*LABKIT, "v0.7", "run", *words], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert done.stdout == f"[labkit {' '.join(['v0.7', 'run', *words])}]\n"
    assert "Traceback" not in done.stderr


def test_a_container_of_root_may_do_what_dockers_may(store: Store) -> None:  # noqa: ARG001 - it is there
    script = "grep -E '^(CapEff|Seccomp):' /proc/self/status; mount -t tmpfs none /mnt 2>&1"
    command = [*LABKIT, "v0.7", "run", "busybox", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "CapEff:\t00000000a80425fb\nSeccomp:\t2\n" in done.stdout


def test_a_running_container_is_looked_at_from_outside_and_a_killed_one_is_cleared_away(
    store: Store,
) -> None:
    words = [*LABKIT, "v0.7", "run", "busybox", "sh", "-c", "echo 1 > /new; echo ready; sleep 600"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        until(lambda: process.stdout and process.stdout.readline() == "ready\n")
        (name,) = held.names(store.container_folders)
        told = subprocess.run([*LABKIT, "diff", name[:12]], capture_output=True, text=True)
        assert "A /new" in told.stdout.splitlines()
        refused = subprocess.run([*LABKIT, "rmi", "busybox"], capture_output=True, text=True)
        assert f"container {name[:12]} is using its referenced image" in refused.stderr
        process.kill()
    (name,) = held.names(store.container_folders)  # nobody could remove it
    assert sh(store, "true") == ""
    assert held.names(store.container_folders) == []
    about = json.loads(Path(store.path, "index.json").read_text())
    assert len(about["manifests"]) == 1


# --- Without root, with subordinate IDs -----------------------------------------------------------

MANY = """
import io, json, shlex, sys
from labkit import run
from labkit.docker.order import parse
from labkit.docker.roots import ready
from labkit.images.changes import changes
from labkit.images.commit import About, import_archive
from labkit.images.reference import parse as named
from labkit.images.store import Store
store, told = Store(), []
archive = io.BytesIO(sys.stdin.buffer.read())
import_archive(store, archive, "-", (named("many"),), About())
(layer,) = store.find("many").diff_ids
told.append(store.layer(layer))
script = "busybox ls -ln / /secret | busybox awk '{print $3, $4, $NF}'; busybox chown 9:9 /secret"
line = f"run --network none -e PATH=/bin --entrypoint busybox many sh -c {shlex.quote(script)}"
with ready(parse(shlex.split(line)), (store, store.find("many"))) as (box, made):
    done = run(box)
    told += [done.stdout, done.stderr, [str(each) for each in changes(made.upper, made.layers)]]
print(json.dumps(told))
"""
REMOVED = """
from labkit.images.store import Store
store = Store()
store.forget(store.find("many"))
store.prune()
"""


def test_files_of_many_users_belong_to_as_many_subordinate_ones(
    tmp_path: Path, nobody: list[str]
) -> None:
    """In a user namespace that has them, as newuidmap(1) makes one: in the store, in a container.

    Whoever is there can remove them again, too.
    """
    first = 100_000
    busybox = Path("/bin/busybox").read_bytes()
    archive = (
        header(b"bin/busybox", data=busybox, mode=0o755)
        + header(b"secret", b"5", mode=0o700, fields={"uid": b"0000005\0", "gid": b"0000006\0"})
        + header(b"secret/file", mode=0o600, fields={"uid": b"0000007\0"})
        + END
    )
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, first, first)
    for path in [tmp_path, *tmp_path.parents][:4]:  # as many as a process of several has there
        path.chmod(path.stat().st_mode | 0o011)
    walls = [*LABKIT, "unshare", "--user", "--setuid=0", "--setgid=0"]
    walls += [f"--map-users=0:{first}:65536", f"--map-groups=0:{first}:65536", "env"]
    walls += [word for word in nobody if word.startswith("PYTHON")]
    command = [*walls, f"LABKIT_STATE={state}", nobody[-1], "-c"]
    done = subprocess.run([*command, MANY], input=archive, capture_output=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, b"")
    layer, printed, complaint, changed = json.loads(done.stdout)
    assert complaint == ""
    assert {"0 0 bin", "5 6 secret", "7 0 file"} <= {*printed.splitlines()}
    assert changed == ["C /secret"]
    for name, owner in (("secret", (first + 5, first + 6)), ("secret/file", (first + 7, first))):
        about = Path(layer, name).stat()
        assert (about.st_uid, about.st_gid) == owner
    done = subprocess.run([*command, REMOVED], capture_output=True, cwd="/")
    assert (done.returncode, done.stderr) == (0, b"")
    assert not Path(layer).exists()
