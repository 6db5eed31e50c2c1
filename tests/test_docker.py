"""docker run, read as docker reads it: what is built, and when the rest comes."""

import re
import shlex
import subprocess

import pytest

from labkit import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    Clone,
    Container,
    run,
)
from labkit.docker.lessons import LATER
from labkit.docker.options import _OPTIONS, _SHORT, _SWITCHES, Order, Refused, parse
from labkit.text.words import words_of

DEFAULT = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
CHINESE = re.compile(r"[\u4e00-\u9fff]")
# The options of docker run, from its reference page; each is built, or arrives, or has no lesson.
REAL = """
add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent
cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime
cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys device device-cgroup-rule
device-read-bps device-read-iops device-write-bps device-write-iops disable-content-trust dns
dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd
health-interval health-retries health-start-interval health-start-period health-timeout
hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label
label-file link link-local-ip log-driver log-opt mac-address memory memory-reservation
memory-swap memory-swappiness mount name network network-alias no-healthcheck oom-kill-disable
oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet read-only
restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl
tmpfs tty ulimit use-api-socket user userns uts volume volume-driver volumes-from workdir
"""


def order(line: str) -> Order:
    return parse(shlex.split(line))


def box(line: str) -> Container:
    return order(f"run {line}").box


def test_the_line_of_the_notes() -> None:
    asked = order("run --rm -it ubuntu /bin/bash")
    assert (asked.image, asked.interactive, asked.box.tty) == ("ubuntu", True, True)
    assert asked.box.argv == ("/bin/bash",)
    assert asked.box.cloneflags == DEFAULT
    assert (asked.box.proc, asked.box.cwd) == (True, "/")
    assert re.fullmatch("[0-9a-f]{12}", asked.box.hostname or "")
    assert asked.box.env
    assert asked.box.env["HOSTNAME"] == asked.box.hostname
    assert asked.box.env["TERM"] == "xterm"
    assert order("run --rm -it ubuntu /bin/bash").box.hostname != asked.box.hostname


@pytest.mark.parametrize(
    ("line", "on"),
    [
        ("u true", (False, False)),
        ("-i u true", (True, False)),
        ("-t u true", (False, True)),
        ("-ti u true", (True, True)),
        ("--interactive --tty u true", (True, True)),
        ("-it=false u true", (True, False)),
        ("--tty=T --interactive=0 u true", (False, True)),
        ("u true -it", (False, False)),
        ("-i -- u true", (True, False)),
    ],
)
def test_switches(line: str, on: tuple[bool, bool]) -> None:
    asked = order(f"run {line}")
    assert (asked.interactive, asked.box.tty) == on


@pytest.mark.parametrize("spelt", ["-h box", "-hbox", "-h=box", "--hostname box", "--hostname=box"])
def test_a_value_stands_in_the_word_or_after_it(spelt: str) -> None:
    assert box(f"{spelt} u true").hostname == "box"
    assert box(f"-t{spelt[1:]} u true" if spelt[1] != "-" else f"{spelt} -t u true").tty


def test_what_follows_the_image_is_the_programs() -> None:
    assert box("u sh -c 'echo $HOME -h' --rm").argv == ("sh", "-c", "echo $HOME -h", "--rm")


def test_the_environment_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    monkeypatch.delenv("NOT_HERE", raising=False)
    env = box("-e A=1=2 -eB= --env FROM_HERE -e NOT_HERE -e PATH=/bin u true").env
    assert env
    assert {name: env[name] for name in ("A", "B", "FROM_HERE", "PATH")} == {
        "A": "1=2",
        "B": "",
        "FROM_HERE": "here",
        "PATH": "/bin",
    }
    assert set(env) == {"A", "B", "FROM_HERE", "PATH", "HOSTNAME", "HOME", "LANG"}


@pytest.mark.parametrize(
    ("option", "flags"),
    [
        ("--network none", DEFAULT),
        ("--net=host", DEFAULT & ~CLONE_NEWNET),
        ("--pid host", DEFAULT & ~CLONE_NEWPID),
        ("--uts host", DEFAULT & ~CLONE_NEWUTS),
        ("--ipc host", DEFAULT & ~CLONE_NEWIPC),
        ("--ipc private", DEFAULT),
        ("--cgroupns private", DEFAULT | CLONE_NEWCGROUP),
        ("--privileged --rm", DEFAULT),
    ],
)
def test_namespaces(option: str, flags: Clone) -> None:
    asked = box(f"{option} u true")
    assert asked.cloneflags == flags
    assert asked.proc == bool(flags & CLONE_NEWPID)


def test_the_container_is_what_was_asked_for() -> None:
    script = "hostname; pwd; echo $A; id -u; ps -o pid=,args= | head -1; ls /sys/class/net | wc -l"
    done = run(box(f"-h box -w /tmp -e A=盒子 u sh -c {shlex.quote(script)}"))
    name, place, value, user, process, _ = done.stdout.splitlines()
    assert (name, place, value, user) == ("box", "/tmp", "盒子", "0")
    assert process.split()[:3] == ["1", "sh", "-c"]
    host = run(box("--network host u hostname")).stdout
    assert host == subprocess.check_output("hostname", text=True)


def test_every_option_of_docker_run_is_known_once() -> None:
    known = [*_SWITCHES, *_OPTIONS, *LATER]
    assert len(set(known)) == len(known)
    assert set(REAL.split()) <= set(known)
    assert set(_SHORT.values()) <= set(REAL.split())


@pytest.mark.parametrize("option", sorted(LATER))
def test_an_option_that_is_not_built_says_when_it_comes(option: str) -> None:
    with pytest.raises(Refused) as caught:
        order(f"run --{option}=1 u true")
    (words,) = words_of(caught.value)
    assert f"--{option} " in words.zh
    assert f"--{option} is not here yet: it " in words.en
    assert re.search(r"V0\.5|V0\.6|还没有哪一课", words.zh)
    assert re.search(r"V0\.5|V0\.6|no lesson", words.en)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("", "only run"),
        ("ps -a", "'ps'"),
        ("run", "no image and program"),
        ("run -it", "no image and program"),
        ("run ubuntu", "what to run"),
        ("run /bin/bash", "no image's name"),
        ("run Ubuntu sh", "no image's name"),
        ("run --nonsense u true", "no option --nonsense"),
        ("run -Z u true", "no option -Z"),
        ("run -m 1g u true", "-m, --memory is not here yet"),
        ("run -itm1g u true", "-m, --memory is not here yet"),
        ("run --rm=maybe u true", "true or false"),
        ("run -w here u true", "absolute path"),
        ("run -h", "needs an argument"),
        ("run --pid container:x u true", "only host"),
        ("run --ipc shareable u true", "host | private"),
        ("run --network bridge u true", "--network bridge is not here yet"),
        ("run --uts host -h box u true", "CLONE_NEWUTS"),
        ("run -e =x u true", "not a variable's name"),
    ],
)
def test_what_cannot_be_done_is_said_in_both_languages(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        order(line)
    assert CHINESE.search(str(caught.value))
    assert "Error" not in str(caught.value)


def test_a_language_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LANG", "en")
    with pytest.raises(Refused) as caught:
        order("run -v /a:/b u true")
    assert not CHINESE.search(str(caught.value))
    assert "root directory and images" in str(caught.value)
