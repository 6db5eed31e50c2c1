"""`labkit exec` and `labkit run` start at once: what they import, and what they do without."""

import copy
import hashlib
import ipaddress
import json
import os
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import until

from labkit.container import seccomp
from labkit.engine import kept, layout
from labkit.images import base, reference
from labkit.images.store import Store
from labkit.linux import seccomp_filter
from labkit.monitor import ahead, record
from labkit.network import subnets
from labkit.python import json as ours
from labkit.python import re as ours_re
from labkit.python import typing as ours_typing
from labkit.python.hashlib import sha256 as ours_sha256
from labkit.state import document
from labkit.text import letters

LABKIT = [sys.executable, "-m", "labkit"]


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state of these tests' own, with a container that runs."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv("LABKIT_STATE", str(path))
        patch.setenv("LABKIT_LANG", "en")
        base.busybox(Store())
        words = ("--network", "none", "-e", "A=1", "-l", "kind=light", "busybox", "sleep", "99")
        said("run", "-d", "--name", "box", *words)
        yield path
        said("rm", "-f", *[each.id for each in record.every()])


def labkit(*words: str, input: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LABKIT, *words], capture_output=True, text=True, input=input)


def said(*words: str) -> str:
    done = labkit(*words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# --- What is imported ---------------------------------------------------------------------------


def imports(*words: str) -> set[str]:
    """The modules that a whole process imports, besides those of Python's own start."""
    found = []
    script = os.path.join(os.path.dirname(sys.executable), "labkit")  # `-m` would import runpy
    for asked in ([script, *words], ["-c", "pass"]):
        command = [sys.executable, "-S", "-Ximporttime", *asked]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.append({line.rpartition("|")[2].strip() for line in done.stderr.splitlines()})
    return found[0] - found[1]


SLOW = {"click", "argparse", "inspect", "dataclasses", "tempfile", "pathlib", "hashlib", "datetime"}
SLOW |= {"shutil", "logging", "asyncio", "pyroute2", "urllib3"}
DEAR = {
    "re",
    "enum",
    "json",
    "typing",
    "functools",
    "contextlib",
    "collections",
    "signal",
    "socket",
}
DEAR |= {"site", "subprocess", "threading", "ctypes", "selectors", "locale", "termios", "types"}


def test_exec_imports_next_to_nothing() -> None:
    said("exec", "box", "true")  # the first one works out what comes before the program
    loaded = imports("exec", "box", "true")
    assert "labkit.cli.short" in loaded
    assert not loaded & (SLOW | DEAR)
    heavy = {"labkit.cli.execute", "labkit.container.container", "labkit.linux.call"}
    assert not loaded & (heavy | {"labkit.monitor.record", "labkit.docker.order"})


def test_run_imports_little() -> None:
    limits = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "100")
    loaded = imports("run", "--rm", "--network", "none", *limits, "busybox", "true")
    assert {"labkit.docker.order", "labkit.monitor.launch"} <= loaded
    assert not loaded & (SLOW | DEAR - {"types", "ctypes"})
    assert not loaded & {
        "labkit.cli.execute",
        "labkit.cli.raw",
        "labkit.cli.verbs",
        "labkit.engine.client",
    }
    assert not loaded & {
        "labkit.docker.gotemplate",
        "labkit.docker.units",
        "labkit.linux.seccomp_filter",
    }


def test_ps_imports_nothing_that_starts_a_container() -> None:
    loaded = imports("ps")
    assert "labkit.docker.containers" in loaded
    assert not loaded & {"labkit.cli.run", "labkit.cli.other", "labkit.cli.versions", "urllib3"}
    assert not loaded & {"labkit.engine.client", "labkit.engine.execution", "labkit.images.fetch"}


# --- exec by the short way ----------------------------------------------------------------------


def test_the_second_exec_is_as_the_first(state: Path) -> None:
    (place,) = (state / "lib" / "containers").glob("*/config.json")
    words = ("exec", "-i", "box", "sh", "-c", "cat; echo $A; pwd; hostname; id; ulimit -n; exit 3")
    looks = ("exec", "box", "cat", "/proc/self/status", "/proc/self/cgroup", "/proc/self/mountinfo")
    found = []
    for _ in range(2):
        (place.parent / "entering").unlink(missing_ok=True)
        for _ in range(2):  # the first by the long way
            done, status = labkit(*words, input="typed\n"), said(*looks).splitlines()
            same = [line for line in status if not line.startswith(("Pid:", "NSpid:", "Tgid:"))]
            walls = [line for line in same if line.startswith(("Cap", "Sec", "NoNew", "Groups"))]
            found.append((done.returncode, done.stdout, done.stderr, walls))
    assert found[0][:2] == (3, found[0][1])
    assert found[0][1].startswith("typed\n1\n/\n")
    assert found[1:] == [found[0]] * 3


