"""go/v0.1 to v0.5 ask the kernel for what `labkit v0.1 run` and its sisters ask for."""

import difflib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from test_cli import ENV, LABKIT, seen_outside

GO = ROOT / "go"
VERSIONS = sorted(path.parent.name for path in GO.glob("*/main.go"))
MISSING = (
    "没有 Go 编译器，go/ 未经编译和比较；安装：apt-get install golang-go / "
    "no Go compiler, so go/ is neither built nor compared; to install it: apt-get install golang-go"
)
KINDS = "readlink /proc/self/ns/*"

each_version = pytest.mark.parametrize("version", VERSIONS)
Done = subprocess.CompletedProcess[str]


def compiler() -> str:
    """Where `go` is. Without it a test is skipped, but in continuous integration it fails."""
    found = shutil.which("go")
    if not found and os.environ.get("CI"):
        pytest.fail(MISSING, pytrace=False)
    if not found:
        pytest.skip(MISSING)
    return found


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs, built without the network and outside the clone."""
    go, folder = compiler(), tmp_path_factory.mktemp("go")
    settings = {
        "GOCACHE": os.environ["GOCACHE"],
        "GOENV": "off",  # not the user's own settings
        "GOFLAGS": "-mod=readonly -buildvcs=false",  # git may refuse a clone of another user's
        "GOPATH": f"{folder}/path",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "XDG_CONFIG_HOME": f"{folder}/config",  # its counters of use
        "CGO_ENABLED": "0",
    }
    for words in (["build", "-o", f"{folder}/", "./..."], ["vet", "./..."]):
        command = [go, *words]
        done = subprocess.run(
            command, cwd=GO, env={**ENV, **settings}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder


def both(programs: Path, version: str, *words: str, outer: tuple[str, ...] = ()) -> list[Done]:
    """What came of the Go program and of ours. Both believe to be called `labkit VERSION`."""
    renamed = ["bash", "-c", f'exec -a "labkit {version}" "$@"', "bash", f"{programs}/{version}"]
    return [
        subprocess.run(
            [*outer, *command, *words],
            capture_output=True,
            text=True,
            env=ENV,
            timeout=PATIENCE,
            input="in\n",
        )
        for command in (renamed, [*LABKIT, version])
    ]


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_without_a_compiler(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="apt-get install golang-go"):
        compiler()


def test_continuous_integration_says_that_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "make").write_text('#!/bin/sh\necho "CI=$CI make $*"\n')
    (tmp_path / "make").chmod(0o755)
    env = {name: value for name, value in ENV.items() if name != "CI"}
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    done = subprocess.run([ROOT / ".ci" / "run"], capture_output=True, text=True, env=env)
    assert done.stdout == "CI=true make test\n"


def test_the_versions_are_ours() -> None:
    """Those up to V0.5: from V0.6 on the steps are compared with strace's alone."""
    from labkit.cli import versions

    assert [name for name in versions.VERSIONS if name < "v0.6"] == VERSIONS


