"""The readers of /proc, asked about what the kernel really writes there."""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.linux import proc

_PR_SET_NAME = 15
# A child with two mounts of the kind that mislead a reader: it says what it sees of them, and what
# findmnt(8) sees.
MOUNTS = r"""
import json, os, subprocess, sys
from labkit.cgroups.hierarchy import filesystem
from labkit.linux.mounts import mount
from labkit.linux.proc import mounts
from labkit.notebook.views.start_recorder import look
place = os.fsdecode(sys.argv[1].encode() + b"/a b\\\n\t\xff\xe3\x80\x80\xc2\xa0\r")
os.mkdir(place)
mount("", place, "tmpfs", 0, "size=64k")
found = [each for each in mounts() if each.point == place]
look(os.getpid())
print(json.dumps([len(found), found[0].kind, found[0].source, found[0].root, found[0].options,
    found[0].super_options.split(",")[0], found[0].propagation, filesystem(place), len(mounts())]))
"""


def test_a_mount_point_may_have_any_name(tmp_path: Path) -> None:
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", MOUNTS]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *first, number = json.loads(done.stdout)
    assert first == [1, "tmpfs", "", "/", "rw,relatime", "rw", [], "tmpfs"]
    assert number == len(proc.mounts()) + 1


def test_the_mounts_are_those_that_findmnt_shows() -> None:
    words = ["findmnt", "--json", "--list", "--output", "TARGET,FSTYPE,OPTIONS,FSROOT"]
    shown = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["filesystems"]
    theirs = [(each["target"], each["fstype"], each["fsroot"]) for each in shown]
    assert sorted(theirs) == sorted((m.point, m.kind, m.root) for m in proc.mounts())
    options = {(m.point, each) for m in proc.mounts() for each in m.options.split(",")}
    assert options <= {(each["target"], w) for each in shown for w in each["options"].split(",")}


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"a) b (c", "a) b (c"), (b"\xff\xe4\xbd\xa0", "\ufffd你"), (b"x: y", "x: y")],
)
def test_a_process_may_have_any_name(name: bytes, shown: str) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(writer)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)
        os.read(reader, 1)
        os._exit(7)
    os.close(reader)
    try:
        deadline = time.monotonic() + 10
        while (of := proc.stat(child)).name != shown:
            assert time.monotonic() < deadline, of.name
        assert (of.ppid, of.session, of.pgrp) == (os.getpid(), os.getsid(0), os.getpgrp())
        assert of.state in "RSD"
        assert of.started >= proc.stat().started
        assert proc.status(child)["Name"] == shown
        assert int(proc.status(child)["PPid"]) == os.getpid()
        assert child in proc.children()
    finally:
        os.close(writer)
        os.waitpid(child, 0)
    assert child not in proc.children()
    for reader_of in (proc.stat, proc.status, proc.mounts):
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            reader_of(child)


def test_the_readers_import_nothing_heavy() -> None:
    code = (
        "import sys; old = {*sys.modules}; import labkit.linux.proc; print(*{*sys.modules} - old)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} <= {"errno", "labkit", "labkit.linux", "labkit.linux.proc"}
