"""docker run in an image, for real: what the image says, what is mounted, what is left."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import until

from labkit import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Container,
    Finished,
    Limits,
    Root,
    run,
    start,
)
from labkit.container.root import Volume
from labkit.docker import volumes
from labkit.docker.obtain import image_for, there
from labkit.docker.order import parse
from labkit.docker.roots import ready
from labkit.images import base
from labkit.images.commit import About, commit
from labkit.images.reference import parse as reference
from labkit.images.store import NoSuchImage, Store, opened
from labkit.images.writable import writable
from labkit.notebook.views.docker_line import docker_line, docker_notes
from labkit.state import held

WALLS = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET
LABKIT = [sys.executable, "-m", "labkit"]
TOLD = (
    "USER app",
    "WORKDIR /srv/app/data",
    "EXPOSE 8080 53/udp",
    "VOLUME /keep",
    "ENV MODE=image",
    'ENTRYPOINT ["sh", "-c"]',
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with busybox, and `told`: an image that says all that an image can say."""
    patch = pytest.MonkeyPatch()
    patch.setenv("LABKIT_STATE", str(tmp_path_factory.mktemp("state")))
    patch.setenv("LABKIT_LANG", "en")
    store = Store()
    base.busybox(store)
    with writable(store, store.find("busybox")) as root:
        top = Path(root.upper)
        (top / "etc").mkdir()
        (top / "etc/passwd").symlink_to("/users/passwd")
        (top / "users").mkdir()
        (top / "users/passwd").write_text(
            "root:x:0:0::/root:/bin/sh\napp:x:7:8::/home/app:/bin/sh\n"
        )
        (top / "users/group").write_text("root:x:0:\nmail:x:12:app\n")
        (top / "etc/group").symlink_to("../../users/group")
        (top / "keep").mkdir()
        (top / "keep").chmod(0o751)
        (top / "keep/note").write_text("of the image\n")
        os.chown(top / "keep/note", 7, 8)
        (top / "keep/link").symlink_to("note")
        commit(store, root, (reference("told").tagged(),), About(changes=TOLD))
    yield store
    try:
        until(lambda: held.names(store.container_folders) == [])
    finally:
        patch.undo()


def ran(line: str, store: Store) -> Finished:
    """What comes of a docker run. It makes no bridge on the machine of the tests."""
    asked = parse(shlex.split(f"run --network none {line}"))
    with ready(asked, (store, store.find(asked.image))) as (box, _):
        return run(box)


# --- What the image says -------------------------------------------------------------------------


def test_the_image_is_honoured(store: Store) -> None:
    """Its user by name, through links that stay inside; a working directory that is made."""
    script = "id; pwd; echo $HOME $MODE; stat -c '%u %a %n' /keep/note /keep; cat /keep/link; umask"
    done = ran(f"--group-add mail -e MODE=mine told {shlex.quote(script)}", store)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "uid=7(app) gid=8 groups=8,12(mail)",
        "/srv/app/data",
        "/home/app mine",
        "7 644 /keep/note",
        "0 751 /keep",
        "of the image",
        "0022",
    ]
    assert volumes.names() == []


def test_ports_of_the_image_are_published(store: Store) -> None:
    asked = parse(["run", "-P", "-p", "9000:53/udp", "--expose", "70", "told", "true"])
    with ready(asked, (store, store.find("told"))) as (box, made):
        network = box.on_network
        assert network is not None
        found = {(port.inside, port.kind, port.host) for port in network.ports()}
        assert found == {(53, "udp", 9000), (8080, "tcp", 0), (70, "tcp", 0)}
        assert box.hostname == made.short_id


def test_a_volume_is_filled_once_and_stays(store: Store) -> None:
    assert ran("-u 0 -v db:/keep told 'echo more >> /keep/note'", store).returncode == 0
    line = "-v db:/keep:ro --mount dst=/bin/empty,volume-nocopy busybox sh -c"
    done = ran(f"{line} 'cat /keep/note; ls /bin/empty; touch /keep/new'", store)
    assert done.stdout == "of the image\nmore\n"
    assert "Read-only file system" in done.stderr
    assert volumes.names() == ["db"]
    assert volumes.inspect("db")["Mountpoint"] == volumes.data("db")
    volumes.remove("db")
    with pytest.raises(volumes.NoSuchVolume, match="get db: no such volume"):
        volumes.remove("db")


