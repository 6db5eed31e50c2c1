"""An ordinary user's subordinate IDs: real newuidmap(1), and containers of several users."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from archives import END, header

FIRST, COUNT = 200_000, 65_536
USER, GROUP = 65_534, 65_534  # nobody
ENTERED = """
import json, os
from labkit.cli import user_namespace
user_namespace.enter()
maps = [open(f"/proc/self/{name}").read().split() for name in ("uid_map", "gid_map")]
print(json.dumps([os.geteuid(), os.getegid(), os.stat("/proc/self/ns/user").st_ino, maps]))
"""
SHOW = "stat -c '%u %g %n' /secret /secret/file; chown 3:4 /tmp && stat -c '%u %g' /tmp; id -u"


class House:
    """labkit for uid 65534, with a state of its own and what stands in /etc/subuid and subgid."""

    def __init__(self, folder: Path, python: list[str], given: str) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        os.chown(self.state, USER, GROUP)
        for path in [folder, *folder.parents][:4]:
            path.chmod(path.stat().st_mode | 0o011)
        ids = folder / "ids"
        ids.write_text(given)
        binds = f"mount --bind {ids} /etc/subuid; mount --bind {ids} /etc/subgid; "
        walls = [
            "unshare",
            "--mount",
            "sh",
            "-ec",
            f'touch /etc/subuid /etc/subgid; {binds}exec "$@"',
            "sh",
        ]
        # newuidmap is set-user-ID root, which a bounding set without capabilities would take away.
        drop = [word for word in python if word != "--bounding-set=-all"]
        env = [
            "env",
            f"LABKIT_STATE={self.state}",
            "LABKIT_LANG=en",
            "PATH=/usr/bin:/bin:/usr/sbin",
        ]
        shutil.copytree(Path(click.__file__).parent, folder / "site" / "click")
        drop = [f"{w}:{folder}/site" if w.startswith("PYTHONPATH=") else w for w in drop]
        self._words = [*walls, *drop[:-1], *env, drop[-1]]

    def python(self, program: str) -> "subprocess.CompletedProcess[str]":
        argv = [*self._words, "-c", program]
        return subprocess.run(argv, capture_output=True, text=True, cwd="/")

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        """What `labkit` prints; it is to succeed and to complain of nothing."""
        argv = [*self._words, "-m", "labkit", *words]
        done = subprocess.run(argv, input=stdin, capture_output=True, cwd="/")
        assert (done.returncode, done.stderr.decode()) == (0, "")
        return done.stdout.decode()


@pytest.fixture
def house(tmp_path: Path, nobody: list[str]) -> Iterator[House]:
    found = House(tmp_path, nobody, f"other:5:6\nnobody:{FIRST}:{COUNT}\n")
    yield found
    if ours := found("ps", "-aq").split():
        found("rm", "-f", *ours)


def archive() -> bytes:
    busybox = Path("/bin/busybox").read_bytes()
    return (
        header(b"bin/busybox", data=busybox, mode=0o755)
        + b"".join(
            header(b"bin/" + name, kind=b"2", link=b"busybox")
            for name in (b"sh", b"stat", b"chown", b"id", b"sleep", b"kill", b"mkdir")
        )
        + header(b"secret", b"5", mode=0o700, fields={"uid": b"0000005\0", "gid": b"0000006\0"})
        + header(b"secret/file", mode=0o600, fields={"uid": b"0000007\0"})
        + header(b"tmp", b"5", mode=0o777)
        + END
    )


def test_root_inside_is_the_user_and_the_others_are_subordinate(house: House) -> None:
    done = house.python(ENTERED)
    assert done.stderr == ""
    uid, gid, _, maps = json.loads(done.stdout)
    assert (uid, gid) == (0, 0)
    assert maps == [["0", f"{USER}", "1", "1", f"{FIRST}", f"{COUNT}"]] * 2


def test_an_image_of_several_users(house: House) -> None:
    """Its files stay apart, in the store and in a container, which may give files to them too."""
    house("import", "-", "many", stdin=archive())
    printed = house("run", "--rm", "--network", "none", "many", "sh", "-c", SHOW).splitlines()
    assert printed == ["5 6 /secret", "7 0 /secret/file", "3 4", "0"]
    owners = {(s.st_uid, s.st_gid) for s in map(os.stat, house.state.rglob("secret"))}
    assert owners == {(FIRST + 4, FIRST + 5)}
    house("rmi", "many")
    assert [*house.state.rglob("secret")] == []


def test_who_comes_later_is_in_the_same_user_namespace(house: House) -> None:
    """So it may join the namespaces of a container, and do to it all that there is."""
    house("import", "-", "many", stdin=archive())
    house("run", "-d", "--name", "one", "--network", "none", "many", "sleep", "1000")
    first, second = (json.loads(house.python(ENTERED).stdout) for _ in range(2))
    assert first[2] == second[2]
    assert house("exec", "one", "sh", "-c", "id -u").strip() == "0"
    assert "sleep" in house("top", "one")
    more = ("run", "--rm", "--network", "none", "--pid", "container:one", "many")
    house(*more, "kill", "-0", "1")
    assert "file" in house("cp", "one:/secret/file", "-")
    house("stop", "-t", "0", "one")
    house("start", "one")
    house("rm", "-f", "one")


@pytest.mark.parametrize("given", ["", "other:5:6\n", "nobody:x:y\n", "nobody:300000:0\n"])
def test_who_has_none_goes_on_as_before(tmp_path: Path, nobody: list[str], given: str) -> None:
    done = House(tmp_path, nobody, given).python(ENTERED)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[:2] == [USER, GROUP]


def test_what_newuidmap_refuses_changes_nothing(tmp_path: Path, nobody: list[str]) -> None:
    """More IDs than there are; or the program may not do it, in a container without set-user-ID."""
    told = House(tmp_path, nobody, f"nobody:{FIRST}:4294967290\n").python(ENTERED)
    assert (told.returncode, told.stderr) == (0, "")
    assert json.loads(told.stdout)[:2] == [USER, GROUP]
