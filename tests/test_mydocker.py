"""A docker of one's own: each model reaches its stage, each usual mistake is told apart."""

import errno
import fnmatch
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT

from labkit import Container, run
from labkit.notebook.exercises import progress
from labkit.notebook.exercises.answers import WrongError
from labkit.notebook.exercises.card import Card
from labkit.notebook.mydocker import claims, files, trials
from labkit.notebook.mydocker.own import Own, Report, State
from labkit.notebook.mydocker.stages import STAGES, model_of
from labkit.text.words import Words

MODELS = {stage.name: stage.model for stage in STAGES}
NAMES = list(MODELS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the learner's file is, which is not there yet."""
    path = tmp_path / "mydocker.py"
    monkeypatch.setenv("LABKIT_MYDOCKER", str(path))
    progress.forget(f"mydocker.{name}" for name in NAMES)
    yield path
    progress.forget(f"mydocker.{name}" for name in NAMES)


def checked(text: str, stage: str | None = None) -> Report:
    Path(files.path()).write_text(text, encoding="utf-8")
    return Own().check(stage)


def host() -> tuple[str, str]:
    """What a file could change of the machine that the tests run on."""
    return os.uname().nodename, Path("/proc/self/mountinfo").read_text()


def rows(card: Card) -> str:
    """The marks of a card's list."""
    return "".join(re.findall(r"^  (\S)  ", str(card), re.MULTILINE))


# --- The models ---------------------------------------------------------------------------------


# What the next stage misses in a model, and what is shown as evidence.
NEXT = {
    "v0.1": (claims.NOT_OWN, "uts"),
    "v0.2": (claims.NOT_OWN, "mnt, ipc, net"),
    "v0.3": (claims.NOT_OWN, "pid"),
    "v0.4": (claims.NO_USER, "unshare(CLONE_NEWNS|CLONE_NEWUTS"),
    "v0.5": (claims.NO_OPTION, "--root"),
    "v0.6": (claims.NO_LAYERS, "--root"),
    "v0.7": (claims.NO_PIDS_OPTION, "--pids"),
    "v0.9": (claims.NO_IMAGE, "--rm"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_model_reaches_its_stage_and_not_the_next(place: Path, name: str) -> None:
    before = host()
    at = NAMES.index(name)
    done = checked(MODELS[name])
    assert progress.solved() >= {f"mydocker.{each}" for each in NAMES[: at + 1]}
    if name == NAMES[-1]:
        assert (done.state, done.stage.name) == (State.REACHED, name)
        assert "这是你亲手写的一个容器运行时" in str(done)
        assert set(rows(done)) == {"✓"}
    else:
        assert (done.state, done.stage.name) == (State.NOT_YET, NAMES[at + 1]), str(done)
        assert rows(done).startswith("✓" * (at + 1) + "✗○")
    if name in NEXT:
        diagnosis, said = NEXT[name]
        assert beginning(diagnosis[0]) in str(done)
        assert said in str(done)
    assert host() == before
    assert str(place) == files.path()


def beginning(words: Words) -> str:
    """The words of a diagnosis up to its first value."""
    return words.en.partition("{")[0]


def test_models_are_small_and_grow() -> None:
    lengths = [len(text.splitlines()) for text in MODELS.values()]
    assert lengths == sorted(lengths)
    assert lengths[0] <= 30
    assert lengths[-1] <= 400


@pytest.mark.parametrize("name", ["v0.0", *NAMES])
def test_a_model_imports_what_a_learner_may(name: str) -> None:
    claims.read(model_of(name))


def test_every_model_belongs_to_a_stage() -> None:
    there = {path.name for path in (ROOT / "labkit/notebook/mydocker/models").glob("v*.py")}
    assert there == {"v00.py", *(Path(stage.file).name for stage in STAGES)}
    assert all((ROOT / stage.file).read_text() == stage.model for stage in STAGES)


def test_a_program_that_a_signal_killed_ends_as_a_shell_has_it(place: Path) -> None:
    """What no check can see: PID 1 cannot be killed from inside, so it is killed from outside."""
    place.write_text(MODELS["v0.5"], encoding="utf-8")
    shell = """
        $0 $1 run sleep 1000 & pid=$!
        until child=$(cat /proc/$pid/task/$pid/children) && [ -n "$child" ] &&
            grep -q sleep /proc/${child% }/comm; do sleep 0.01; done
        kill -KILL $child; wait $pid
    """
    box = Container(("sh", "-c", shell, sys.executable, str(place)))
    assert run(box, timeout=60).returncode == 137


# --- Usual mistakes -----------------------------------------------------------------------------


def but(name: str, *changes: tuple[str, str]) -> str:
    """The model with something replaced, each once."""
    text = MODELS[name]
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def go(body: str, imports: str = "") -> str:
    """A file whose run() is `body`, in lines parted by semicolons or newlines."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    names = f"import os, subprocess, sys\n{imports}\n"
    end = 'if sys.argv[1:2] != ["run"]:\n    sys.exit("run!")\nrun(sys.argv[2:])\n'
    return f"{names}def run(argv):\n{lines}\n{end}"


PRIVATE = '    mount(None, "/", None, MS_REC | MS_PRIVATE)\n'
PROC = '    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)\n'
EXEC = "        os.execvp(argv[0], argv)  # 成功就不再回来 · it does not return when it succeeds\n"
STATUS = "    sys.exit(code if code >= 0 else 128 - code)"
DENY = '    write("setgroups", "deny")\n'
CALLS = "from labkit.syscalls import *"

# What is wrong -> the stage it shows at, the diagnosis, and the file.
WRONG: dict[str, tuple[str, str, str]] = {
    "nothing is run": ("v0.1", "NOTHING", go("pass")),
    "arguments dropped, as in the notes": (
        "v0.1",
        "DROPPED",
        go("os.execvp(argv[0], argv[:1])"),
    ),
    "a sentence for a shell": (
        "v0.1",
        "QUOTING",
        go('sys.exit(subprocess.run(" ".join(argv), shell=True).returncode)'),
    ),
    "os.system": ("v0.1", "QUOTING", go('os.system(" ".join(argv))')),
    "output swallowed": (
        "v0.1",
        "SWALLOWED",
        go("sys.exit(subprocess.run(argv, capture_output=True).returncode)"),
    ),
    "stderr merged": (
        "v0.1",
        "NO_STDERR",
        go("sys.exit(subprocess.run(argv, stderr=subprocess.STDOUT).returncode)"),
    ),
    "no input": (
        "v0.1",
        "NO_INPUT",
        go("sys.exit(subprocess.run(argv, stdin=subprocess.DEVNULL).returncode)"),
    ),
    "exit status lost": ("v0.1", "STATUS_LOST", go("subprocess.run(argv)")),
    "a traceback for a wrong name": ("v0.1", "NOT_127", go("os.execvp(argv[0], argv)")),
    "every verb is run": (
        "v0.1",
        "ANY_VERB",
        but("v0.1", ('case ["run", *argv] if argv', "case [_, *argv] if argv")),
    ),
    "a hang": ("v0.1", "TOO_LONG", go("while True:\n    pass")),
    "a flood": ("v0.1", "TOO_MUCH", go("while True:\n    print(argv)")),
    "a name misspelt": ("v0.1", "RAISED", go("os.exec(argv)")),
    "a syntax error": ("v0.1", "SYNTAX", "def run(argv:\n    pass\n"),
    "a NUL": ("v0.1", "SYNTAX", "import os\0"),
    "labkit.run": ("v0.1", "IMPORTS", go("run(argv)", "from labkit import Container, run")),
    "import labkit": ("v0.1", "IMPORTS", go("pass", "import labkit")),
    "labkit's inside": ("v0.1", "IMPORTS", go("pass", "from labkit.linux.mounts import mount")),
    "somebody else's package": ("v0.1", "IMPORTS", go("pass", "import pyroute2")),
    "a file beside it": ("v0.1", "IMPORTS", go("pass", "from . import helper")),
    "hostname without namespace": (
        "v0.2",
        "HOST_RENAMED",
        but("v0.2", ("    unshare(CLONE_NEWUTS)\n", "")),
    ),
    "hostname before the namespace": (
        "v0.2",
        "HOST_RENAMED",
        but(
            "v0.2",
            ("    unshare(CLONE_NEWUTS)\n", ""),
            (
                '    sethostname("mydocker")\n',
                '    sethostname("mydocker")\n    unshare(CLONE_NEWUTS)\n',
            ),
        ),
    ),
    "no name": ("v0.2", "NO_NAME", but("v0.2", ('    sethostname("mydocker")\n', ""))),
    "two of three kinds": ("v0.3", "NOT_OWN", but("v0.3", (" | CLONE_NEWIPC | ", " | "))),
    "not private": ("v0.3", "SHARED", but("v0.3", (PRIVATE, ""))),
    "only / private": ("v0.3", "SHARED", but("v0.3", ("MS_REC | MS_PRIVATE)", "MS_PRIVATE)"))),
    "not private, and /proc mounted": ("v0.3", "SHARED", but("v0.4", (PRIVATE, ""))),
    "private before the namespace": (
        "v0.3",
        "MOUNTED_OUTSIDE",
        but("v0.3", (PRIVATE, ""), ("    unshare(CLONE", f"{PRIVATE}    unshare(CLONE")),
    ),
    "/proc outside": (
        "v0.3",
        "MOUNTED_OUTSIDE",
        but("v0.4", (PROC, ""), ("    unshare(CLONE", f"{PROC}    unshare(CLONE")),
    ),
    "--fork missing": (
        "v0.4",
        "UNSHARE_ONLY",
        but("v0.4", ("    child = os.fork()  #", "    child = 0  #")),
    ),
    "no CLONE_NEWPID": ("v0.4", "NOT_OWN", but("v0.4", (" | CLONE_NEWPID)", ")"))),
    "a second fork": (
        "v0.4",
        "NOT_FIRST",
        but(
            "v0.4",
            (EXEC, "        sys.exit(subprocess.run(argv).returncode)\n"),
            ("import sys\n", "import subprocess\nimport sys\n"),
        ),
    ),
    "no /proc": ("v0.4", "OLD_PROC", but("v0.4", (PROC, ""))),
    "/proc before fork": (
        "v0.4",
        "EARLY_PROC",
        but(
            "v0.4",
            (PRIVATE, ""),
            (PROC, ""),
            ("    child = os.fork()", f"{PRIVATE}{PROC}    child = os.fork()"),
        ),
    ),
    "nobody waits": (
        "v0.1",
        "STATUS_LOST",
        but("v0.4", ("    _, status = os.waitpid(child, 0)\n", "    status = 0\n")),
    ),
    "exit status lost in the parent": (
        "v0.1",
        "STATUS_LOST",
        but("v0.4", (STATUS, "    sys.exit(0)")),
    ),
    "exec that the parent does": (
        "v0.4",
        "UNSHARE_ONLY",
        but("v0.4", ("if child == 0:", "if child != 0:")),
    ),
    "the status as waitpid has it": (
        "v0.1",
        "STATUS_LOST",
        but("v0.4", ("os.waitstatus_to_exitcode(status)", "status")),
    ),
    "no user namespace": (
        "v0.5",
        "NO_USER",
        but("v0.5", (" | CLONE_NEWUSER\n", "\n"), ("    become_root(user, group)\n", "")),
    ),
    "setgroups not denied": ("v0.1", "MAP_REFUSED", but("v0.5", (DENY, ""))),
    "asked after the move": (
        "v0.1",
        "MAP_REFUSED",
        but(
            "v0.5",
            ("    user, group = os.getuid(), os.getgid()\n", ""),
            ("become_root(user, group)", "become_root(os.getuid(), os.getgid())"),
        ),
    ),
    "setgroups not denied, by system calls": (
        "v0.1",
        "MAP_REFUSED",
        but(
            "v0.5",
            (DENY, ""),
            ("    mount,\n", "    mount,\n    openat,\n    AT_FDCWD,\n    write as write_fd,\n"),
            (
                '    with open(f"/proc/self/{name}", "w") as file:\n',
                '    fd = openat(AT_FDCWD, f"/proc/self/{name}", os.O_WRONLY)\n',
            ),
            ("        file.write(text)\n", "    write_fd(fd, text.encode())\n"),
        ),
    ),
    "the map of another user": (
        "v0.5",
        "MAP_REFUSED",
        but("v0.5", ('f"0 {user} 1"', '"0 0 1"'), ('f"0 {group} 1"', '"0 0 1"')),
    ),
    "no map": ("v0.5", "NOT_ROOT", but("v0.5", ("    become_root(user, group)\n", ""))),
    "no gid_map": ("v0.5", "NOT_ROOT", but("v0.5", ('    write("gid_map", f"0 {group} 1")\n', ""))),
    "users of two sorts": (
        "v0.5",
        "RAISED",
        but("v0.5", ("    unshare(NEW)\n", "    unshare(NEW if user == 0 else CLONE_NEWUSER)\n")),
    ),
    "a name for root only": (
        "v0.5",
        "INCOMPLETE",
        but(
            "v0.5",
            ('    sethostname("mydocker")\n', '    if ROOT:\n        sethostname("mydocker")\n'),
            ("\n\ndef run(", "\n\nROOT = os.getuid() == 0\n\n\ndef run("),
        ),
    ),
    "no --root": ("v0.6", "NO_OPTION", MODELS["v0.5"]),
    "a root that is no mount point": (
        "v0.6",
        "PIVOT_REFUSED",
        but("v0.6", ("    mount(root, root, None, MS_BIND | MS_REC)\n", "")),
    ),
    "an import after the exchange": (
        "v0.6",
        "NO_IMPORT",
        but(
            "v0.6",
            (
                '    sethostname("mydocker")\n',
                '    import fractions\n    sethostname("mydocker")\n',
            ),
        ),
    ),
    "a root that is not exchanged": (
        "v0.6",
        "OTHER_ROOT",
        but("v0.6", ('    pivot_root(".", ".")\n', ""), ('    umount2(".", MNT_DETACH)\n', "")),
    ),
    "the old root beside the new one": (
        "v0.6",
        "OTHER_ROOT",
        but(
            "v0.6",
            ('    pivot_root(".", ".")\n', '    os.mkdir("old")\n    pivot_root(".", "old")\n'),
            ('    umount2(".", MNT_DETACH)\n', ""),
        ),
    ),
    "/proc outside of the root": (
        "v0.6",
        "NO_PROC_INSIDE",
        but("v0.6", ('"proc" if root else "/proc"', '"/proc"')),
    ),
    "chroot": (
        "v0.6",
        "WAY_BACK",
        but(
            "v0.6",
            ('    pivot_root(".", ".")\n', '    os.chroot(".")\n'),
            ('    umount2(".", MNT_DETACH)\n', ""),
        ),
    ),
    "the old root on top": (
        "v0.6",
        "WAY_BACK",
        but("v0.6", ('    umount2(".", MNT_DETACH)\n', "")),
    ),
    "a root for root only": (
        "v0.6",
        "OTHER_ROOT",
        but(
            "v0.6",
            (
                "    child = os.fork()",
                '    root = root if user == 0 else ""\n    child = os.fork()',
            ),
        ),
    ),
    "one directory only": ("v0.7", "NO_LAYERS", MODELS["v0.6"]),
    "an overlay without work": (
        "v0.7",
        "OVERLAY_REFUSED",
        but("v0.7", ("workdir=/mnt/work", "workdir=/mnt/{'w' if ':' in layers else 'work'}")),
    ),
    "layers upside down": (
        "v0.7",
        "WRONG_LAYER",
        but("v0.7", ("lowerdir={layers}", "lowerdir={':'.join(layers.split(':')[::-1])}")),
    ),
    "one layer bound onto another": (
        "v0.7",
        "NOT_MERGED",
        but(
            "v0.7",
            ("lowerdir={layers}", "lowerdir={layers.split(':')[-1]}"),
            (
                '    os.chdir("/mnt/root")\n',
                '    if ":" in layers:\n        top = layers.split(":")[0]\n'
                '        mount(f"{top}/etc", "/mnt/root/etc", None, 4096)\n'
                '    os.chdir("/mnt/root")\n',
            ),
        ),
    ),
    "a union that is read-only": (
        "v0.7",
        "NO_CHANGES",
        but(
            "v0.7",
            (",upperdir=/mnt/upper,workdir=/mnt/work", ""),
            ("lowerdir={layers}", "lowerdir=/mnt/upper:{layers}"),
            (
                '    os.chdir("/mnt/root")\n    os.makedirs("proc", exist_ok=True)\n',
                '    os.chdir("/mnt/root")\n',
            ),
            ('"upper", "work", "root"', '"upper", "upper/proc", "root"'),
        ),
    ),
    "changes in the upper of the layers": (
        "v0.7",
        "SPOILED",
        but(
            "v0.7",
            (
                "    # 这里的 root 不许写",
                '    top, _, below = layers.partition(":")\n'
                '    work = f"{os.path.dirname(top)}/w"\n    os.makedirs(work, exist_ok=True)\n'
                "    # 这里的 root 不许写",
            ),
            (
                "lowerdir={layers},upperdir=/mnt/upper,workdir=/mnt/work",
                "lowerdir={below or layers},upperdir={top if below else '/mnt/upper'},"
                "workdir={work if below else '/mnt/work'}",
            ),
        ),
    ),
    "no --pids": ("v0.8", "NO_PIDS_OPTION", MODELS["v0.7"]),
    "a group without the program": (
        "v0.8",
        "NOT_IN_A_GROUP",
        but("v0.8", ('            file.write("0")', '            file.write("")')),
    ),
    "a group without a limit": (
        "v0.8",
        "NO_LIMIT",
        but("v0.8", ("        file.write(pids)", '        file.write("max")')),
    ),
    "a group that stays": (
        "v0.8",
        "GROUP_LEFT",
        but("v0.8", ("        os.rmdir(os.path.basename(cgroup), dir_fd=above)", "        pass")),
    ),
    "no lo": ("v0.9", "NO_LO", MODELS["v0.8"]),
    "no --ip": (
        "v0.9",
        "NO_IP_OPTION",
        but("v0.9", (', "--ip": ""}', "}"), ('given["--ip"]', '""')),
    ),
    "an address that is not used": ("v0.9", "NO_CABLE", but("v0.9", ('given["--ip"]', '""'))),
    "no address inside": (
        "v0.9",
        "NO_ADDRESS",
        but(
            "v0.9",
            ('        ip("addr", "add", f"{address}/24", "dev", "eth0")\n', ""),
            ('        ip("route", "add", "default", "via", gateway(address))', ""),
        ),
    ),
    "the end outside is down": (
        "v0.9",
        "HOST_UNREACHED",
        but("v0.9", ('        ip("link", "set", name, "up")', "")),
    ),
    "no default route": (
        "v0.9",
        "NO_DEFAULT",
        but("v0.9", ('        ip("route", "add", "default", "via", gateway(address))', "")),
    ),
    "a link that stays": (
        "v0.9",
        "LINK_LEFT",
        but(
            "v0.9",
            (
                '        ip("link", "set", name, "up")',
                '        ip("link", "set", name, "up")\n'
                '        ip("link", "add", "mydocker0", "type", "bridge")',
            ),
        ),
    ),
    "something left outside": (
        "v0.4",
        "LEFT",
        but(
            "v0.4",
            ("import sys\n", "import subprocess\nimport sys\n"),
            ("    unshare(CLONE", '    subprocess.Popen(["sleep", "1000"])\n    unshare(CLONE'),
        ),
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_told_apart(
    place: Path, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, diagnosis, text = WRONG[mistake]
    if diagnosis == "TOO_LONG":
        monkeypatch.setattr(trials, "SECONDS", 5)
        monkeypatch.setattr(claims, "SECONDS", 5)
    if mistake == "nobody waits":
        monkeypatch.setattr(trials, "SETTLE", PATIENCE)
    before = host()
    place.write_text(text, encoding="utf-8")
    own = Own()
    done = own.check()
    found, hint = getattr(claims, diagnosis)
    assert (done.state, done.stage.name) == (State.NOT_YET, stage), str(done)
    assert re.search(re.sub(r"\\{\w+\\}", ".*", re.escape(found.en)), str(done)), str(done)
    assert beginning(hint) in str(own.hint())
    assert str(ROOT) not in str(done)
    assert f"mydocker.{stage}" not in progress.solved()
    assert host() == before


# The last step, judged alone: to try each earlier one again would take ten times as long.
LAST: dict[str, tuple[str, str]] = {
    "no image": ("NO_IMAGE", MODELS["v0.9"]),
    "layers that are not turned round": (
        "REVERSED",
        but("v1.0", ('return ":".join(layers)', 'return ":".join(layers[::-1])')),
    ),
    "a whiteout that hides nothing": (
        "STILL_THERE",
        but("v1.0", ("                hide(layers[0], layer.getnames())\n", "")),
    ),
    "no Cmd": (
        "NO_CMD",
        but("v1.0", ('argv or config.get("Cmd") or []', "argv or [*config]")),
    ),
    "-i and -t, but not -it": (
        "NO_LINE",
        but("v1.0", ('(name[1:] and set(name[1:]) <= set("it"))', 'name in ("-i", "-t")')),
    ),
    "the terminal outside": (
        "NO_TTY",
        but(
            "v1.0",
            ('theirs if "t" in asked.flags else None', "None"),
            ('    if "t" in asked.flags:\n        relay(ours, "i" in asked.flags)\n', ""),
        ),
    ),
    "a terminal without a size": (
        "NO_SIZE",
        but("v1.0", ("        fcntl.ioctl(master, termios.TIOCSWINSZ, size)\n", "")),
    ),
    "Ctrl-C is for the outside": (
        "NO_CTRL_C",
        but("v1.0", ("        tty.setraw(0)", "        pass")),
    ),
    "a terminal that stays raw": (
        "NOT_RESTORED",
        but(
            "v1.0",
            ("            termios.tcsetattr(0, termios.TCSADRAIN, before)", "            pass"),
        ),
    ),
    "a path that leads elsewhere": (
        "UNFINISHED",
        but("v1.0", ("os.rmdir(os.path.basename(cgroup), dir_fd=above)", "os.rmdir(cgroup)")),
    ),
}


def judged(bench: trials.Bench) -> None:
    for claim in STAGES[-1].claims:
        claim.judge(bench)


@pytest.mark.parametrize("mistake", LAST)
def test_a_mistake_in_the_last_step_is_told_apart(mistake: str) -> None:
    diagnosis, text = LAST[mistake]
    before, bench = host(), trials.Bench(text)
    with pytest.raises(WrongError) as wrong:
        judged(bench)
    found, hint = getattr(claims, diagnosis)
    assert wrong.value.found.en.startswith(beginning(found)), wrong.value.evidence
    assert str(wrong.value.hint).startswith(hint.zh.partition("{")[0])
    assert host() == before


def test_a_group_that_a_failure_has_left_is_removed_and_told() -> None:
    """Between mkdir and rmdir: the kernel takes no such limit."""
    bench = trials.Bench(but("v0.8", ("        file.write(pids)", '        file.write("few")')))
    with pytest.raises(WrongError) as wrong:
        claims.V08[0].judge(bench)
    (name,) = bench.runs(trials.FORKED)[0].groups
    assert name.startswith("mydocker-")
    assert wrong.value.found.en.startswith(claims.RAISED[0].en)
    assert wrong.value.found.en.endswith(claims.REMOVED.filled(name=name).en)
    assert not any(name in names for _, names, _ in os.walk("/sys/fs/cgroup"))


@pytest.mark.parametrize("name", ["v0.8", "v0.9"])
def test_a_root_and_a_limit_go_together(name: str) -> None:
    """pivot_root exchanges the parent's root too, so the path of the group leads nowhere."""
    line = ("run", "--root", trials.ROOT, "--pids", "9", "/bin/sh", "-c", "exit 3")
    (run,) = trials.Bench(MODELS[name]).runs(trials.Trial((line,)))
    assert (run.status, run.stderr, run.groups) == (3, "", [])


def test_every_diagnosis_is_tried() -> None:
    named = {name for name in vars(claims) if name.isupper() and not re.match(r"V\d|_", name)}
    words = {name for name in named if isinstance(getattr(claims, name), tuple)}
    tried = {diagnosis for *_, diagnosis, _ in [*WRONG.values(), *LAST.values()]}
    imported = set(vars(trials)) - {"claims"}
    assert words - imported - tried == set()


# --- The file -----------------------------------------------------------------------------------


def test_it_is_begun_once(place: Path) -> None:
    begun = Own().begin()
    assert place.read_text() == model_of("v0.0")
    assert "git does not follow it" in str(begun)
    assert '<a href="' in begun._repr_html_()
    assert "mydocker.py</a>" in begun._repr_html_()
    place.write_text("mine")
    again = Own().begin()
    assert place.read_text() == "mine"
    assert "Nothing in it was changed" in str(again)


def test_the_link_is_beside_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_MYDOCKER")
    assert files.link() == "mydocker.py"
    assert os.path.dirname(files.path()) == files._HERE


@pytest.mark.parametrize("name", ["mydocker.py", "mydocker.old1.py", "mydocker.old12.py"])
def test_git_does_not_follow_it(name: str) -> None:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert any(fnmatch.fnmatch(f"/notebooks/{name}", line) for line in lines)


@pytest.mark.usefixtures("place")
def test_nothing_is_begun() -> None:
    own = Own()
    done = own.check("V0.3")
    assert (done.state, done.stage.name) == (State.NOT_BEGUN, "v0.3")
    assert 'mydocker.reset("v0.2")' in str(done)
    assert rows(done) == "○" * 5  # two stages, and three claims
    assert own.check().stage.name == "v0.1"
    assert not own.standing().begun


def test_the_beginning_and_its_comments_are_no_answer(place: Path) -> None:
    Own().begin()
    place.write_text(place.read_text() + "# mine\n")
    done = Own().check("v0.1")
    assert done.state is State.NOT_BEGUN
    assert "as it was begun" in str(done)


def test_a_check_goes_as_far_as_it_is_asked(place: Path) -> None:
    place.write_text(MODELS["v0.5"])
    own = Own()
    done = own.check("0.1")
    assert (done.state, done.stage.name) == (State.REACHED, "v0.1")
    assert "The next step is V0.2" in str(done)
    assert [stage.name for stage in own.standing().reached] == ["v0.1"]


def test_a_stage_that_is_lost_is_no_longer_reached(place: Path) -> None:
    own = Own()
    place.write_text(MODELS["v0.2"])
    own.check("v0.2")
    standing = own.standing()
    assert standing.next
    assert (str(standing.bar.done), standing.next.name) == ("2", "v0.3")
    assert str(standing.rows).count("✓") == 2
    place.write_text(MODELS["v0.1"])
    own.check("v0.2")
    assert [stage.name for stage in own.standing().reached] == ["v0.1"]
    place.unlink()
    assert own.standing().reached == ()


def test_there_are_no_other_steps() -> None:
    with pytest.raises(
        ValueError,
        match=r"no step 'v0.2b', only v0.1, v0.2, v0.3, v0.4, v0.5, v0.6, v0.7, v0.8, v0.9, v1.0",
    ):
        Own().check("v0.2b")


def test_reset_keeps_what_was_there(place: Path) -> None:
    own = Own()
    own.reset("v0.1")
    assert sorted(place.parent.iterdir()) == [place]
    for number, text in enumerate(["first", "second"], 1):
        place.write_text(text)
        told = own.reset("v0.3")
        assert place.read_text() == MODELS["v0.3"]
        assert (place.parent / f"mydocker.old{number}.py").read_text() == text
        assert f"mydocker.old{number}.py" in str(told)
    own.reset("v0.3")  # nothing to keep
    assert len(list(place.parent.iterdir())) == 3


def test_reset_of_a_file_that_links_elsewhere(place: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.py"
    real.write_text("mine")
    place.symlink_to(real)
    Own().reset("v0.1")
    assert place.is_symlink()
    assert real.read_text() == MODELS["v0.1"]


def test_where_nothing_can_be_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_MYDOCKER", str(place.parent / "gone" / "mydocker.py"))
    monkeypatch.setattr(files, "_unsaved", None)
    own = Own()
    assert "No such file or directory" in str(own.begin())
    assert own.standing().begun
    assert "LABKIT_MYDOCKER" in str(own.reset("v0.1"))
    assert own.check("v0.1").state is State.REACHED
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.write_text("mine")
    monkeypatch.setattr(os, "replace", full)
    own = Own()
    assert "No space left on device" in str(own.reset("v0.1"))
    assert files.read() == "mine"
    left = {path.name for path in place.parent.iterdir()}
    assert left == {"mydocker.py", "mydocker.old1.py"}


def test_binder_is_told_to_forget(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDER_LAUNCH_HOST", "https://binder.example/")
    assert "Download the file" in str(Own().begin())
    assert place.exists()


def test_hints_go_from_vague_to_plain_and_the_fitting_one_comes_first(place: Path) -> None:
    place.write_text(WRONG["not private"][2])
    own = Own()
    assert own.check("v0.3").state is State.NOT_YET
    given = [str(own.hint()) for _ in range(4)]
    assert beginning(claims.SHARED[1]) in given[0]
    assert "peer group" in given[1]
    assert "mount(None" in given[2]
    assert 'mydocker.diff("v0.3")' in given[2]
    assert given[3] == given[2]
    assert "execve replaces the program" in str(own.hint("v0.2"))


def test_diff_puts_a_finished_file_beside_ones_own(place: Path) -> None:
    place.write_text(MODELS["v0.2"])
    own = Own()
    own.check()
    text = str(own.diff())
    assert "- from labkit.syscalls import CLONE_NEWUTS, sethostname, unshare" in text
    assert '+     mount(None, "/", None, MS_REC | MS_PRIVATE)' in text
    assert "  import os" in text.splitlines()
    html = own.diff("v0.3")._repr_html_()
    assert "<ins" in html
    assert 'lang="en">one way to write v0.3' in html
    assert str(own.diff("v0.2")) == "没有不同 no difference"
    assert str(own.model()) == f"labkit/notebook/mydocker/models/v03.py\n{MODELS['v0.3'].rstrip()}"


def test_a_tag_in_the_file_is_text(place: Path) -> None:
    place.write_text("<script>alert(1)</script>\n")
    assert "<script>" not in Own().diff("v0.1")._repr_html_()
    assert "<script>" not in Own().check()._repr_html_()


def test_each_card_says_the_same_in_both_languages(place: Path) -> None:
    own = Own()
    cards: list[Card] = [own.check("v0.2"), own.begin(), own.check("v0.1"), own.reset("v0.2")]
    cards += [own.check("v0.2"), own.check("v0.3"), own.hint()]
    for card in cards:
        page = card._repr_html_()
        assert page.count('lang="zh-Hans"') > 0
        chinese, english = (
            re.findall(rf'<(?:p|span) lang="{language}">', page) for language in ("zh-Hans", "en")
        )
        marks = page.count('<span lang="en"> · </span>')
        assert len(chinese) == len(english) - marks
    assert place.exists()


# --- Machines with fewer rights -----------------------------------------------------------------

JUDGE = """
import os, sys
os.environ["LABKIT_MYDOCKER"] = os.environ["LABKIT_PROGRESS"] = ""
from labkit.notebook import mydocker
mydocker.reset("v0.7")
report = mydocker.check("v0.7")  # V0.8 takes a group of one's own
print(report.state.name, report.stage.name)
print(report)
"""


@pytest.mark.parametrize("outcome", ["REACHED v0.7", "REFUSED v0.1"])
def test_without_privileges_nobody_is_blamed(nobody: list[str], outcome: str) -> None:
    """uid 65534 with no capability: root of a user namespace plays the machine, or nobody can."""
    box = Container((*nobody, "-c", JUDGE), cwd="/")
    if outcome.startswith("REFUSED"):  # by Docker's filter, as for who has no CAP_SYS_ADMIN
        kept = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")
        box = replace(box, seccomp="default", capabilities=kept)
    done = run(box, timeout=120)
    assert done.stdout.startswith(outcome), done.stdout + done.stderr
    told = "root of a new user namespace" if outcome.startswith("REACHED") else "labkit doctor"
    assert told in done.stdout


def test_a_machine_without_user_namespaces_inside_judges_all_but_the_last_stage(
    place: Path,
) -> None:
    """Its own model fails there too, at whichever step it shows."""
    script = JUDGE.replace("v0.7", "v0.4")
    script += 'mydocker.reset("v0.6")\nprint(mydocker.check().state.name)\n'
    limit = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    inner = ("sh", "-c", limit, "sh", sys.executable, "-c", script)
    unshared = (
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
    )
    done = run(Container((*unshared, *inner), cwd=str(ROOT)), timeout=120)
    assert done.stdout.startswith("REACHED v0.4"), done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("REFUSED"), done.stdout
    assert not place.exists()


def test_a_machine_imports_nothing_that_is_for_a_cell() -> None:
    """It is started for each trial: some forty of them judge a whole file."""
    program = trials._PROGRAM.replace("main()\n", "print(*sys.modules)\n")
    command = [sys.executable, "-I", "-S", "-c", program, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"labkit.notebook.mydocker.bench", "labkit.linux.mounts"} <= {*done.stdout.split()}
    assert not {"labkit.notebook.mydocker.own", "dataclasses"} & {*done.stdout.split()}


def test_a_machine_that_breaks_is_nobodys_mistake(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_PROGRAM", "import sys; sys.exit('it broke')")
    place.write_text(MODELS["v0.1"])
    done = Own().check("v0.1")
    assert done.state is State.REFUSED
    assert "it broke" in str(done)
    assert not Own().standing().reached