def test_a_source_is_made_for_v_and_must_be_there_for_mount(store: Store, tmp_path: Path) -> None:
    assert ran(f"-v {tmp_path}/new:/x busybox touch /x/y", store).returncode == 0
    assert (tmp_path / "new/y").exists()
    with pytest.raises(ValueError, match="bind source path does not exist"):
        ran(f"--mount type=bind,src={tmp_path}/no,dst=/x busybox true", store)


# --- The walls ------------------------------------------------------------------------------------


def test_each_option_reaches_the_kernel(store: Store) -> None:
    options = (
        "--read-only --tmpfs /run --shm-size 1m -w /made --ulimit nofile=30:40 --init "
        "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=4096 --domainname lab -m 64m "
        "--oom-score-adj 7 "
        "--device /dev/null:/dev/net/mine:r --cpus 0.5 --label a=b"
    )
    script = (
        "pwd; touch /run/x /x; df -k /dev/shm | tail -1; ulimit -n; ulimit -Hn; echo $$; "
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/kernel/domainname "
        "/proc/sys/net/ipv4/ip_unprivileged_port_start /proc/self/oom_score_adj; "
        "stat -c %t:%T /dev/net/mine; readlink /proc/1/exe; (sleep 0 &); echo > /dev/net/mine"
    )
    done = ran(f"{options} busybox sh -c {shlex.quote(script)}", store)
    place, shm, *rest = done.stdout.splitlines()
    assert (place, shm.split()[1]) == ("/made", "1024")
    assert rest == ["30", "40", "2", "1", "4096", "lab", "0", "7", "1:3"]
    assert done.stderr.count("Read-only file system") == 1


def test_it_reads_its_own_control_groups(store: Store) -> None:
    script = "cat memory*/memory.limit_in_bytes memory.max; cut -d: -f2,3 /proc/self/cgroup"
    line = f"-w /sys/fs/cgroup -m 32m busybox sh -c '{script} | grep -e 335 -e memory:; > x'"
    done = ran(line, store)
    assert set(done.stdout.splitlines()) <= {"33554432", "memory:/"}
    assert "33554432" in done.stdout
    assert "can't create x: Read-only file system" in done.stderr
    assert "memory" not in ran("--cgroupns host busybox ls /sys/fs/cgroup", store).stdout


def test_devices_are_out_of_reach_unless_privileged(store: Store) -> None:
    """A device can be made, but not used, as with Docker."""
    disk = next(name for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}"))
    number = os.stat(f"/dev/{disk}").st_rdev
    script = f"mknod /x b {os.major(number)} {os.minor(number)} && : < /x"
    done = ran(f"busybox sh -c {shlex.quote(script)}", store)
    assert done.stderr == "sh: can't open /x: Operation not permitted\n"
    script = f": < /dev/{disk} && mkdir /y && mount -t tmpfs y /y"
    done = ran(f"--privileged busybox sh -c {shlex.quote(script)}", store)
    assert (done.returncode, done.stderr) == (0, "")


COLONS = ("char/1:3", "dri/by-path/pci-0000:00:02.0-card")


@pytest.fixture
def odd_devices(tmp_path: Path) -> list[str]:
    """Words before a command line: it sees a /dev that has devices with colons in their names."""
    usual = "null zero full random urandom tty"
    script = (
        f"mount -t tmpfs dev {tmp_path} && cd /dev && cp -a {usual} {tmp_path} && cd {tmp_path} &&"
        f" mkdir -p pts shm char dri/by-path && mount --bind /dev/pts pts && ln -s pts/ptmx ptmx &&"
        f" for each in {' '.join(COLONS)}; do mknod $each c 1 3; done &&"
        f" cd / && mount --move {tmp_path} /dev && exec "
    )
    return ["unshare", "--mount", "sh", "-c", script + '"$@"', "sh"]


@pytest.mark.parametrize("options", ["--privileged", "--device /dev/char --device /dev/dri"])
@pytest.mark.usefixtures("store")
def test_a_device_with_a_colon_in_its_name(odd_devices: list[str], options: str) -> None:
    """As a privileged container has them all, and a machine with a graphics card."""
    line = f"run --rm --network none {options} busybox"
    script = "for each in " + " ".join(f"/dev/{each}" for each in COLONS)
    script += "; do stat -c %t:%T $each; echo x > $each; done"
    words = [*odd_devices, *LABKIT, *line.split(), "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1:3\n1:3\n", "")


