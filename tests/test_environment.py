"""What a machine may lack or limit: labkit runs all the same, or says in one line what is wrong.

Each setting is made in namespaces of its own, or for one process.
"""

import itertools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest
from conftest import ROOT

from labkit import CLONE_NEWUTS, Container, inodes, run, start
from labkit.linux import proc
from labkit.linux.refusal import Refusal, diagnose
from labkit.text.words import AS_TYPED

LABKIT = [sys.executable, "-m", "labkit"]
PATIENCE = 30  # seconds
# A new PID namespace with the old /proc, as V0.2b's lesson makes one.
FOREIGN = ["unshare", "--fork", "--pid", "--kill-child"]


# A whole /proc elsewhere, such as that of somebody's chroot, would let a user namespace mount one.
ONE_PROC = 'awk \'$3 == "proc" && $2 != "/proc" {print $2}\' /proc/mounts | xargs -r umount -l'


def changed(script: str) -> list[str]:
    """The words before a command that run it in a mount namespace that `script` has changed."""
    return ["unshare", "--mount", "sh", "-c", f'{ONE_PROC}; {script} && exec "$@"', "sh"]


def limited(limit: str) -> list[str]:
    """The words before a command that run it with a limit of prlimit(1)."""
    return ["prlimit", *limit.split()]


# There may be one over the other, as initramfs-tools leaves it to who mounts it again.
NO_PROC = changed("while umount -l /proc; do :; done 2>/dev/null")
# Of a PID namespace below ours: we are not in it, so there is no /proc/self.
BELOW = changed("unshare --fork --pid mount -t proc proc /proc")
NO_NULL = changed("mount -t tmpfs tmpfs /dev")