def test_formatted() -> None:
    gofmt = shutil.which("gofmt", path=f"{Path(compiler()).resolve().parent}:{os.environ['PATH']}")
    assert gofmt
    done = subprocess.run([gofmt, "-d", GO], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def code(version: str) -> list[str]:
    """The lines of a program without those that are comments."""
    lines = (GO / version / "main.go").read_text().splitlines()
    return [line for line in lines if not line.strip().startswith("//")]


@pytest.mark.parametrize(
    ("older", "newer", "removed", "added"),
    [
        ("v0.1", "v0.2", 0, ["cmd.SysProcAttr =", "Cloneflags:", "}"]),
        ("v0.2", "v0.3", 1, ["Cloneflags:", "Unshareflags:"]),
        (
            "v0.3",
            "v0.4",
            2,
            [
                'if os.Args[0] == "init"',
                "os.Exit(status(become(",
                "}",
                'cmd := exec.Command("/proc/self/exe"',
                'cmd.Args[0] = "init"',
                "Cloneflags:",
                "syscall.CLONE_NEWPID,",
                "}",
                "",
                "func become(",
                "const flags =",
                "if err := syscall.Mount(",
                "return err",
                "}",
                "cmd := exec.Command(argv[0]",
                "if cmd.Err != nil",
                "return cmd.Err",
                "}",
                "return syscall.Exec(",
            ],
        ),
        ("v0.4", "v0.5", 1, ["syscall.CLONE_NEWPID | sys", "UidMappings:", "GidMappings:"]),
    ],
)
def test_a_version_adds_a_few_lines(older: str, newer: str, removed: int, added: list[str]) -> None:
    changes = list(difflib.ndiff(code(older), code(newer)))
    assert sum(line.startswith("- ") for line in changes) == removed
    new = [line[2:].strip() for line in changes if line.startswith("+ ")]
    assert [line[: len(start)] for line, start in zip(new, added, strict=True)] == added


@each_version
def test_the_same_is_asked_of_the_kernel(programs: Path, version: str, tmp_path: Path) -> None:
    """The namespaces asked for, by whichever call, and the mounts before the program."""
    log = tmp_path / "strace"
    strace = ("strace", "-f", "-qq", "-e", "trace=clone,clone3,unshare,mount", "-o", str(log))
    asked = []
    for command in ([f"{programs}/{version}"], [*LABKIT, version]):
        subprocess.run([*strace, *command, "run", "true"], check=True, stdout=subprocess.DEVNULL)
        calls = log.read_text()
        mounts = re.findall(r'mount\(.*?, (".*?"), .*?, (.*?), ', calls)
        asked.append((set(re.findall(r"CLONE_NEW\w+", calls)), mounts))
    assert asked[0] == asked[1]
    assert len(asked[0][0]) == {"v0.1": 0, "v0.2": 1, "v0.3": 4, "v0.4": 5, "v0.5": 6}[version]


@each_version
def test_the_same_is_isolated(programs: Path, version: str) -> None:
    outside = subprocess.run(["sh", "-c", KINDS], capture_output=True, text=True, check=True)
    theirs, ours = (
        {
            link.partition(":")[0]
            for link in done.stdout.splitlines()[1:]
            if link not in outside.stdout
        }
        for done in both(programs, version, "run", "sh", "-c", KINDS)
    )
    assert theirs == ours


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["ps"],
        ["run"],
        ["run", ""],
        ["run", "cat"],
        ["run", "printf", "<%s>", "one word", "", "中", "--", "-h"],
        ["run", "sh", "-c", "echo err >&2; exit 200"],
        ["run", "sh", "-c", "kill -SEGV $$"],
        ["run", "/nowhere/program"],
        ["run", "/etc/passwd/program"],
        ["run", "no-such-program"],
        ["run", "/etc/passwd"],
        ["run", "/etc"],
    ],
)
def test_the_same_comes_of_it(programs: Path, words: list[str]) -> None:
    theirs, ours = both(programs, VERSIONS[-1], *words)
    assert theirs.stdout.startswith(f"[labkit {VERSIONS[-1]}")
    assert (theirs.returncode, theirs.stdout) == (ours.returncode, ours.stdout)
    assert bool(theirs.stderr) == bool(ours.stderr)
    assert "goroutine" not in theirs.stderr


def test_refused_by_the_kernel(programs: Path) -> None:
    """The error of the notes: root, but without the capability."""
    without = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    theirs, ours = both(programs, "v0.2", "run", "/bin/sh", outer=without)
    assert theirs.returncode == ours.returncode == 125
    assert theirs.stderr == "fork/exec /bin/sh: operation not permitted\n"
    assert "clone3({flags=CLONE_VM|CLONE_NEWUTS," in ours.stderr


def test_v03_keeps_its_mounts_where_mounts_are_shared(programs: Path, tmp_path: Path) -> None:
    assert seen_outside(tmp_path, f"{programs}/v0.2", "run")
    assert not seen_outside(tmp_path, f"{programs}/v0.3", "run")
