"""Starts whose caller is a `labkit` of its own, which ends before its container does.

The caller of all others forks that process. When it has ended, or has been killed, the caller looks
what has become of its container, or of the store, and removes what is there.
"""

import contextlib
import fcntl
import functools
import importlib
import io
import json
import os
import select
import shutil
import sys
import tarfile
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from faults.tracer import MARK, ask_for
from labkit.cli import main, oci
from labkit.cli.attach import start_attached
from labkit.cli.execute import How, execute
from labkit.images import digest
from labkit.images.commit import About, import_archive
from labkit.images.load import load
from labkit.images.reference import parse
from labkit.images.save import save
from labkit.images.store import Image, Store
from labkit.linux.refusal import call_of
from labkit.monitor import acts, log, record, status
from labkit.monitor.record import Record
from labkit.oci import lifecycle

PLACE = "LABKIT_FAULTS"  # the environment variable by which all processes are found
KEPT = "kept"  # the name of a container that runs all the time
_SCRIPT, _READY, _TYPED = "echo ready; exec cat", b"ready\r\n", b"hi\r\4"
_SECONDS = 5.0


class Came(NamedTuple):
    """What came of a start, as Finished has it."""

    returncode: int
    stdout: str
    stderr: str


class Failed(Exception):  # noqa: N818 - it says what happened
    """A client has ended with an error that it did not catch; its arguments: the facts."""


def facts(error: BaseException) -> dict[str, object]:
    """What is known of an error."""
    return {
        "error": type(error).__name__,
        "os": isinstance(error, OSError),
        "call": call_of(error),
        "errno": getattr(error, "errno", None),
        "text": str(error),
    }


# --- A client -----------------------------------------------------------------------------------


def client(act: Callable[[], int], *, marked: bool = True) -> Came:
    """Do it in a process of its own: its exit status, or minus the signal, and what it printed.

    marked: whether its calls are watched.
    """
    out, err, told = (os.memfd_create(name) for name in ("out", "err", "told"))
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = os.fork()
        if pid == 0:
            _be(act, (null, out, err), told, marked=marked)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        _heard(told)
        return Came(code, _text(out), _text(err))
    finally:
        for fd in (out, err, told, null):
            os.close(fd)


def _be(
    act: Callable[[], int], streams: tuple[int, int, int], told: int, *, marked: bool = True
) -> NoReturn:
    """Be the client: what is between the marks is watched."""
    code = 1
    try:
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))  # noqa: SIM115
        if marked:
            ask_for(MARK)
        code = _said(act)
        if marked:
            ask_for(MARK)
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(told, json.dumps([*sys.modules]).encode())
    except BaseException as error:  # noqa: BLE001 - whatever it is, somebody is to hear of it
        os.write(told, json.dumps(facts(error)).encode())
    finally:
        os._exit(code)


def _said(act: Callable[[], int]) -> int:
    """Do it; what is refused is said as the command line says it."""
    try:
        return act()
    except (ValueError, OSError, LookupError) as error:
        sys.stderr.write(f"labkit: {error}\n")
        return 1


def _heard(told: int) -> None:
    """Import what a client had to import, so that the next need not. Failed: an error came."""
    found = json.loads(_text(told) or "[]")
    if isinstance(found, dict):
        raise Failed(found)
    for name in found:
        importlib.import_module(name)


def _text(fd: int) -> str:
    return os.pread(fd, 65536, 0).decode()


def labkit(*words: str) -> Callable[[], int]:
    """What a command line does."""
    return lambda: main.main(words)


# --- Containers with a monitor ------------------------------------------------------------------


def _made(*words: str) -> Record:
    """A container made of the small image, which nobody watches."""
    prepare()
    came = client(labkit("create", *words), marked=False)
    assert came.returncode == 0, came
    return record.find(came.stdout.strip())


def _small(*options: str) -> tuple[str, ...]:
    return (*options, "--env", f"{PLACE}={os.environ[PLACE]}", "small")


def created() -> Came:
    """Made, and not started."""
    prepare()
    came = client(labkit("create", *_small("--network", "none"), "echo", "hi"))
    return _became(Came(came.returncode, "", came.stderr))


def detached() -> Came:
    """It prints, and ends by itself; nobody is there but its monitor."""
    found = _made(*_small("--network", "none"), "echo", "hi")
    return _became(client(labkit("start", found.id)))