def done(
    *words: str | bytes, env: dict[str, str] | None = None, redirected: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command, with redirections of the shell's if there are any."""
    command: Sequence[str | bytes] = words
    if redirected:
        command = ["sh", "-c", f'exec "$@" {redirected}', "sh", *words]
    given = os.environ | (env or {})
    stdin = subprocess.DEVNULL
    return subprocess.run(command, stdin=stdin, capture_output=True, env=given, timeout=PATIENCE)


def program(text: str) -> list[str]:
    """The words that run a caller's program."""
    return [sys.executable, "-c", "from labkit import *\n" + textwrap.dedent(text)]


def one_line(errors: bytes, english: str) -> None:
    """It is one line, of both languages, and holds `english`."""
    text = errors.decode()
    assert len(text.splitlines()) == 1, text
    assert text.startswith("labkit"), text
    assert re.search("[\u4e00-\u9fff]", text), text
    assert english in text


# A /proc of another PID namespace


@pytest.mark.parametrize("version", ["v0.1", "v0.2", "v0.3", "v0.4", "v0.5"])
def test_every_version_runs_below_a_proc_of_another_pid_namespace(version: str) -> None:
    found = done(*FOREIGN, *LABKIT, version, "run", "echo", "hi")
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.splitlines()[1:] == [b"hi"]


def test_unshare_runs_below_a_proc_of_another_pid_namespace() -> None:
    words = ["unshare", "--map-users=100,0,1", "--map-groups=100,0,1", "cat", "/proc/self/uid_map"]
    found = done(*FOREIGN, *LABKIT, *words)
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.split() == [b"0", b"100", b"1"]


def test_unshare_keeps_its_own_namespace_and_no_strangers() -> None:
    keep = f"{shlex.join([*FOREIGN, *LABKIT])} unshare --uts=$d/kept readlink /proc/self/ns/uts"
    script = (
        "set -e; d=$(mktemp -d); mount -t tmpfs tmpfs $d; mount --make-private $d; touch $d/kept;"
        f"{keep}; stat -c uts:[%i] -f $d/kept >/dev/null; ls -i $d/kept; umount $d/kept; umount $d;"
        "rmdir $d"
    )
    found = done("unshare", "--mount", "sh", "-c", script)
    assert found.returncode == 0, found.stderr
    inside, kept, *_ = re.findall(rb"\d{10}", found.stdout)
    assert inside == kept


def test_what_an_ended_container_left_is_killed_by_our_numbers() -> None:
    # The stranger is outside of it all; that the container's orphan goes proves the translation.
    script = "sleep 1000 & echo $! >&2; exit 4"
    shell = f"{shlex.join([*LABKIT, 'v0.2', 'run', 'sh', '-c', script])}; kill -0 $(cat $e)"
    whole = f"e=$(mktemp); exec 2>$e; {shell}; echo $?; rm $e"
    found = done(*FOREIGN, "sh", "-c", whole)
    assert found.stdout.splitlines()[-1] == b"1"  # no such process


def test_the_callers_side_below_a_proc_of_another_pid_namespace() -> None:
    script = """
        import json, os
        from labkit.engine import connection
        from labkit.linux.proc import depth, number
        from labkit.linux.relations import snapshot
        from labkit.notebook.views.own import roles
        from labkit.notebook.views.start_recorder import record

        box = Container(("cat",), cloneflags=CLONE_NEWUTS, hostname="box", rootless=True)
        with start(box, input="") as running:
            pass
        with start(Container(("sleep", "9"), cloneflags=CLONE_NEWUTS, hostname="box")) as running:
            said = [running.exec(("hostname",)).stdout, enter(running.pid, ("hostname",)).stdout]
            names = [*roles(snapshot()).values()]
            uts = inodes(running.pid)["uts"] == running.inodes["uts"] != inodes()["uts"]
            there = number(running.pid)
            named = os.path.exists(f"/proc/{there}") and there != running.pid
        trace = run(box).trace
        steps = len(record(box).steps)
        print(json.dumps([depth(), said, sorted(names), uts, named, trace, steps, os.getpid()]))
        """
    found = done(*FOREIGN, *program(script))
    assert found.returncode == 0, found.stderr.decode()
    depth, said, names, uts, named, trace, steps, pid = json.loads(found.stdout)
    assert (depth, said, uts, named, pid) == (1, ["box\n"] * 2, True, True, 1)
    assert names == ["container", "engine", "keeper", "kernel"]
    assert steps == len(trace)
    (path,) = {line.split('"')[1] for line in trace if "O_PATH" in line}
    child = int(trace[0].rpartition(" = ")[2])
    assert path != f"/proc/{child}"  # that would have been a stranger's


def test_a_killed_engines_session_is_swept_by_our_numbers() -> None:
    script = """
        import os, signal
        from labkit.engine import connection

        with start(Container(("sh", "-c", "sleep 1000 & echo $!; wait"))) as running:
            while "\\n" not in running.stdout:
                pass
            (engine,) = connection.engine_pids()
            os.kill(engine, signal.SIGKILL)
            try:
                running.wait(9)
            except EngineLost:
                print("lost", flush=True)
        try:
            os.kill(int(running.stdout), 0)
        except ProcessLookupError:
            print("gone")
        """
    # As PID 1 we would have to reap the orphan first.
    found = done(*FOREIGN, "sh", "-c", '"$@"; exit $?', "sh", *program(script))
    assert found.stdout.split() == [b"lost", b"gone"], found.stderr.decode()


def test_ns_takes_a_pid_of_ours() -> None:
    script = f"exec 3<&1; {shlex.join(LABKIT)} ns self $$ 1 --json; {shlex.join(LABKIT)} ns 4000000"
    found = done(*FOREIGN, "sh", "-c", script)
    kinds = json.loads(found.stdout)
    assert kinds["self"] == kinds["1"]  # the shell, and not the host's first process
    assert kinds["1"]["pid"] != inodes()["pid"]
    one_line(found.stderr, "no process 4000000")


def test_a_proc_of_our_own_translates_nothing() -> None:
    assert proc.depth() == 0
    assert proc.number(os.getpid()) == os.getpid()
    pidfd = os.pidfd_open(os.getpid())
    assert proc.number_of(pidfd) == os.getpid()
    os.close(pidfd)


# What is missing, and what is limited: words before the command, the command, status, what is said

MOUNT_PROC = "mount -t proc proc /proc"
NULL_GONE = "/dev/null is gone: as root, mknod -m 666 /dev/null c 1 3"
FILES = "RLIMIT_NOFILE is reached: raise it (ulimit -n 1024)"
REFUSED: list[tuple[Sequence[str], str, int, str]] = [
    *(
        (setting, command, status, MOUNT_PROC)
        for setting in (NO_PROC, BELOW)
        for command, status in (
            ("v0.1 run echo hi", 125),
            ("v0.4 run echo hi", 125),
            ("v0.5 run echo hi", 125),
            ("ns", 1),
            ("ns 1", 1),
            ("ns --tree", 1),
            ("doctor", 1),
            ("unshare --user --map-root-user true", 1),
        )
    ),
    (changed("mount -o remount,bind,ro /proc"), "v0.5 run true", 125, "/proc is mounted read-only"),
    (NO_NULL, "v0.1 run echo hi", 125, NULL_GONE),
    (limited("--nofile=5"), "v0.1 run echo hi", 125, FILES),
    (limited("--nofile=6"), "v0.4 run echo hi", 125, FILES),
    (limited("--nofile=8"), "v0.4 run echo hi", 125, FILES),
    (limited("--nofile=10"), "v0.5 run echo hi", 125, FILES),
    (limited("--nofile=12"), "v0.1 run echo hi", 125, FILES),
    (limited("--fsize=0"), "v0.1 run echo hi", 125, "larger than RLIMIT_FSIZE allows"),
    (limited("--as=17000000"), "v0.1 run echo hi", 125, "no room for Python"),
]


FULL = """
import resource, sys
from labkit import __main__ as command

def fills(_):
    global kept
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    kept = None
    for size in (*range(512, 0, -8), 0):  # what is small Python takes from pools, one for each size
        try:
            while True:
                kept = kept, bytes(size)
        except MemoryError:
            continue
    raise MemoryError

command._command = fills
sys.exit(command.main())
"""


def test_where_no_memory_is_left_there_is_room_to_say_so() -> None:
    """To say it takes memory too, and what was running still has all that there was."""
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (125, 1), done.stderr
    assert "no room for Python" in done.stderr


@pytest.mark.parametrize(("setting", "command", "status", "english"), REFUSED)
def test_what_a_machine_lacks_is_said_in_one_line(
    setting: Sequence[str], command: str, status: int, english: str
) -> None:
    found = done(*setting, *LABKIT, *command.split())
    one_line(found.stderr, english)
    assert found.returncode == status


@pytest.mark.parametrize(
    ("processes", "command", "english"),
    [
        (1, "v0.1 run echo hi", "RLIMIT_NPROC"),
        (2, "v0.5 run echo hi", "RLIMIT_NPROC"),
        (3, "v0.1 run sleep 9", "No more threads, RLIMIT_NPROC"),
        (1, "unshare --user --fork true", "RLIMIT_NPROC"),
    ],
)
def test_too_many_processes(nobody: list[str], processes: int, command: str, english: str) -> None:
    # The kernel holds the limit against a user without capabilities, so the user is one of its own.
    alone = [word.replace("65534", "64321") for word in nobody]
    place = alone.index("env")
    words = [*alone[:place], *limited(f"--nproc={processes}"), *alone[place:], "-m", "labkit"]
    one_line(done(*words, *command.split()).stderr, english)


@pytest.mark.parametrize("blocked", ["memfd_create", "pidfd_open", "epoll_create1", "waitid"])
def test_a_call_that_is_not_there(blocked: str) -> None:
    rule = {"names": [blocked], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    found = run(Container((*LABKIT, "v0.2", "run", "true"), seccomp=profile), timeout=PATIENCE)
    one_line(found.stderr.encode(), "The kernel lacks this call, or seccomp blocks it")
    assert found.returncode == 125


def test_the_doctor_says_why_there_is_no_engine() -> None:
    found = done(*NO_NULL, *LABKIT, "doctor")
    assert found.returncode == 0, found.stderr
    assert b"why: /dev/null is gone; fix: as root, mknod -m 666 /dev/null c 1 3" in found.stdout
    assert b"v0.1 \xe5\xbd\x95\xe5\x88\xb6 recorded" in found.stdout


def test_a_caller_hears_the_reason_too() -> None:
    found = done(*limited("--nofile=8"), *program("run(Container(('true',)))"))
    assert found.stderr.decode().splitlines()[-1].startswith("Too many files are open")
    assert b"OSError: [Errno 24]" in found.stderr


@pytest.mark.parametrize(("words", "status"), [(["v0.1", "run"], 125), (["unshare", "--uts"], 126)])
def test_an_environment_that_is_too_long(words: list[str], status: int) -> None:
    script = f"""
        import os, sys
        for number in range(40):
            os.environ[f"LONG{{number}}"] = "x" * 100000
        sys.argv = ["labkit", *{words!r}, "true"]
        from labkit.__main__ import main
        sys.exit(main())
        """
    found = done(*program(script))
    one_line(found.stderr, "128 KiB for one, a quarter of the stack limit for all")
    assert found.returncode == status


# What changes nothing

ODD = {
    "no environment": ["env", "-i"],
    "no directory": ["sh", "-c", 'd=$(mktemp -d) && cd $d && rmdir $d && exec "$@"', "sh"],
    "umask": ["sh", "-c", 'umask 777 && exec "$@"', "sh"],
    "children ignored": [
        sys.executable,
        "-c",
        "import os, signal, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])",
    ],
    "read-only": changed(
        "for place in $(findmnt -rno TARGET -t ext4,overlay,tmpfs,xfs,btrfs);"
        " do mount -o remount,bind,ro $place 2>/dev/null; done; true"
    ),
    "C": ["env", "LC_ALL=C", "PYTHONUTF8=0", "PYTHONCOERCECLOCALE=0"],
    "no such locale": ["env", "LC_ALL=xx_XX.nosuch"],
    "small stack": limited("--stack=262144"),
}


@pytest.mark.parametrize("setting", ODD)
@pytest.mark.parametrize(
    "command", ["v0.1 run echo hi", "v0.5 run echo hi", "ns", "unshare --user --map-root-user echo"]
)
def test_what_changes_nothing(setting: str, command: str) -> None:
    found = done(*ODD[setting], *LABKIT, *command.split(), env={"PYTHONPATH": str(ROOT)})
    if setting == "no environment":  # nor PYTHONPATH: Python finds the package as it is installed
        assert found.returncode == 0
    assert (found.returncode, found.stderr) == (0, b"")


CLOSED = [c for n in (1, 2, 3) for c in itertools.combinations(("<&-", ">&-", "2>&-"), n)]


@pytest.mark.parametrize("closed", CLOSED, ids="".join)
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("v0.4 run sh -c exit\\ 3", 3),
        ("v0.1 run /nosuch", 127),
        ("unshare --nosuch", 1),
    ],
)
def test_closed_streams(closed: tuple[str, ...], command: str, status: int) -> None:
    found = done(*LABKIT, *shlex.split(command), redirected=" ".join(closed))
    assert found.returncode == status
    assert b"Traceback" not in found.stderr