def test_who_was_killed_while_keeping_it_leaves_nothing_for_long(state: Path) -> None:
    (place,) = (state / "lib" / "containers").glob("*/config.json")
    (place.parent / "entering").unlink(missing_ok=True)
    killed = place.parent / ".entering.0123456789ab"
    killed.write_bytes(b"half")
    before = {*os.listdir(place.parent)}
    said("exec", "box", "true")  # the long way, since nothing is kept
    assert {*os.listdir(place.parent)} == before - {killed.name} | {"entering"}


def test_what_the_short_way_notes_and_answers() -> None:
    said("exec", "box", "true")
    since = said("events", "--until", "0s", "--since", "1h", "--format", "json").count("exec_die")
    assert labkit("exec", "box", "sh", "-c", "kill -9 $$").returncode == 137
    assert labkit("exec", "box", "nosuch").returncode == 127
    assert labkit("exec", "box", "/etc").returncode == 126
    assert labkit("exec", "nobody", "true").returncode == 1
    lines = said("events", "--until", "0s", "--since", "1h", "--format", "json").splitlines()
    found = [json.loads(line) for line in lines if "exec_" in line]
    assert sum(each["Action"] == "exec_die" for each in found) == since + 3
    for each in found:
        about = each["Actor"]["Attributes"]
        assert (about["name"], about["image"], about["kind"]) == ("box", "busybox", "light")
    codes = [each["Actor"]["Attributes"].get("exitCode") for each in found]
    assert [code for code in codes if code][-3:] == ["137", "127", "126"]


@pytest.mark.parametrize("digits", [3, 12, 64])
def test_exec_by_an_id(digits: int) -> None:
    (found,) = record.every()
    for _ in range(2):
        assert said("exec", found.id[:digits], "hostname") == f"{found.short}\n"


def test_another_run_of_the_container_is_entered_as_it_is() -> None:
    said("exec", "box", "true")
    said("restart", "-t", "0", "box")
    for _ in range(2):
        assert said("exec", "box", "ps").splitlines()[1].split()[0] == "1"
    said("update", "--pids-limit", "50", "box")
    said("pause", "box")
    assert "is paused, unpause" in labkit("exec", "box", "true").stderr
    said("unpause", "box")
    said("exec", "box", "true")


def test_many_at_once() -> None:
    """Each score on its way to one monitor has an address of its own."""
    with ThreadPoolExecutor(8) as pool:
        words = ("exec", "box", "sh", "-c", "echo in; sleep 0.3")
        done = [*pool.map(lambda _: labkit(*words), range(16))]
    assert [(each.stdout, each.stderr) for each in done] == [("in\n", "")] * 16


def test_output_of_any_length() -> None:
    said("exec", "box", "true")
    script = "head -c 3000000 /dev/zero; head -c 1000000 /dev/zero >&2"
    done = subprocess.run([*LABKIT, "exec", "box", "sh", "-c", script], capture_output=True)
    assert (len(done.stdout), len(done.stderr), done.returncode) == (3000000, 1000000, 0)


@pytest.mark.parametrize(
    ("results", "came"),
    [
        ([0, None], True),  # an execve without a result has worked
        ([0, -2, None], True),
        ([0, -13, None], False),  # only a file that is not there is passed over
        ([0, -2, -2], False),
        ([-1, None], False),
        ([None, None], False),  # the child has been killed before
    ],
)
def test_whether_a_program_has_run(results: list[int | None], came: bool) -> None:
    before = kept.Kept(59, [0] * layout.HEAD, b"", [])
    before.sheet = [*before.sheet, 3, *[0] * 6, 0, 0]
    paths = [b"/bin/true"] * (len(results) - 1)
    sheet = memoryview(bytearray(before.score(1 << 20, paths, [b"true"], []))).cast("q")
    sheet[layout.COUNT] = len(results)
    for number, result in enumerate(results):
        place = layout.HEAD + layout.CALL * number + layout.RESULT
        sheet[place] = layout.NOT_MADE if result is None else result
    assert before.ran(bytes(sheet)) == came