def detached_network() -> Came:
    """The same with an address and a published port."""
    found = _made(*_small("-p", "80"), "echo", "hi")
    return _became(client(labkit("start", found.id)))


def _others() -> list[Record]:
    return [each for each in record.every() if each.name != KEPT]


def _became(came: Came) -> Came:
    """Wait until all containers have ended, and remove them: what they printed, and how it went."""
    code, printed = 0, ""
    for found in _others():
        code = acts.wait(found)
        printed += "".join(entry["log"] for entry in log.entries(found.at("log")))
        acts.remove(found, force=True)
    return Came(came.returncode or code, printed, came.stderr)


def attached() -> Came:
    """On a terminal, and gone at its end: what the screen has shown."""
    master, slave = os.openpty()
    told = os.memfd_create("told")
    try:
        before = termios.tcgetattr(slave)
        found = _made(*_small("--rm", "-it", "--network", "none"), "sh", "-c", _SCRIPT)
        leader = os.fork()
        if leader == 0:
            _lead(found, slave, told)
        screen, code = _typed(master, leader)
        restored = _until(lambda: termios.tcgetattr(slave) == before)
    finally:
        os.close(master)
        os.close(slave)
    _heard(told)
    os.close(told)
    left = code == 0 and not _until(lambda: not os.path.exists(found.path))
    for each in _others():
        acts.remove(each, force=True)
    shown, mark, said = screen.replace("\r\n", "\n").partition("labkit: ")
    wrong = "" if restored else "the terminal is not as it was"
    wrong += "it is not removed" if left else ""
    return Came(code, shown, wrong or mark + said)


def _lead(found: Record, slave: int, told: int) -> NoReturn:
    """Be the shell of a terminal, in whose session the client is."""
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    pid = os.fork()
    if pid == 0:
        _be(lambda: start_attached(found, "ioe"), (slave,) * 3, told)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:  # end as the client did: its own exit status may be 137 too
        os.kill(os.getpid(), -code)
    os._exit(code)


def _typed(master: int, leader: int) -> tuple[str, int]:
    """Type when the program is ready; what was shown until the leader has ended, and its status."""
    pidfd, screen, typed = os.pidfd_open(leader), b"", False
    while True:
        ready, _, _ = select.select([master, pidfd], [], [])
        if master in ready:
            screen += os.read(master, 65536)
            if _READY in screen and not typed:
                typed = bool(os.write(master, _TYPED))
        elif pidfd in ready:
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1])
            return screen.decode(), code


def _until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def executed() -> Came:
    """One more program in a container that runs: its monitor makes it."""
    found = record.find(KEPT)
    return _entered(lambda: execute(found, ("echo", "hi"), How(False, False, ""), {}))


def executed_shortly() -> Came:
    """The same by the short way, which knows from another what comes before the program."""
    return _entered(labkit("exec", KEPT, "echo", "hi"))


def _entered(act: Callable[[], int]) -> Came:
    found, came = record.find(KEPT), client(act)
    lost = "" if status.of(found).word == "running" else "it has ended"
    return Came(came.returncode, came.stdout + lost, came.stderr)


def monitor() -> str:
    """The monitor of the container that runs all the time; it is started if there is none."""
    found = next((each for each in record.every() if each.name == KEPT), None)
    if found is None:
        words = _small("--network", "none", "--name", KEPT)
        found = _made(*words, "sh", "-c", "echo new >/new; exec sleep 1000")
    elif not _has_monitor(found):
        _until(lambda: status.of(found).word == "exited")  # its keeper has still something to do
    if status.of(found).word != "running":
        for words in (("start", KEPT), ("exec", KEPT, "echo")):  # what comes after goes a short way
            came = client(labkit(*words), marked=False)
            assert came.returncode == 0, came
    return f"{found.run()['monitor']}"


def _has_monitor(found: Record) -> bool:
    connection = acts.monitor_of(found)
    if connection:
        connection.close()
    return connection is not None


def end() -> None:
    """Remove the containers that are left."""
    if os.path.exists(os.path.join(os.environ["LABKIT_STATE"], "lib", "containers")):
        for found in record.every():
            with contextlib.suppress(ValueError, OSError):
                acts.remove(found, force=True)


# --- The store of images ------------------------------------------------------------------------


