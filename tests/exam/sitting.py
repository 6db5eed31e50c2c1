"""A sitting: the cases put to one command, `docker` or `labkit`, and what it answers."""

import contextlib
import io
import json
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from exam import shape
from exam.cases import Case, Line
from exam.warm import PATIENCE, TIMED_OUT

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SETTLED = [
    *("ENV COLOR=red", "WORKDIR /app/deep", "USER app", "LABEL kind=settled"),
    *("EXPOSE 8080", "VOLUME /data", "STOPSIGNAL SIGUSR1", 'CMD ["sh"]'),
]
# The images of all cases, by the instructions that make each of the one root.
_IMAGES = {
    "busybox": [f"ENV PATH={PATH}", 'CMD ["sh"]'],
    "spoken": [f"ENV PATH={PATH} COLOR=red", 'ENTRYPOINT ["echo","spoken"]', 'CMD ["of","it"]'],
    "settled": [f"ENV PATH={PATH}", *_SETTLED],
}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\napp:x:1000:\nextra:x:2000:app\nnobody:x:65534:\n",
    "data/seed": "seed\n",
}
_DIRECTORIES = ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var", "data")


@dataclass(frozen=True)
class Said:
    """What one line answered, without what differs each time."""

    status: int
    out: str = ""
    err: str = ""


@dataclass(frozen=True)
class Answer:
    """What a case's line answered, what its effects are, and which lines of its set-up failed."""

    line: Said
    effects: list[Said] = field(default_factory=list)
    failed: list[Said] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The answer as a document."""
        return asdict(self)


def from_json(value: dict[str, Any]) -> Answer:
    """An answer from its document."""
    return Answer(
        Said(**value["line"]),
        *([Said(**each) for each in value[name]] for name in ("effects", "failed")),
    )


class Command:
    """A command that is examined."""

    def __init__(self, words: tuple[str, ...], env: dict[str, str]) -> None:
        self.words, self.env = words, env

    def status(self, words: tuple[str, ...], stdin: str, stdout: str, stderr: str) -> int:
        """Run one line; its exit status. The streams are files, or all three one terminal."""
        on_terminal = stdin == stdout
        with (
            open(stdin, "r+b" if on_terminal else "rb", buffering=0) as given,
            open(stdout, "r+b", buffering=0) as out,
            open(stderr, "r+b", buffering=0) as err,
        ):
            streams: dict[str, Any] = {"stdin": given, "stdout": out, "stderr": err}
            try:
                return subprocess.run(
                    [*self.words, *words],
                    **streams,
                    env=self.env,
                    timeout=PATIENCE,
                    start_new_session=True,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return TIMED_OUT

    def close(self) -> None:
        """It is asked no more."""


class Warm(Command):
    """labkit, by forks of a process that has imported it, on a network of its own."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(("labkit",), env)
        tests = str(Path(__file__).parents[1])
        root = str(Path(__file__).parents[2])
        python = shlex.quote(sys.executable)
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", f"ip link set lo up; exec {python} -m exam.warm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env | {"PYTHONPATH": f"{tests}:{root}"},
        )

    def status(self, words: tuple[str, ...], stdin: str, stdout: str, stderr: str) -> int:
        """Run one line; its exit status."""
        request: dict[str, Any] = {"words": words, "stdin": stdin, "stdout": stdout}
        request |= {"stderr": stderr, **({"tty": True} if stdin == stdout else {})}
        assert self._process.stdin, "it is a pipe"
        assert self._process.stdout, "it is a pipe"
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def environment(folder: str) -> dict[str, str]:
    """The environment of every line: nothing of the examiner's own but where tests are known by."""
    kept = {k: v for k, v in os.environ.items() if k in ("LABKIT_TESTS", "VIRTUAL_ENV")}
    ours = {"PATH": PATH, "HOME": folder, "TERM": "xterm", "TZ": "UTC", "EXAM_COLOR": "green"}
    return kept | ours | {"LABKIT_LANG": "en", "LABKIT_STATE": f"{folder}/state"}


@contextlib.contextmanager
def room() -> Iterator[str]:
    """A folder for a sitting, with the root of the images, and a small one."""
    with tempfile.TemporaryDirectory(prefix="labkit-exam-") as folder:
        write_root(Path(folder, "root.tar"))
        with tarfile.open(Path(folder, "small.tar"), "w") as tar:  # not to be run
            _entry(tar, "etc/motd", b"small")
        try:
            yield folder
        finally:
            _wait_for_all(f"LABKIT_STATE={folder}/state".encode())


def _wait_for_all(mark: bytes) -> None:
    """Wait until no process has this in its environment: one may still clean up behind itself."""
    end = time.monotonic() + PATIENCE
    while any(mark in _environ(pid) for pid in filter(str.isdigit, os.listdir("/proc"))):
        if time.monotonic() > end:
            raise RuntimeError(f"a process is left that has {mark.decode()}")
        time.sleep(0.05)


