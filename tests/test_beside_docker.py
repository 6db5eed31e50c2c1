"""compare_with_docker(): what the script says in two containers, read and compared."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labkit import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, Container, run
from labkit.images import base
from labkit.images.store import Store
from labkit.notebook.views import beside_docker
from labkit.notebook.views.beside_docker import PROBE, SUBJECTS, compare_with_docker, facts
from labkit.state import folder

WALLED = CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID
BOX = Container(("true",), cloneflags=WALLED, hostname="box", proc=True)


@pytest.fixture
def busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of the test's own that has the image busybox."""
    monkeypatch.setenv(folder.OVERRIDE, str(tmp_path))
    store = Store()
    base.busybox(store)
    return store


def test_every_subject_is_read() -> None:
    found = facts(run(replace(BOX, argv=("sh", "-c", PROBE))).stdout)
    assert set(found) == set(SUBJECTS)
    assert all(found.values())
    assert found["status"]["Uid"] == "0 0 0 0"
    assert (
        found["namespaces"] | {"mnt": "new", "uts": "new", "user": "the host's"}
        == (found["namespaces"])
    )
    assert found["devices"]["/dev/null"].startswith("crw-rw-rw- ")
    assert found["devices"]["/dev/null"].endswith(" 1,3")
    assert found["devices"]["/dev/fd"] == "/proc/self/fd"
    assert found["mountinfo"]["/proc"].startswith("proc rw")
    assert found["limits"]["Max core file size"].count(" / ") == 1


def test_only_what_differs_is_listed() -> None:
    a = {"status": {"Uid": "0", "Seccomp": "2"}, "environment": {"A": "1"}}
    b = {"status": {"Uid": "0", "Seccomp": "0"}, "links": {"eth0": "there"}}
    found = beside_docker.beside(a, b)
    assert [(d.subject, d.name, d.labkit, d.docker) for d in found.differences] == [
        ("status", "Seccomp", "2", "0"),
        ("environment", "A", "1", "-"),
        ("links", "eth0", "-", "there"),
    ]
    assert (found.same["status"], found.same["environment"]) == (1, 0)
    shown = repr(found).splitlines()
    assert shown[0].startswith("身份与权能 who it is")
    assert shown[2].split()[:3] == ["Seccomp", "2", "0"]


def test_a_box_is_compared_with_what_its_line_of_docker_run_does(
    busybox: Store,  # noqa: ARG001 - it is there
    tmp_path: Path,
) -> None:
    """In place of Docker a program that keeps its words and runs the script right here."""
    docker = tmp_path / "docker"
    docker.write_text(
        f"#!{sys.executable}\nimport os, sys\nopen({str(tmp_path / 'words')!r}, 'w')"
        ".write(' '.join(sys.argv[1:-1]))\nos.execvp('sh', ['sh', '-c', sys.argv[-1]])\n"
    )
    docker.chmod(0o755)
    found = compare_with_docker(BOX, "busybox", (str(docker),))
    words = (tmp_path / "words").read_text()
    assert words.startswith("run --rm ")
    assert words.endswith(" --network=host --cgroupns=host --hostname=box busybox sh -c")
    differing = {(d.subject, d.name): (d.labkit, d.docker) for d in found.differences}
    assert differing["namespaces", "pid"] == ("new", "the host's")
    assert found.same["status"] >= 5


def test_a_docker_that_does_not_run_says_why(busybox: Store) -> None:  # noqa: ARG001
    words = ("sh", "-c", "echo no daemon >&2; exit 1", "-")
    with pytest.raises(ValueError, match="docker did not run: no daemon"):
        compare_with_docker(BOX, "busybox", words)