@pytest.mark.usefixtures("store")
def test_a_path_with_a_colon_is_mounted(tmp_path: Path) -> None:
    """-v ends a path at a colon, as Docker's does. --mount and a relative -v do not."""
    place = tmp_path / "a:b"
    place.mkdir()
    (place / "f").write_text("here\n")
    for option in (f"--mount type=bind,src={place},dst=/c:d,readonly", "-v .:/c"):
        line = f"run --rm --network none {option} busybox sh -c"
        words = [*LABKIT, *line.split(), "cd /c* && cat f && : > new"]
        env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(
            words, cwd=place, env=env, capture_output=True, text=True, check=False
        )
        assert done.stdout == "here\n"
        assert ("Read-only file system" in done.stderr) == ("readonly" in option)
        assert (place / "new").exists() == ("readonly" not in option)


def test_volumes_and_devices_in_parts() -> None:
    volumes: list[Any] = [("/a:b", "/c:d", True), "/e:/f"]
    devices: list[Any] = [("/dev/g:h", "/dev/i:j"), "/dev/k:/dev/l"]
    root = Root("/x", volumes=volumes, devices=devices)
    assert root == Root.of(json.loads(json.dumps(root.fields_on())))
    assert root.mounts() == [Volume("/a:b", "/c:d", True), Volume("/e", "/f", False)]
    assert root.nodes() == [("/dev/g:h", "/dev/i:j"), ("/dev/k", "/dev/l")]
    limits = Limits(devices=[("/dev/m:n", "rw"), "/dev/null:r"])
    assert limits == Limits(**json.loads(json.dumps(limits.fields_on())))
    wrongs: tuple[Any, ...] = ("/dev/a",), ("/dev/a", 1), ("a", "/dev/b"), ("/dev/a", "/b")
    for wrong in wrongs:
        with pytest.raises((TypeError, ValueError)):
            Root("/x", devices=[wrong])
    for bad in (("/dev/null", "x"), ("c 1:3", "rwm"), ("/dev/null", "")):
        with pytest.raises(ValueError, match="/dev/fuse"):
            Limits(devices=[bad])


def test_docker_words_for_paths_with_colons() -> None:
    root = Root(layers=("/",), volumes=[("/a:b", "/c", True)], devices=[("/dev/d:e", "/dev/d:e")])
    box = Container(("true",), cloneflags=WALLS, root=root)
    line = docker_line(box)
    assert "--mount=type=bind,source=/a:b,target=/c,readonly" in line
    assert "/dev/d:e" not in line
    assert any("ends a path at a colon" in note.en for note in docker_notes(box))


def test_the_hosts_namespaces_can_be_shared(store: Store) -> None:
    line = "--pid host --ipc host --uts host --network host busybox sh -c"
    done = ran(f"{line} 'ls -d /proc/{os.getpid()}; hostname; ls /sys/class/net'", store)
    process, name, *links = done.stdout.split()
    assert (process, name) == (f"/proc/{os.getpid()}", os.uname().nodename)
    assert set(links) >= {each for each in os.listdir("/sys/class/net") if each == "lo"}


@pytest.mark.parametrize("rooted", [False, True])
def test_a_sysctl_of_ones_own_namespace_alone(rooted: bool) -> None:
    settings = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4242"}
    script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax"
    root = Root(layers=("/",)) if rooted else None
    box = Container(("sh", "-c", script), cloneflags=WALLS, proc=True, sysctls=settings, root=root)
    assert run(box).stdout.split() == ["1", "4242"]
    assert Path("/proc/sys/kernel/msgmax").read_text() != "4242\n"


def test_a_hard_limit_cannot_be_raised_without_power(nobody: list[str]) -> None:
    script = """
from labkit import Container, run
try:
    run(Container(("true",), rlimits={"core": (0, 0), "nofile": (-1, -1)}))
except OSError as error:
    print(error.errno, *error.__notes__)
"""
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("1 ")
    assert "CAP_SYS_RESOURCE" in done.stdout


def test_an_init_reaps_and_passes_signals_on() -> None:
    """PID 1 ends as the program does, and is not ended by a signal that the program handles."""
    script = "trap 'echo caught; exit 5' TERM; (true &); echo $$ $PPID; while :; do sleep 1; done"
    box = Container(("sh", "-c", script), cloneflags=WALLS, proc=True, init=True)
    with start(box) as running:
        until(lambda: "2 1\n" in running.stdout)  # true is an orphan by now, and so PID 1's
        until(lambda: len(_children(running.pid)) == 1)
        running.kill(signal.SIGTERM)
        done = running.wait()
    assert (done.returncode, done.stdout) == (5, "2 1\ncaught\n")
    assert run(Container(("sh", "-c", "kill -9 $$"), cloneflags=WALLS, init=True)).returncode == 137
    assert run(Container(("nosuch",), cloneflags=WALLS, init=True)).returncode == 127