@functools.cache
def prepare() -> tuple[str, str]:
    """Make an image of one program. The file of another image, and a bundle."""
    store, program = Store(), shutil.which("busybox") or ""
    _import(store, "small", program)
    _import(store, "other", program)
    archive = f"{os.environ['LABKIT_STATE']}/other.tar"
    with open(archive, "wb") as file:
        save(store, ["other"], file)
    _forget("other")
    return archive, _bundle(program)


def _import(store: Store, name: str, program: str) -> None:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            tar.add(program, "bin/echo")
            for other in ("cat", "sh", "sleep"):
                entry = tarfile.TarInfo(f"bin/{other}")
                entry.type, entry.linkname = tarfile.LNKTYPE, "bin/echo"
                tar.addfile(entry)
            text = tarfile.TarInfo("name")
            text.size = len(name)
            tar.addfile(text, io.BytesIO(name.encode()))
        file.seek(0)
        import_archive(store, file, name, (parse(name).tagged(),), About())


def loaded() -> Came:
    """Images from a file."""
    archive, _ = prepare()
    return _whole(client(labkit("load", "-i", archive)))


def committed() -> Came:
    """An image of what a container has changed."""
    return _whole(client(labkit("commit", KEPT, "other")))


def removed() -> Came:
    """An image removed."""
    load(Store(), prepare()[0])
    return _whole(client(labkit("rmi", "other")))


def _whole(came: Came) -> Came:
    """Whether the store is whole; then the other image goes. The client's words have digests."""
    names, wrong = "", ""
    try:
        names = " ".join(name.familiar for image in _checked() for name in image.names)
    except Exception as error:  # noqa: BLE001 - whatever it is, the store is not whole
        wrong = f"not whole: {error!r}"
    _forget("other")
    return Came(came.returncode, names, wrong or came.stderr)


def _checked() -> Iterator[Image]:
    """The images, each with all that belongs to it."""
    store = Store()
    for image in store.images():
        for about in (image.manifest.digest, image.id, *(each.digest for each in image.layers)):
            content = Path(store.blob(about)).read_bytes()
            assert digest.of(content) == about, about
        for layer in store.lowers(image):
            assert Path(layer, "name").exists() or Path(layer, "new").exists(), layer
        yield image


def _forget(name: str) -> None:
    """Remove an image, if it is there, and what the dead have left."""
    store = Store()
    for image in store.images():
        if name in (each.path.rpartition("/")[2] for each in image.names):
            store.forget(image)
    _clear(store)


def _clear(store: Store) -> None:
    from labkit.images.adding import adding

    with adding(store):  # whoever comes next
        pass


# --- The OCI runtime ----------------------------------------------------------------------------


def _bundle(program: str) -> str:
    """A bundle whose program says hi."""
    path = f"{os.environ['LABKIT_STATE']}/bundle"
    os.makedirs(f"{path}/rootfs/bin")
    os.mkdir(f"{path}/rootfs/proc")
    shutil.copy(program, f"{path}/rootfs/bin/echo")
    kinds = ("pid", "network", "ipc", "uts", "mount")
    config = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "args": ["echo", "hi"],
            "cwd": "/",
            "env": ["PATH=/bin", f"{PLACE}={os.environ[PLACE]}"],
            "user": {"uid": 0, "gid": 0},
            "noNewPrivileges": True,
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "resources": {"pids": {"limit": 50}},
        },
    }
    Path(path, "config.json").write_text(json.dumps(config))
    return path


def runtime() -> Came:
    """Create, start and delete, as an engine has them done."""
    root, bundle = f"{os.environ['LABKIT_STATE']}/oci", prepare()[1]
    name = f"faults{os.getpid()}"

    def life() -> int:
        lifecycle.create(root, name, lifecycle.Asked(bundle))
        lifecycle.start(root, name)
        code = os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])
        lifecycle.delete(root, name)
        return code if code >= 0 else 128 - code

    try:
        came = client(life)
    finally:
        wrong = _cleared(root, name)
    return came if not wrong else Came(came.returncode, came.stdout, wrong)


def _cleared(root: str, name: str) -> str:
    """Remove what is left, as an engine does; what cannot be removed."""
    try:
        if os.path.exists(f"{root}/{name}"):
            assert oci.main(("--root", root, "delete", "--force", name)) == 0
        assert not os.path.exists(f"{root}/{name}"), "it is still there"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return repr(error)
    return ""