@pytest.mark.parametrize("closed", CLOSED, ids="".join)
def test_a_caller_whose_streams_are_closed(closed: tuple[str, ...]) -> None:
    done_by = program("raise SystemExit(run(Container(('echo', 'hi'))).stdout != 'hi\\n')")
    assert done(*done_by, redirected=" ".join(closed)).returncode == 0


@pytest.mark.parametrize("command", ["ns", "ns --json", "doctor", "v0.1 run true"])
def test_a_full_disk(command: str) -> None:
    found = done(*LABKIT, *command.split(), redirected=">/dev/full")
    one_line(found.stderr, "No space is left")
    assert found.returncode == 1
    assert done(*LABKIT, *command.split(), redirected=">/dev/full 2>&1").returncode == 1


# Bytes that are not text


@pytest.mark.parametrize(
    ("words", "status"),
    [(["v0.1", "run"], 127), (["v0.5", "run"], 127), (["unshare", "--uts"], 127)],
)
@pytest.mark.parametrize(
    "env", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_a_name_is_shown_as_it_was_typed(
    words: list[str], status: int, env: dict[str, str]
) -> None:
    name = b"/bin/\xff\xe4\xb8\xad"
    found = done(*LABKIT, *words, name, env=env)
    assert found.returncode == status
    assert found.stderr.splitlines()[-1].endswith(name + b": No such file or directory")
    if "run" in words:
        assert name in found.stdout


@pytest.mark.parametrize(
    "words",
    [
        [b"v0.1", b"\xff"],
        [b"\xff"],
        [b"ns", b"\xff"],
        [b"unshare", b"--\xff"],
        [b"doctor", b"\xff"],
    ],
)
def test_bytes_in_the_wrong_place_are_a_mistake_like_any_other(words: list[bytes]) -> None:
    found = done(*LABKIT, *words)
    assert found.returncode in {1, 2}
    assert b"Traceback" not in found.stderr
    assert b"\xff" in found.stderr or b"\\udcff" in found.stderr  # argparse shows it in its own way


def test_bytes_pass_through() -> None:
    found = run(Container(("sh", "-c", 'printf %s "$A" "$1"', "sh", "\udcff"), env={"A": "\udcfe"}))
    assert found.stdout == "\\xfe\\xff"
    assert run(Container(("cat",)), input="\udcff").stdout == "\\xff"
    box = Container(("hostname",), cloneflags=CLONE_NEWUTS, hostname="\udcff")
    assert run(box).stdout == "\\xff\n"


def test_a_process_with_a_name_of_bytes() -> None:
    rename = (
        "import sys\nopen('/proc/self/comm', 'wb').write(b'\\xff\\n\\x1b[31m')\nsys.stdin.read()"
    )
    reader, writer = os.pipe()
    with start(Container((sys.executable, "-c", rename)), stdin=reader) as running:
        os.close(reader)
        assert "State" in proc.status(running.pid)
        found = done(*LABKIT, "ns", "--tree")
        os.close(writer)
    assert found.returncode == 0, found.stderr


def test_english_alone_where_no_chinese_can_be_written() -> None:
    env = {"PYTHONIOENCODING": "ascii"}
    for words in (["ns", "4000000"], ["unshare", "--nosuch"]):
        said = done(*LABKIT, *words, env=env).stderr
        assert said.isascii()
        assert b"\\u" not in said
        assert b"no" in said


def test_as_typed() -> None:
    assert "a\udcff中\ud800".encode("ascii", AS_TYPED) == b"a\xff\\u4e2d\\ud800"
    assert "\udcff中\ud800".encode("utf-8", AS_TYPED) == b"\xff\xe4\xb8\xad\\ud800"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("argv", {"argv": ("x\ud800",)}),
        ("env", {"env": {"A": "\ud800"}}),
        ("env", {"env": {"\ud800": "1"}}),
        ("cwd", {"cwd": "\ud800"}),
        ("hostname", {"hostname": "\ud800", "cloneflags": CLONE_NEWUTS}),
        ("seccomp", {"seccomp": "\ud800"}),
    ],
)
def test_text_that_no_bytes_stand_for(field: str, values: dict[str, object]) -> None:
    with pytest.raises(
        ValueError, match=f"{field} 里的 .*ud800.* / {field} holds .*ud800"
    ) as error:
        Container(**{"argv": ("true",)} | values)  # type: ignore[arg-type]
    assert not isinstance(error.value, UnicodeError)
    str(error.value).encode()