# --- run ----------------------------------------------------------------------------------------


def test_a_monitor_that_was_started_ahead_ends_when_nobody_needs_it() -> None:
    ahead.start()
    ((_, pid),) = ahead._waiting
    ahead.drop()
    assert not os.path.exists(f"/proc/{pid}")
    script = "from labkit.monitor import ahead; ahead.start(); print(ahead._waiting[0][1])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    until(lambda: not os.path.exists(f"/proc/{done.stdout.strip()}"))  # nor when its caller ends
    assert labkit("run", "--nosuch", "busybox").returncode == 125
    ignoring = ["sh", "-c", 'trap "" CHLD; exec "$@"', "sh", *LABKIT, "run", "--nosuch", "busybox"]
    done = subprocess.run(ignoring, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (125, False)


def test_a_monitor_keeps_nothing_open_of_its_callers() -> None:
    reading, writing = os.pipe()
    words = [*LABKIT, "run", "-d", "--network", "none", "busybox", "sleep", "99"]
    done = subprocess.run(words, pass_fds=[writing], capture_output=True, text=True)
    os.close(writing)
    assert os.read(reading, 1) == b""  # its end, though the container runs
    os.close(reading)
    assert said("inspect", "-f", "{{.State.Running}}", done.stdout.strip()) == "true\n"
    said("rm", "-f", done.stdout.strip())


def test_who_goes_at_its_end_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    words = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync", *LABKIT, "run"]
    run = ("--network", "none", "busybox", "true")
    for options, waits in (("--rm",), False), ((), True):
        subprocess.run([*words, *options, *run], check=True, capture_output=True)
        assert ("sync(" in trace.read_text()) == waits


def test_a_document_that_a_power_cut_has_emptied_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert document.read(str(tmp_path / "empty"), "none") == "none"


# --- Stand-ins ----------------------------------------------------------------------------------


class Real(typing.NamedTuple):
    """A tuple by the module typing."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


class Quick(ours_typing.NamedTuple):
    """The same by ours."""

    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


@pytest.mark.parametrize("given", [(1,), (1, "x"), (1, "x", (2,))])
def test_a_named_tuple_is_as_typing_makes_it(given: tuple[typing.Any, ...]) -> None:
    real, quick = Real(*given), Quick(*given)
    assert repr(quick) == repr(real).replace("Real", "Quick")
    assert tuple(quick) == tuple(real)
    assert quick == tuple(real)
    assert hash(quick) == hash(real)
    assert (quick._asdict(), quick._fields) == (real._asdict(), real._fields)
    assert tuple(quick._replace(b="new")) == tuple(real._replace(b="new"))
    assert tuple(Quick(c=(1,), a=2)) == tuple(Real(c=(1,), a=2))
    assert Quick.__match_args__ == Real.__match_args__
    assert Quick._field_defaults == Real._field_defaults
    assert pickle.loads(pickle.dumps(quick)) == copy.copy(quick) == quick  # noqa: S301 - ours
    assert isinstance(copy.copy(quick), Quick)
    match quick:
        case Quick(a=1, b=text):
            assert text == quick[1] == quick.b
    a, *_ = quick
    assert a == quick.a


@pytest.mark.parametrize(("args", "named"), [((), {}), ((1, 2, 3, 4), {}), ((1,), {"d": 1})])
def test_a_named_tuple_refuses_what_typing_refuses(
    args: tuple[typing.Any, ...], named: dict[str, typing.Any]
) -> None:
    for each in (Real, Quick):
        with pytest.raises(TypeError):
            each(*args, **named)
    with pytest.raises(TypeError):
        Quick(1, a=1)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Quick(1).a = 2  # type: ignore[misc]


def test_patterns_are_those_of_re() -> None:
    pattern = ours_re.compile("(?P<first>a+)b", ours_re.IGNORECASE)
    real = re.compile("(?P<first>a+)b", re.IGNORECASE)
    found, expected = pattern.fullmatch("AAb"), real.fullmatch("AAb")
    assert found
    assert expected
    assert (found["first"], found.span()) == (expected["first"], expected.span())
    assert pattern.pattern == real.pattern
    assert ours_re.sub("a", "b", "aa") == "bb"
    assert (ours_re.ASCII, ours_re.DOTALL) == (re.ASCII, re.DOTALL)
    with pytest.raises(AttributeError):
        ours_re.nosuch  # noqa: B018


def test_sha256_is_that_of_hashlib() -> None:
    assert ours_sha256(b"abc").hexdigest() == hashlib.sha256(b"abc").hexdigest()


NAMES = ["", "a", "-a", "a.b_c-d", "A0", "é", "a b", "a" * 128, "a" * 129, "1\n", "\n"]


@pytest.mark.parametrize("text", NAMES)
def test_letters_are_looked_at_as_by_a_regular_expression(text: str) -> None:
    assert letters.is_name(text, 128) == bool(
        re.fullmatch("[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", text)
    )
    assert letters.only(text, letters.HEXADECIMAL) == bool(re.fullmatch("[0-9a-f]+", text))
    for number in (text, "1", "-12", "+0", "--1", "+", "1.0", "١", "1_0"):
        assert letters.is_whole(number) == bool(re.fullmatch("[+-]?[0-9]+", number))


REFERENCES = [
    "busybox",
    "busybox:1.0",
    "a/b",
    "a/b/c:x_y",
    "a//b",
    "/a",
    "a/",
    "a:",
    "a:-b",
    "a:_b",
]
REFERENCES += ["A", "a_b", "a__b", "a..b", "localhost/a", "x.io/a:b", "a@sha256:" + "0" * 64]
REFERENCES += ["0" * 64, "a:" + "b" * 128, "a:" + "b" * 129, "a" * 256, "a:b:c", "a b", "é"]


@pytest.mark.parametrize("text", REFERENCES)
def test_a_usual_name_of_an_image_is_read_as_any_other(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> object:
        try:
            return reference.parse(text)
        except ValueError as error:
            return str(error)

    quickly = read()
    monkeypatch.setattr(reference, "_usual", lambda *_: None)
    assert read() == quickly


@pytest.mark.parametrize(
    "subnet", ["10.88.0.0/16", "192.0.2.4/30", "fd00:88::/64", "2001:db8::/126"]
)
def test_the_addresses_of_a_subnet_are_those_of_ipaddress(subnet: str) -> None:
    real, quick = ipaddress.ip_network(subnet), subnets.Addresses(subnet)
    assert quick.count == real.num_addresses
    for number in (0, 1, 2, real.num_addresses - 1):
        assert quick[number] == str(real[number])
        assert quick.number(str(real[number])) == number
    assert str(quick) == subnet


def test_the_filter_of_a_profile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_STATE", str(tmp_path))
    kept_caps = ("CAP_CHOWN",)
    made = seccomp_filter.assemble(seccomp_filter.default(), kept_caps)
    assert seccomp._default(kept_caps) == made  # assembled, and kept
    monkeypatch.setattr(seccomp, "_assembled", lambda _: pytest.fail("it was kept"))
    assert seccomp._default(kept_caps) == made
    (file,) = (tmp_path / "run").glob("filter-*")
    file.write_bytes(b"of another profile\n" + made)
    monkeypatch.setattr(seccomp, "_assembled", lambda _: made)
    assert seccomp._default(kept_caps) == made
    assert not file.read_bytes().startswith(b"of another")


VALUES = [
    {"a": [1, -2.5, True, None, 'é"\\\n\x7f\u2028'], "b": {}, "c": [], "d": {"e": [[], {"f": 0}]}},
    [float("inf"), -float("inf"), 1e300, 10**40, (1, 2)],
    {1: "a", None: "b", False: "c"},
    "\udc80",
    0,
]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii", [True, False])
def test_json_is_written_as_json_does(value: object, indent: int | None, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assert ours.dumps(value, indent=indent, ensure_ascii=ascii) == text
    assert ours.loads(f" \n{text}\t\n") == json.loads(text)


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", "1 2", '{"a" 1}', '"\n"', "\ufeff1", "-"])
def test_what_is_no_json_is_refused_as_json_does(text: str) -> None:
    with pytest.raises(ValueError, match=":") as expected:
        json.loads(text)
    with pytest.raises(ValueError, match=":") as found:
        ours.loads(text)
    assert str(found.value) == str(expected.value)


def test_json_of_a_value_that_it_does_not_know() -> None:
    assert ours.dumps([{1}], default=sorted) == json.dumps([{1}], default=sorted)
    with pytest.raises(TypeError, match="set is not JSON serializable"):
        ours.dumps({"a": {1}})
    assert ours.loads(b"[1]") == [1]
    assert os.environ["LABKIT_LANG"]
