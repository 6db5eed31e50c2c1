"""docker run, read as docker reads it: what is built, and when the rest comes."""

import json
import os
import pwd
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import until

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
    start,
)
from labkit.cgroups.limits import Limits
from labkit.docker import rights, usage
from labkit.docker.absent import ABSENT, Refused, absent
from labkit.docker.grammar import SHORT, HelpAsked
from labkit.docker.options import OPTIONS, SWITCHES
from labkit.docker.order import Order, parse
from labkit.docker.rights import DEFAULT as DEFAULT_CAPABILITIES
from labkit.docker.rights import available
from labkit.linux.capabilities import names
from labkit.linux.proc import stat
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


@pytest.mark.parametrize("spelt", ["-h ''", "-h=", "--hostname ''", "--hostname="])
def test_an_empty_host_name_is_the_default(spelt: str) -> None:
    asked = box(f"{spelt} u true")
    assert re.fullmatch("[0-9a-f]{12}", asked.hostname or "")
    assert asked.env
    assert asked.env["HOSTNAME"] == asked.hostname


@pytest.mark.parametrize("image", ["u:1", "h:5000/a/b@sha256:" + "0" * 64, "0" * 64, "a" * 12])
def test_an_image_is_a_name_or_an_id(image: str) -> None:
    assert order(f"run {image} true").image == image


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
        ("--ipc shareable", DEFAULT),
        ("--pid host --init", DEFAULT & ~CLONE_NEWPID),
        ("--cgroupns private", DEFAULT | CLONE_NEWCGROUP),
        ("--privileged --rm", DEFAULT),
        ("--userns host", DEFAULT),
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


