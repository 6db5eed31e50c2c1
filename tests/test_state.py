"""What is kept on disk: never half written, never two writers at once, put right after a death."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import until
from killed import at_each_call

from labkit.state import document, folder, held, journal
from labkit.state.journal import HOMES, Journal
from labkit.state.lock import Taken, hold, holders
from labkit.text.words import Words

THE_LIST = Words("清单", "the list")

# --- Where ---------------------------------------------------------------------------------------


def test_each_user_has_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    monkeypatch.setattr(os, "access", lambda *_: False)  # no root of the host
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert folder.lasting() == f"{tmp_path}/data/labkit"
    assert folder.passing() == f"{tmp_path}/run/labkit"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder.lasting() == f"{tmp_path}/.local/share/labkit"


def test_a_variable_names_another_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    assert folder.lasting() == f"{tmp_path}/lib"
    assert folder.passing() == f"{tmp_path}/run"
    assert stat.S_IMODE(os.stat(folder.lasting()).st_mode) == 0o700


def test_root_has_the_systems_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    monkeypatch.setattr(folder, "make", lambda path: path)
    assert (folder.lasting(), folder.passing()) == ("/var/lib/labkit", "/run/labkit")


def test_somebody_elses_folder_is_not_ours(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ValueError, match="belongs to user 65534"):
        folder.make(str(tmp_path))


def test_a_tree_of_any_depth_is_removed_and_no_link_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    top = tmp_path / "tree"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(3000):  # deeper than a path may be long, and than Python calls may nest
        os.mkdir("d" * 5, dir_fd=fd)
        os.symlink(outside, "link", dir_fd=fd)
        below = os.open("d" * 5, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    (top / ".0").write_text("a name that removing would like to have")
    (top / ".1").mkdir()
    folder.remove(str(top))
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert (outside / "file").read_text() == "stays"


def test_a_link_or_a_file_is_removed_and_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "dir")
    (tmp_path / "file").touch()
    for name in ("link", "file", "none"):
        folder.remove(str(tmp_path / name))
    assert os.listdir(tmp_path) == ["dir"]


def test_a_user_removes_directories_that_forbid_it(nobody: list[str]) -> None:
    """As overlay leaves them: its work directory has the mode 0."""
    program = (
        "import os, sys; from labkit.state import folder; os.chdir(sys.argv[1])\n"
        "os.makedirs('t/a/b/c'); open('t/a/f', 'w').close()\n"
        "[os.chmod(p, 0) for p in ('t/a/b/c', 't/a/b', 't/a', 't')]\n"
        "folder.remove('t'); print(os.listdir('.'))"
    )
    with tempfile.TemporaryDirectory(prefix="labkit-nobody-") as path:
        os.chown(path, 65534, 65534)
        done = subprocess.run([*nobody, "-c", program, path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# --- Locks ---------------------------------------------------------------------------------------


def test_one_alone_or_several_together(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with hold(path, THE_LIST, shared=True), hold(path, THE_LIST, shared=True, timeout=0):
        alone = pytest.raises(Taken)
        with alone:
            hold(path, THE_LIST, timeout=0)
    with hold(path, THE_LIST), pytest.raises(Taken):
        hold(path, THE_LIST, shared=True, timeout=0)
    hold(path, THE_LIST, timeout=0).release()


def test_who_waits_too_long_is_told_for_what_and_for_whom(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with hold(path, THE_LIST), pytest.raises(Taken) as caught:
        hold(path, THE_LIST, timeout=0.05)
    said = caught.value.args[0]
    name = Path("/proc/self/comm").read_text().strip()
    assert said.en == (
        f"waited 0.05 seconds for the list: process {os.getpid()} ({name}) still has it"
    )
    assert said.zh == f"等清单等了 0.05 秒：进程 {os.getpid()} ({name})还占着它"


def test_a_program_that_is_started_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with hold(path, THE_LIST) as lock:
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        assert holders(lock._fd) == [os.getpid()]
    try:
        hold(path, THE_LIST, timeout=0).release()
    finally:
        child.kill()
        child.wait()


def test_the_lock_of_the_dead_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = (
        "import sys, time\n"
        "from labkit.state.lock import hold; from labkit.text.words import Words\n"
        "lock = hold(sys.argv[1], Words('', '')); print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(Taken, match=f"process {child.pid} "):
            hold(path, THE_LIST, timeout=0)
        child.kill()
        hold(path, THE_LIST, timeout=30).release()


def test_waiting_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    lock = hold(path, THE_LIST)
    got: list[float] = []

    def wait() -> None:
        hold(path, THE_LIST, timeout=30).release()
        got.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    released = time.monotonic()
    lock.release()
    thread.join()
    assert got[0] >= released


# --- Documents -----------------------------------------------------------------------------------


def test_a_document_is_text_that_a_person_can_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a.json")
    document.write(path, {"name": "容器", "path": os.fsdecode(b"/\xff"), "list": [1]})
    assert Path(path).read_bytes() == (
        '{\n  "name": "容器",\n  "path": "/'.encode() + b'\xff",\n  "list": [\n    1\n  ]\n}\n'
    )
    assert document.read(path) == {"name": "容器", "path": os.fsdecode(b"/\xff"), "list": [1]}
    assert document.read(str(tmp_path / "none"), []) == []


def test_a_document_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as refused:
        document.read(str(tmp_path))
    assert refused.value.filename == str(tmp_path)
    memory = f"/proc/{os.getpid()}/mem"  # it is opened; nothing is at address 0
    with pytest.raises(OSError, match=memory):
        document.read(memory)


def test_a_document_that_is_not_whole_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json is not whole JSON"):
        document.read(str(path))


def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = str(tmp_path / "a.json")
    document.write(path, 1)
    with pytest.raises(TypeError):
        document.write(path, {1, 2})
    assert (document.read(path), os.listdir(tmp_path)) == (1, ["a.json"])


class Replacing:
    """A document of two halves that must agree."""

    @staticmethod
    def prepare(base: Path) -> None:
        document.write(str(base / "a.json"), ["old"] * 2000)

    @staticmethod
    def work(base: Path) -> None:
        document.write(str(base / "a.json"), ["new"] * 2000)

    @staticmethod
    def look(base: Path) -> None:
        assert document.read(str(base / "a.json")) in (["old"] * 2000, ["new"] * 2000)


def test_a_document_is_the_old_one_or_the_new_one_wherever_its_writer_dies() -> None:
    assert at_each_call("test_state:Replacing") > 6


def test_two_processes_count_together(tmp_path: Path) -> None:
    program = (
        "import sys; from labkit.state import document; from labkit.state.lock import hold\n"
        "from labkit.text.words import Words\n"
        "for _ in range(50):\n"
        "    with hold(sys.argv[1] + '.lock', Words('', '')):\n"
        "        document.write(sys.argv[1], document.read(sys.argv[1], 0) + 1)\n"
    )
    path = str(tmp_path / "count")
    both = [subprocess.Popen([sys.executable, "-c", program, path]) for _ in range(2)]
    assert [each.wait() for each in both] == [0, 0]
    assert document.read(path) == 100


# --- Held folders --------------------------------------------------------------------------------


def test_a_folder_is_an_orphan_once_nobody_holds_it(tmp_path: Path) -> None:
    made = held.make(str(tmp_path), "one")
    Path(made.inside("file")).write_text("half done")
    assert list(held.orphans(str(tmp_path))) == []
    with pytest.raises(FileExistsError):
        held.make(str(tmp_path), "one")
    made.release()
    (found,) = held.orphans(str(tmp_path))
    assert (found.name, held.adopt(found.path)) == ("one", None)
    found.remove()
    assert held.names(str(tmp_path)) == []


def fail(made: held.Held) -> None:
    os.makedirs(made.inside("a", "b"))
    raise KeyError


def test_a_held_folder_ends_with_its_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), held.make(str(tmp_path)) as made:
        fail(made)
    assert held.names(str(tmp_path)) == []


def test_no_folders_where_there_is_none(tmp_path: Path) -> None:
    assert list(held.orphans(str(tmp_path / "none"))) == []


class Holding:
    """A held folder is made, filled, and removed."""

    @staticmethod
    def prepare(base: Path) -> None:
        (base / "held").mkdir()

    @staticmethod
    def work(base: Path) -> None:
        with held.make(str(base / "held")) as made:
            os.makedirs(made.inside("a", "b"))
            Path(made.inside("a", "file")).write_text("text")

    @staticmethod
    def look(base: Path) -> None:
        for found in held.orphans(str(base / "held")):
            found.remove()
        assert held.names(str(base / "held")) == []


def test_whoever_comes_next_removes_what_a_killed_maker_left() -> None:
    assert at_each_call("test_state:Holding") > 20


# --- The journal ---------------------------------------------------------------------------------

UNDONE: list[str] = []


@journal.undo("test")
def _undo(word: str) -> None:
    UNDONE.append(word)
    if word == "refused":
        raise PermissionError(word)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(HOMES, "test", __name__)
    UNDONE.clear()
    yield
    UNDONE.clear()


@pytest.mark.usefixtures("known")
def test_a_journal_is_played_backwards(tmp_path: Path) -> None:
    mine = held.make(str(tmp_path))
    written = Journal(mine)
    for word in ("first", "second", "third"):
        written.note("test", word)
    assert Path(mine.inside("journal")).read_text().splitlines()[0] == '["test", "first"]'
    assert written.play() == []
    assert UNDONE == ["third", "second", "first"]
    assert written.entries() == []
    mine.remove()


@pytest.mark.usefixtures("known")
def test_what_is_refused_stays_and_the_others_are_undone(tmp_path: Path) -> None:
    mine = held.make(str(tmp_path), "one")
    for word in ("first", "refused", "third"):
        Journal(mine).note("test", word)
    mine.release()
    ((path, refused),) = journal.recover(str(tmp_path))
    assert (path, [entry for entry, _ in refused]) == (mine.path, [["test", "refused"]])
    assert UNDONE == ["third", "refused", "first"]
    UNDONE.clear()
    assert len(list(journal.recover(str(tmp_path)))) == 1  # it is tried again by the next who comes
    assert UNDONE == ["refused"]


def test_an_undo_that_nobody_knows(tmp_path: Path) -> None:
    mine = held.make(str(tmp_path))
    with pytest.raises(LookupError, match="no undo is called"):
        Journal(mine).note("unheard-of", "x")
    Path(mine.inside("journal")).write_text('["unheard-of", "x"]\n')
    ((entry, error),) = Journal(mine).play()
    assert (entry, "another version" in str(error)) == (["unheard-of", "x"], True)
    mine.remove()


@pytest.mark.usefixtures("known")
def test_a_line_that_is_not_whole_was_never_acted_upon(tmp_path: Path) -> None:
    mine = held.make(str(tmp_path))
    Journal(mine).note("test", "first")
    with open(mine.inside("journal"), "a") as file:
        file.write('["test", "sec')
    assert Journal(mine).play() == []
    assert UNDONE == ["first"]
    mine.remove()


def test_each_undo_is_defined_where_the_table_says() -> None:
    for kind, home in HOMES.items():
        assert journal._function(kind).__module__ == home


class Building:
    """Two trees outside are made, each written down before; then all is undone."""

    @staticmethod
    def prepare(base: Path) -> None:
        (base / "outside").mkdir()

    @staticmethod
    def work(base: Path) -> None:
        with held.make(str(base / "run")) as mine:
            for name in ("one", "two"):
                path = str(base / "outside" / name)
                Journal(mine).note("tree", path)
                os.makedirs(f"{path}/a")
                Path(path, "a", "file").write_text("text")
            assert Journal(mine).play() == []

    @staticmethod
    def look(base: Path) -> None:
        assert [refused for _, refused in journal.recover(str(base / "run")) if refused] == []
        assert os.listdir(base / "outside") == []
        assert held.names(str(base / "run")) == []


def test_wherever_its_maker_dies_the_host_is_put_right() -> None:
    assert at_each_call("test_state:Building") > 60


@pytest.mark.slow
def test_a_real_process_killed_by_the_kernel_at_a_system_call(tmp_path: Path) -> None:
    """The same once with strace's own kill, which comes after the call and not before."""
    program = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
        "from test_state import Building\nBuilding.work(Path(sys.argv[1]))"
    )
    for call in ("mkdir", "fdatasync", "unlinkat", "rename", "flock"):
        for when in (1, 3):
            base = tmp_path / f"{call}{when}"
            base.mkdir()
            Building.prepare(base)
            inject = f"inject={call}:signal=SIGKILL:when={when}"
            strace = ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
            command = [
                *strace,
                sys.executable,
                "-c",
                program,
                str(base),
                str(Path(__file__).parent),
            ]
            subprocess.run(command, check=False, capture_output=True)
            Building.look(base)


def test_flock_is_what_holds_a_folder(tmp_path: Path) -> None:
    with held.make(str(tmp_path), "one"), open(tmp_path / "one" / "lock") as file:
        taken = pytest.raises(BlockingIOError)
        with taken:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_entry_is_json_on_a_line(tmp_path: Path) -> None:
    with held.make(str(tmp_path)) as mine:
        Journal(mine).note("tree", "/nowhere\nat all")
        lines = Path(mine.inside("journal")).read_text().splitlines()
        assert [json.loads(line) for line in lines] == [["tree", "/nowhere\nat all"]]


def wait_beside(thread: threading.Thread, path: str) -> None:
    thread.start()
    hold(path, THE_LIST)


def test_a_signal_ends_the_waiting(tmp_path: Path) -> None:
    """Ctrl-C must end a wait that has no time-out."""
    path = str(tmp_path / "lock")

    def interrupt() -> None:
        until(
            lambda: f"-> FLOCK  ADVISORY  WRITE {os.getpid()} " in Path("/proc/locks").read_text()
        )
        os.kill(os.getpid(), signal.SIGINT)

    with hold(path, THE_LIST):
        thread = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):
            wait_beside(thread, path)
        thread.join()
    hold(path, THE_LIST, timeout=0).release()