def test_input_that_no_bytes_stand_for() -> None:
    with pytest.raises(ValueError, match=r"input 里的 .*ud800.* / input holds .*ud800"):
        run(Container(("cat",)), input="\ud800")


# Mounts below /proc: who may mount another one, and what is said

MASKED = " && ".join(
    f"mount --bind /proc/{name} /proc/{name}" for name in ("bus", "fs", "irq", "sys")
)


@pytest.mark.parametrize(
    ("script", "said", "unsaid"),
    [
        ("mount -t tmpfs tmpfs /proc/sys/kernel", "as root, umount /proc/sys/kernel", "outer"),
        ("mount --bind /dev/null /proc/version", "as root, umount /proc/version", "outer"),
        (MASKED, "An outer container masks parts of /proc (/proc/bus /proc/fs", "as root"),
    ],
)
def test_what_covers_proc_is_named(script: str, said: str, unsaid: str) -> None:
    for command in ("v0.5 run true", "unshare --user --pid --fork --mount-proc true"):
        found = done(*changed(script), *LABKIT, *command.split())
        one_line(found.stderr, said)
        assert unsaid not in found.stderr.decode()
    examined = done(*changed(script), *LABKIT, "doctor").stdout.decode()
    assert said[1:] in examined


def test_a_mount_on_an_empty_place_covers_nothing() -> None:
    script = "mount -t tmpfs tmpfs /proc/sys/fs/binfmt_misc"
    assert done(*changed(script), *LABKIT, "v0.5", "run", "true").returncode == 0
    whole = done(
        *changed(script), *program("from labkit.linux.proc import covers; print(covers())")
    )
    assert whole.stdout == b"None\n"


def test_where_nothing_covers_proc_nobody_says_so() -> None:
    from test_host import ALL, FREE

    call = 'mount("proc", "/proc", "proc", MS_NOSUID, NULL)'
    found = diagnose(Refusal(call, 1, True, ALL, FREE))
    assert "reveal" not in found.why.en


def test_a_programs_own_end_by_a_signal_is_still_told() -> None:
    found = done(*FOREIGN, *LABKIT, "v0.1", "run", "sh", "-c", "kill -TERM $$")
    assert found.returncode == 128 + signal.SIGTERM