def _children(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


# --- labkit run -----------------------------------------------------------------------------------


def cli(*words: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """What labkit run prints. A bridge that it makes goes with a network namespace of its own."""
    argv = ["unshare", "--net", *LABKIT, "run", "--rm", *words]
    return subprocess.run(argv, capture_output=True, text=True, input=text)


def test_labkit_run_is_docker_run(store: Store, tmp_path: Path) -> None:
    script = "echo hi; cat; ls /sys/class/net; test -e /etc/hosts"
    done = cli("--cidfile", f"{tmp_path}/id", "busybox", "sh", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hi\neth0\nlo\n", "")
    assert len((tmp_path / "id").read_text()) == 64
    networks = Path(os.environ["LABKIT_STATE"], "run/network")
    until(lambda: not [*networks.glob("*/bridge")])
    done = cli(
        "--network=none", "-i", "busybox", "sh", "-c", "cat; kill -9 $$; exit 3", text="typed\n"
    )
    assert (done.returncode, done.stdout) == (3, "typed\n")
    assert held.names(store.container_folders) == []


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        ("busybox nosuch", 127, "nosuch: No such file or directory"),
        ("busybox /etc/passwd", 126, "/etc/passwd: Permission denied"),
        ("--init busybox sh -c 'kill -TERM $$'", 143, ""),
        ("", 1, "'docker run' requires at least 1 argument  The image stands before"),
        ("--nonsense busybox", 125, "unknown flag: --nonsense"),
        ("--pull never nosuch:1", 125, "No such image: nosuch:1"),
        (
            "-u nosuch busybox true",
            125,
            "unable to find user nosuch: no matching entries in passwd",
        ),
        ("-it busybox true", 1, "the input device is not a TTY"),
    ],
)
def test_its_exit_status_is_dockers(words: str, status: int, told: str) -> None:
    done = cli("--network=none", *shlex.split(words))
    assert (done.returncode, bool(done.stderr)) == (status, bool(told))
    assert told in done.stderr


def test_without_root_it_is_root_of_a_user_namespace(nobody: list[str]) -> None:
    script = """
import os, tempfile
from labkit.cli.main import main
from labkit.images import base
from labkit.images.store import Store
with tempfile.TemporaryDirectory() as os.environ["LABKIT_STATE"]:
    base.busybox(Store())
    main(["run", "--rm", "-v", "/keep", "busybox", "sh", "-c", "id -u; touch /keep/x /x; pwd"])
"""
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["0", "/"], "")


@pytest.mark.usefixtures("store")
def test_without_t_the_callers_terminal_stays_outside() -> None:
    """What is typed and printed goes through pipes: nobody inside can type there (TIOCSTI)."""
    inside = "test -t 0 || test -t 1 || test -t 2 || echo no terminal; read x; echo got $x; exit 4"
    words = [*LABKIT, "run", "--rm", "--network=none", "-i", "busybox", "sh", "-c", inside]
    command = ["script", "--quiet", "--return", "--command", shlex.join(words), "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, input="typed\n")
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-2:]) == (4, ["no terminal", "got typed"])


# --- Where the image comes from ------------------------------------------------------------------


def test_a_look_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path / "none"))
    asked = parse(["run", "--pull", "never", "busybox"])
    assert (opened(), there(asked)) == (None, None)
    with pytest.raises(NoSuchImage):
        image_for(asked)
    assert not (tmp_path / "none").exists()


def test_an_image_for_another_platform_is_not_there(store: Store) -> None:
    here = json.loads(json.dumps(store.find("busybox").config["architecture"]))
    other = {"amd64": "arm64"}.get(here, "amd64")
    assert there(parse(["run", "--platform", f"linux/{here}", "busybox"])) is not None
    assert there(parse(["run", "--platform", f"linux/{other}", "busybox"])) is None


@pytest.mark.usefixtures("store")
def test_host_needs_no_network() -> None:
    said: list[str] = []
    asked = parse(["run", "--network", "none", "host", "true"])
    found, image = image_for(asked, say=said.append)
    assert image.root == "/"
    assert said == ["Unable to find image 'host:latest' locally"]
    with ready(asked, (found, image)) as (box, _):
        assert run(box).returncode == 0