def test_what_is_mounted_is_in_a_root_of_its_own(tmp_path: Path) -> None:
    """As long as there are no images, it has this machine's files. Changes are in memory."""
    (tmp_path / "note").write_text("of the host\n")
    script = "cat /docs/note; touch /x /docs/x /run/x; ls /run; cat /proc/timer_list | wc -l"
    options = f"--read-only -v {tmp_path}:/docs:ro --tmpfs /run"
    done = run(box(f"{options} u sh -c {shlex.quote(script)}"))
    assert done.stdout.split() == ["of", "the", "host", "x", "0"]
    assert done.stderr.count("Read-only file system") == 2
    kept = run(box(f"-v {tmp_path}:/docs u sh -c 'touch /labkit-new /docs/new && ls -d /labkit*'"))
    assert kept.stdout == "/labkit-new\n"
    assert not os.path.exists("/labkit-new")
    assert (tmp_path / "new").exists()
    open_ = "--security-opt systempaths=unconfined --tmpfs /run"
    shown = run(box(f"{open_} u sh -c 'cat /proc/timer_list | wc -l'")).stdout
    assert int(shown) > 0
    assert box("u true").root is None


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("-v /a:/b:x", "invalid mode: x"),
        ("-v /a:b", "mount path must be absolute"),
        ("--tmpfs /run:siez=1m", "no such option"),
        ("--read-only=maybe", "true or false"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(option: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        box(f"{option} u true").fields_on()


def test_every_option_of_docker_run_is_known_once() -> None:
    known = [*SWITCHES, *OPTIONS, *ABSENT]
    assert len(set(known)) == len(known)
    assert set(REAL.split()) <= set(known)
    assert set(SHORT.values()) <= set(REAL.split())


@pytest.mark.parametrize("option", sorted(ABSENT))
def test_an_option_that_is_not_here_says_why(option: str) -> None:
    with pytest.raises(Refused) as caught:
        order(f"run --{option}=1 u true")
    assert words_of(caught.value) == (absent(f"--{option}", ABSENT[option]),)
    assert f"--{option} is not here: " in words_of(caught.value)[0].en


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("version", "only run and create"),
        ("ps -a", "'ps'"),
        ("run", "'docker run' requires at least 1 argument"),
        ("run -it", "'docker run' requires at least 1 argument"),
        ("run /bin/bash", "invalid reference format"),
        ("run Ubuntu sh", "repository name (library/Ubuntu) must be lowercase"),
        ("run a..b true", "invalid reference format"),
        ("run ubuntu: true", "invalid reference format"),
        ("run --nonsense u true", "unknown flag: --nonsense"),
        ("run -Z u true", "unknown shorthand flag: 'Z' in -Z"),
        ("run -itp 80:x u true", "invalid containerPort: x"),
        ("run -m 1m u true", "Minimum memory limit allowed is 6MB"),
        ("run --cpus much u true", "failed to parse much as a rational number"),
        (
            "run --pids-limit many u true",
            'for "--pids-limit" flag: strconv.ParseInt: parsing "many"',
        ),
        ("run --device /dev/fuse:/dev/other u true", "the path inside is the same"),
        ("run --device-read-bps 5m u true", "--device-read-bps is as /dev/sda:10m"),
        ("run --rm=maybe u true", 'invalid argument "maybe" for "--rm" flag'),
        (
            "run -w here u true",
            "the working directory 'here' is invalid, it needs to be an absolute",
        ),
        ("run -h", "flag needs an argument: 'h' in -h"),
        ("run --pid container: u true", "--pid: invalid PID mode"),
        ("run --ipc container:x u true", "No such container: x"),
        ("run --network _bridge u true", "is no name of a network"),
        ("run --uts host -h box u true", "hostname and the UTS mode"),
        ("run -e =x u true", "invalid environment variable: =x"),
        ("run --cap-add nope u true", 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
        ("run --cap-drop CAP_NOPE u true", 'invalid CapDrop: unknown capability: "CAP_NOPE"'),
        ("run --user nosuch u true", "unable to find user nosuch: no matching entries in passwd"),
        ("run -u 0:nosuch u true", "unable to find group nosuch: no matching entries in group"),
        ("run --group-add nosuch u true", "unable to find group nosuch: no matching entries"),
        ("run --user 2147483648 u true", "uids and gids must be in range 0-2147483647"),
        ("run --user=-1 u true", "uids and gids must be in range 0-2147483647"),
        ("run --group-add 4294967295 u true", "uids and gids must be in range 0-2147483647"),
        ("run --userns private u true", "--userns: invalid USER mode"),
        ("run --security-opt nonsense u true", 'Invalid --security-opt: "nonsense"'),
        ("run --security-opt disable u true", 'Invalid --security-opt: "disable"'),
        ("run --security-opt seccomp= u true", 'Invalid --security-opt: "seccomp="'),
        ("run --security-opt a=b u true", 'invalid --security-opt 2: "a=b"'),
        (
            "run --security-opt no-new-privileges=perhaps u true",
            'invalid --security-opt 2: "no-new-privileges=perhaps"',
        ),
        (
            "run --security-opt seccomp=/nowhere u true",
            "opening seccomp profile (/nowhere) failed: open /nowhere: no such file or directory",
        ),
        (
            "run --security-opt seccomp=/etc/passwd u true",
            "compacting json for seccomp profile (/etc/passwd) failed",
        ),
        ("run --security-opt apparmor=mine u true", "no AppArmor profile"),
        ("run --security-opt label=type:mine u true", "no SELinux label"),
        ("run --security-opt writable-cgroups=true u true", "no /sys/fs/cgroup of their own"),
    ],
)
def test_what_cannot_be_done_is_said_in_both_languages(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as caught:
        order(line).box.fields_on()
    assert CHINESE.search(str(caught.value))
    assert "Error" not in str(caught.value)


def test_who_writes_the_program_first_is_told_how() -> None:
    with pytest.raises(Refused) as caught:
        order("run /bin/bash")
    assert "docker run ubuntu /bin/bash" in words_of(caught.value)[1].en


@pytest.mark.parametrize("line", ["", "help", "--help", "run --help", "run -it --help u sh"])
def test_help_is_asked_for(line: str) -> None:
    with pytest.raises(HelpAsked):
        order(line)


def test_help_after_the_image_is_the_programs() -> None:
    assert order("run u sh --help").box.argv == ("sh", "--help")


def test_the_help_has_each_option_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is here, which lesson brings the others, in either language or both."""
    for language, first in ("zh", "用法"), ("en", "Usage"), ("", "用法"):
        monkeypatch.setenv("LABKIT_LANG", language)
        text = usage.text()
        assert text.startswith(first)
        assert bool(CHINESE.search(text)) == (language != "en")
        assert ("Options" in text) == (language != "zh")
        assert all(len(line) <= 100 for line in text.splitlines())
    here, not_here = text.split("Options that are not here:")
    assert set(usage.OPTIONS) == {*SWITCHES, *OPTIONS} - {"net", "net-alias", "dns-opt"}
    for option in usage.OPTIONS:
        assert re.search(rf"^  (-., )?--{option} .+", here, re.MULTILINE)
    for option, why in ABSENT.items():
        below = not_here.partition(f"{why.en}\n")[2]
        assert f"--{option}" in re.split(r"\n(?!    )", below)[0].split()


def test_a_language_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LANG", "en")
    with pytest.raises(Refused) as caught:
        order("run --mount type=image u true")
    assert not CHINESE.search(str(caught.value))
    assert "type=image is not here" in str(caught.value)


# --- Who the program is and what it may do ------------------------------------------------------

ROOTS_OWN = set(DEFAULT_CAPABILITIES)


def kernel_says(line: str) -> dict[str, str]:
    """/proc/self/status of a program of ``docker run``."""
    lines = run(box(f"{line} u cat /proc/self/status")).stdout.splitlines()
    return {name: value.strip() for name, _, value in (each.partition(":") for each in lines)}


def held(text: str) -> set[str]:
    return set(names(int(text, 16)))


def test_a_container_has_dockers_14_capabilities_and_its_filter() -> None:
    said = kernel_says("")
    assert len(DEFAULT_CAPABILITIES) == 14
    for kind in ("CapBnd", "CapPrm", "CapEff"):
        assert held(said[kind]) == ROOTS_OWN
    assert (said["CapInh"], said["CapAmb"]) == ("0" * 16, "0" * 16)
    assert (said["Seccomp"], said["NoNewPrivs"]) == ("2", "0")
    for program in ("unshare --uts true", "mount -t tmpfs none /mnt"):
        assert run(box(f"u {program}")).returncode != 0
        assert run(box(f"--privileged u {program}")).returncode == 0


def test_privileged_lifts_both_limits() -> None:
    said = kernel_says("--privileged --cap-drop ALL")
    assert held(said["CapEff"]) == set(available())
    assert said["Seccomp"] == "0"
    assert kernel_says("--privileged --security-opt seccomp=builtin")["Seccomp"] == "2"


@pytest.mark.parametrize(
    ("line", "added", "dropped"),
    [
        ("--cap-drop chown", "", "CHOWN"),
        ("--cap-drop CAP_CHOWN --cap-drop=Kill", "", "CHOWN KILL"),
        ("--cap-add sys_admin --cap-add CAP_SYS_NICE", "SYS_ADMIN SYS_NICE", ""),
        ("--cap-add chown --cap-drop chown", "", ""),
        ("--cap-drop all --cap-add kill", "KILL", "ALL"),
        ("--cap-drop all --cap-drop kill --cap-add sys_time", "SYS_TIME", "ALL"),
        ("--cap-drop ALL", "", "ALL"),
        ("--cap-drop ALL --cap-drop ALL --cap-add ALL", "ALL", ""),
        ("--cap-add ALL --cap-drop sys_admin", "ALL", "SYS_ADMIN"),
        ("--cap-add ALL --cap-add chown --cap-drop chown", "ALL", "CHOWN"),
        ("--cap-add all", "ALL", ""),
    ],
)
def test_capabilities_come_and_go(line: str, added: str, dropped: str) -> None:
    """As docker/cli's opts.EffectiveCapAddCapDrop and moby's caps.TweakCapabilities."""
    plus, minus = ({f"CAP_{name}" for name in each.split()} for each in (added, dropped))
    wanted = set() if minus == {"CAP_ALL"} else ROOTS_OWN
    wanted = set(available()) if plus == {"CAP_ALL"} else wanted | plus
    assert held(kernel_says(line)["CapEff"]) == wanted - minus


def test_what_the_caller_lacks_nobody_gets() -> None:
    script = """
from labkit.docker.order import parse
from labkit import run
import shlex
for line in ("", "--cap-add ALL", "--cap-drop all --cap-add kill", "--cap-add sys_time"):
    try:
        words = shlex.split(f"run {line} u grep CapEff /proc/self/status")
        print(run(parse(words).box).stdout.split()[1])
    except ValueError as error:
        print(error)
"""
    words = ["setpriv", "--bounding-set=-sys_time,-mknod", sys.executable, "-c", script]
    env = {**os.environ, "LABKIT_LANG": "en"}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=True)
    default, everything, kill, refused = done.stdout.splitlines()
    assert held(default) == ROOTS_OWN - {"CAP_MKNOD"}
    assert held(everything) == set(available()) - {"CAP_MKNOD", "CAP_SYS_TIME"}
    assert held(kill) == {"CAP_KILL"}
    assert refused == (
        "invalid CapAdd: capability not supported by your kernel or not available in the current "
        'environment: "CAP_SYS_TIME"'
    )


USERS = """root:x:0:0:root:/root:/bin/sh
# mallory:x:1:1::/:/bin/sh

ann:x:1000:1001:Ann:/home/ann:/bin/sh
1234:x:1002:1002:a name of digits:/home/digits:/bin/sh
broken line
ann:x:2000:2000:the second of that name:/:/bin/sh
"""
GROUPS = """root:x:0:
wheel:x:10:root,ann
annas:x:1001:
audio:x:29:bob,ann
video:x:44:anna
"""


@pytest.mark.parametrize(
    ("spec", "added", "found"),
    [
        ("ann", "", (1000, 1001, (1001, 10, 29))),
        ("1000", "", (1000, 1001, (1001, 10, 29))),
        ("ann:", "", (1000, 1001, (1001, 10, 29))),
        ("ann:video", "", (1000, 44, (44,))),
        ("ann:7", "", (1000, 7, (7,))),
        ("ann", "video 7 annas", (1000, 1001, (1001, 10, 29, 44, 7))),
        ("5000", "", (5000, 0, (0,))),
        ("5000:audio", "video video", (5000, 29, (29, 44))),
        ("1234", "", (1234, 0, (0,))),
        ("", "audio", (0, 0, (0, 10, 29))),
        (":audio", "", (0, 29, (29,))),
        ("+1000", "", (1000, 1001, (1001, 10, 29))),
        ("2147483647:2147483647", "", (2147483647, 2147483647, (2147483647,))),
    ],
)
def test_users_are_looked_up_as_docker_does(
    tmp_path: Path, spec: str, added: str, found: tuple[object, ...]
) -> None:
    """As moby/sys/user: GetExecUser and GetAdditionalGroups."""
    files = {name: str(tmp_path / name) for name in ("passwd", "group")}
    (tmp_path / "passwd").write_text(USERS)
    (tmp_path / "group").write_text(GROUPS)
    assert rights.user(spec, added.split(), files) == found
    home = {0: "/root", 1000: "/home/ann"}.get(rights.user(spec, (), files)[0], "/")
    assert rights.home(rights.user(spec, (), files)[0], files) == home


def test_without_the_files_numbers_are_enough() -> None:
    assert rights.user("5", ["6"], {}) == (5, 0, (0, 6))
    with pytest.raises(Refused, match="unable to find user root"):
        rights.user("root", (), {})


def test_another_user_has_no_power_left() -> None:
    said = kernel_says("--user nobody --group-add 4 --cap-add sys_admin")
    uid, gid = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("nobody").pw_gid
    assert said["Uid"].split() == [str(uid)] * 4
    assert said["Gid"].split() == [str(gid)] * 4
    assert said["Groups"].split() == ["4", str(gid)]
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert said[kind] == "0" * 16
    assert held(said["CapBnd"]) == ROOTS_OWN | {"CAP_SYS_ADMIN"}
    for line in ("-u 5:6 --privileged", "-u 5:6 --security-opt seccomp=unconfined"):
        said = kernel_says(line)
        assert (said["Uid"][0], said["Gid"][0], said["Groups"]) == ("5", "6", "6")
        assert said["CapEff"] == said["CapPrm"] == "0" * 16


def test_another_user_is_at_home_and_dies_with_the_engine() -> None:
    assert run(box("--user nobody u sh -c 'echo $HOME'")).stdout == "/nonexistent\n"
    assert run(box("--user 12345 u sh -c 'echo $HOME'")).stdout == "/\n"
    with start(box("--user 5 --pid host u sleep 1000")) as running:
        done = running.exec(("sh", "-c", "id -u; grep CapEff /proc/self/status"))
        assert done.stdout.split() == ["5", "CapEff:", "0" * 16]
        pid, engine = running.pid, stat(running.pid).ppid
        os.kill(engine, signal.SIGKILL)
        until(lambda: not os.path.exists(f"/proc/{pid}"))


def test_who_is_not_root_may_ask_for_it_all_in_a_user_namespace(nobody: list[str]) -> None:
    script = """
from labkit.docker.order import parse
from labkit.engine.connection import rootless
from labkit import run
import shlex
def status(line):
    words = shlex.split(f"run {line} u cat /proc/self/status")
    return dict(each.split(":\\t", 1) for each in run(parse(words).box).stdout.splitlines())
with rootless():
    print(*(status("")[name].split()[0] for name in ("Uid", "CapEff", "Seccomp")))
    print(*(status("--user root --cap-drop all")[name].split()[0] for name in ("Uid", "CapEff")))
    try:
        status("--user 5")
    except OSError as error:
        print(error)
        print(*error.__notes__)
"""
    done = subprocess.run([*nobody, "-c", script], capture_output=True, text=True)
    default, dropped, refused, *why = done.stdout.splitlines()
    user, caps, seccomp = default.split()
    assert (user, held(caps), seccomp) == ("0", ROOTS_OWN, "2"), done.stderr
    assert dropped.split() == ["0", "0" * 16]
    assert "setres" in refused
    assert "Invalid argument" in refused
    assert "do not have that ID" in str(why)


@pytest.mark.parametrize(
    ("line", "on"),
    [
        ("no-new-privileges", True),
        ("no-new-privileges:true", True),
        ("no-new-privileges=1", True),
        ("no-new-privileges:false", False),
        ("no-new-privileges=F", False),
        ("no-new-privileges --security-opt no-new-privileges=false", False),
    ],
)
def test_no_new_privileges(line: str, on: bool) -> None:
    said = kernel_says(f"--security-opt {line}")
    assert said["NoNewPrivs"] == str(int(on))
    assert said["Seccomp"] == "2"


def test_a_seccomp_profile_is_read_where_the_command_is(tmp_path: Path) -> None:
    profile = tmp_path / "a profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    option = shlex.quote(f"--security-opt=seccomp={profile}")
    asked = box(f"{option} u sh -c 'mkdir {tmp_path}/new || true'")
    profile.unlink()
    assert "not permitted" in run(asked).stderr
    assert kernel_says("--security-opt seccomp=unconfined")["Seccomp"] == "0"
    assert kernel_says("--security-opt seccomp:builtin")["Seccomp"] == "2"
    profile.write_text("[]")
    with pytest.raises(Refused, match="is no JSON object"):
        box(f"{option} u true")


@pytest.mark.parametrize(
    ("option", "zh", "en"),
    [
        ("apparmor=unconfined", "AppArmor", "no AppArmor profile"),
        ("apparmor:unconfined", "AppArmor", "no AppArmor profile"),
        ("label=disable", "SELinux", "no SELinux label"),
        ("systempaths=unconfined", "遮住", "no path of /proc and /sys is masked"),
    ],
)
def test_what_is_not_there_is_said(option: str, zh: str, en: str) -> None:
    asked = order(f"run --security-opt {option} u true")
    assert [zh in note.zh and en in note.en for note in asked.notes] == [False, True]


def test_limits_are_read_as_docker_reads_them() -> None:
    line = "run -m 64m --memory-swap=-1 --cpus .5 -c 512 --cpuset-cpus 0,0 --pids-limit 9 "
    line += "--device /dev/fuse --device /dev/null:/dev/null:r --device-cgroup-rule 'c 1:3 rwm' "
    line += "--device-read-bps 8:0:1m --device-write-iops 8:0:5 u true"
    assert order(line).box.limits == Limits(
        memory=64 << 20, memory_swap=-1, cpus=0.5, cpu_shares=512, cpuset="0,0", pids=9,
        devices=("/dev/fuse", "/dev/null:r", "c 1:3 rwm"),
        io={"8:0": {"rbps": 1 << 20, "wiops": 5}},
    )  # fmt: skip
    assert order("run u true").box.limits is None
    assert order("run -m 0 --cpus 0 -c 0 --pids-limit -1 --memory-swap 0 u true").box.limits is None