def _environ(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended
        return b""


class Sitting:
    """A command that has the images of the exam, and is asked one case after another."""

    def __init__(self, command: Command, folder: str) -> None:
        self._command, self._folder = command, folder
        for name, instructions in _IMAGES.items():
            changes = [word for text in instructions for word in ("-c", text)]
            self._run(("import", *changes, f"{folder}/root.tar", name))

    def answer(self, case: Case) -> Answer:
        """What it answers to one case. Afterwards nothing of the case is left."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            os.chmod(folder, 0o755)  # noqa: S103 - other users of containers come in
            for name, text in case.files.items():
                Path(folder, name).write_text(text)
            try:
                setup = [self._say(line, folder) for line in case.setup]
                said = self._say(case.examined, folder, case.mark)
                effects = [self._say(line, folder) for line in case.effects]
            finally:
                self._clean(case, folder)
        return Answer(said, effects, [each for each in setup if each.status])

    def _clean(self, case: Case, folder: str) -> None:
        for line in case.cleanup:
            self._say(line, folder)
        _, out, _ = self._run(("ps", "-aq"))
        if names := out.split():
            self._run(("rm", "-f", "-v", *names))

    def _say(self, line: Line, folder: str, mark: str = "") -> Said:
        words = [_filled(word, folder, self._folder) for word in line.words]
        file = _filled(line.file, folder, self._folder) if line.file else None
        if mark == "tty":
            status, out = self._on_terminal(tuple(words), line.typed)
            return Said(status, shape.shaped(out, folder))
        status, out, err = self._run(tuple(words), line.typed, file)
        if mark == "quiet":
            return Said(status)
        said = shape.output(out, folder, mark), shape.complaint(err, folder, mark)
        return Said(status, *said)

    def _run(
        self, words: tuple[str, ...], typed: str | None = None, file: str | None = None
    ) -> tuple[int, str, str]:
        """One line with files for its streams."""
        paths = [Path(self._folder, name) for name in ("stdin", "stdout", "stderr")]
        for path in paths:
            path.unlink(missing_ok=True)  # a process that was left behind may still write
            path.write_text("")
        paths[0].write_text(typed or "")
        status = self._command.status(words, file or str(paths[0]), str(paths[1]), str(paths[2]))
        out, err = (path.read_bytes().decode(errors="replace") for path in paths[1:])
        return status, out, err

    def _on_terminal(self, words: tuple[str, ...], typed: str | None) -> tuple[int, str]:
        """One line with a terminal for its streams. What it reads is typed when it says ready."""
        ours, theirs = pty.openpty()
        name = os.ttyname(theirs)
        pid = os.fork()
        if not pid:
            os.close(ours)
            os._exit(self._command.status(words, name, name, name) % 256)
        os.close(theirs)
        shown = _conversation(ours, (typed or "").encode())
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")


def _conversation(terminal: int, typed: bytes) -> bytes:
    """What is shown on a terminal until nobody has it."""
    shown = b""
    with io.FileIO(terminal, "r+") as file:
        while select.select([file], [], [], PATIENCE)[0]:
            try:
                more = file.read(4096)
            except OSError:  # EIO: nobody has it open any more
                break
            shown += more or b""
            if typed and b"ready" in shown:
                file.write(typed)
                typed = b""
    return shown


def _filled(word: str, folder: str, images: str) -> str:
    return word.replace("{tmp}", folder).replace("{images}", images)


def sit(command: Command, folder: str, asked: Iterable[Case]) -> Iterator[tuple[Case, Answer]]:
    """Put the cases to a command."""
    sitting = Sitting(command, folder)
    for case in asked:
        yield case, sitting.answer(case)


def write_root(path: Path) -> None:
    """The root of the images: the system's static busybox under each of its names."""
    program = shutil.which("busybox")
    assert program, "no busybox: scripts/setup test installs it"
    listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    with tarfile.open(path, "w") as tar:
        for name in _DIRECTORIES:
            _entry(tar, name, type=tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        _entry(tar, "bin/busybox", Path(program).read_bytes(), mode=0o755)
        for name in sorted({*listed.stdout.split()} - {"busybox"}):
            _entry(tar, f"bin/{name}", type=tarfile.SYMTYPE, linkname="busybox")
        for name, text in _FILES.items():
            _entry(tar, name, text.encode())


def _entry(tar: tarfile.TarFile, name: str, data: bytes = b"", **about: Any) -> None:  # noqa: ANN401
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    for key, value in about.items():
        setattr(entry, key, value)
    tar.addfile(entry, io.BytesIO(data))
