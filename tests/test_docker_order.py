"""docker run's values, and what an order looks like: read as docker reads them, nothing is run."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from labkit import Container
from labkit.docker import limits, mounts, values
from labkit.docker.absent import Refused
from labkit.docker.mounts import Mounted
from labkit.docker.options import Joined
from labkit.docker.order import Order, Others, parse
from labkit.linux.flags import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID
from labkit.network.network import Network
from labkit.text.words import words_of

SECOND = 10**9


def order(line: str) -> Order:
    return parse(shlex.split(f"run {line}"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("64m", 64 << 20), ("64M", 64 << 20), ("64mb", 64 << 20), ("64MiB", 64 << 20)],
        *[("1.5g", 3 << 29), (".5k", 512), ("5", 5), ("5b", 5), ("5 k", 5120), ("0", 0)],
    ],
)
def test_a_size(text: str, found: int) -> None:
    assert values.size(text) == found


@pytest.mark.parametrize("text", ["", "m", "64x", "-1", "1,5g", "64mm", "5ib", "٥"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Refused, match="invalid size: "):
        values.size(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[("30s", 30 * SECOND), ("1m30s", 90 * SECOND), ("1.5h", 5400 * SECOND)],
        *[("100ms", SECOND // 10), ("2us", 2000), ("0", 0), ("-1s", -SECOND)],
    ],
)
def test_a_duration(text: str, found: int) -> None:
    assert values.duration(text) == found


@pytest.mark.parametrize("text", ["", "5", "s", "5x", "1m 30s", "five"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Refused, match='time: invalid duration "'):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)],
)
def test_a_signal(text: str, number: int) -> None:
    assert values.number_of_signal(text) == number


@pytest.mark.parametrize(
    ("option", "field", "found"),
    [
        ("--name web", "name", "web"),
        ("--name /web", "name", "web"),
        ("-d", "detach", True),
        ("-dit", "interactive", True),
        ("--rm", "remove", True),
        ("--restart on-failure:3", "restart", ("on-failure", 3)),
        ("--restart unless-stopped", "restart", ("unless-stopped", 0)),
        ("--restart ''", "restart", ("no", 0)),
        ("--stop-signal QUIT", "stop_signal", "QUIT"),
        ("--stop-timeout=-1", "stop_timeout", -1),
        ("--pull always -q", "pull", "always"),
        ("--platform linux/aarch64", "platform", "linux/arm64"),
        ("-a stdout -a STDERR", "attach", ["stdout", "stderr"]),
        ("--detach-keys ctrl-x", "detach_keys", "ctrl-x"),
        ("--sig-proxy=false", "sig_proxy", False),
        ("--log-driver local --log-opt max-size=1m", "log_options", {"max-size": "1m"}),
        ("-l a=1 --label b --label a=2", "labels", {"a": "2", "b": ""}),
        ("--health-cmd 'test -e /x'", "health", {"Test": ["CMD-SHELL", "test -e /x"]}),
        (
            "--health-interval 1m --health-retries 3",
            "health",
            {"Interval": 60 * SECOND, "Retries": 3},
        ),
        ("--no-healthcheck", "health", {"Test": ["NONE"]}),
    ],
)
def test_an_order_has_each_option(option: str, field: str, found: object) -> None:
    assert getattr(order(f"{option} u"), field) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-v /data", Mounted("volume", "", "/data")),
        ("-v db:/data/", Mounted("volume", "db", "/data")),
        ("-v db:/data:ro,nocopy", Mounted("volume", "db", "/data", True, copies=False)),
        ("-v /a:/b:ro,z", Mounted("bind", "/a", "/b", True, copies=False, makes=True)),
        ("-v /a/../c:/b", Mounted("bind", "/c", "/b", copies=False, makes=True)),
        ("--mount src=db,dst=/b", Mounted("volume", "db", "/b")),
        (
            "--mount type=bind,source=/a,target=/b,ro",
            Mounted("bind", "/a", "/b", True, copies=False),
        ),
        (
            "--mount 'type=bind,\"src=/a,b\",destination=/b,readonly=false'",
            Mounted("bind", "/a,b", "/b", copies=False),
        ),
        (
            "--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            Mounted("tmpfs", "", "/t", options="size=1048576,mode=1770", copies=False),
        ),
        (
            "--tmpfs /run:size=64k,exec",
            Mounted("tmpfs", "", "/run", options="size=64k,exec", copies=False),
        ),
    ],
)
def test_what_is_mounted(text: str, found: Mounted) -> None:
    assert order(f"{text} u").mounted == (found,)


def test_a_relative_path_is_one_of_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert order("-v ./a:/b u").mounted[0].source == f"{tmp_path}/a"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--add-host db", 'for "--add-host" flag: bad format for add-host: "db"'),
        ("--add-host db:nowhere", 'invalid IP address in add-host: "nowhere"'),
        ("--cgroupns mine", "--cgroupns: invalid CGROUP mode"),
        ("--cidfile /etc/passwd", "container ID file found, make sure the other container isn't"),
        ("--cpus 1 --cpu-quota 5000", "Nano CPUs and CPU Period cannot both be set"),
        ("--cpus 4096", "Range of CPUs is from 0.01 to "),
        ("--cpus half", "flag: failed to parse half as a rational number"),
        ("--cpuset-cpus 4000", "Requested CPUs are not available - requested 4000, available: 0"),
        ("--cpuset-cpus first", "Invalid value first for cpuset cpus: invalid format: first"),
        ("--device /dev/fuse:rwx", "bad mode specified: rwx"),
        ("--device fuse", "bad format for path: fuse"),
        ("--dns nowhere", 'for "--dns" flag: IP address is not correctly formatted: nowhere'),
        ("--env-file /nowhere", "open /nowhere: no such file or directory"),
        ("--expose 80-70", "invalid range format for --expose: 80-70"),
        ("--health-interval 5", 'invalid duration "5"'),
        ("--health-retries=-1", "--health-retries cannot be negative"),
        ("--isolation hyperv", "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        (
            "--log-driver syslog",
            'error looking up logging plugin syslog: plugin "syslog" not found',
        ),
        (
            "--memory-swap 32m",
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ("--mount a=b", "unexpected key 'a' in 'a=b'"),
        ("--mount dst=/b,readonly --tmpfs /b", "Duplicate mount point: /b"),
        ("--mount nonsense", "invalid field 'nonsense' must be a key=value pair"),
        ("--mount type=bind,dst=/b", "field Source must not be empty"),
        ("--mount type=bind,src=/a", "target is required"),
        ("--mount type=bind,src=/a,dst=/b,ro=maybe", "invalid value for readonly: maybe"),
        (
            "--mount type=bind,src=/a,dst=/b,volume-nocopy",
            "cannot mix 'volume-*' options with mount",
        ),
        ("--mount type=odd,dst=/b", 'invalid mount config for type "odd": mount type unknown'),
        ("--name .web", "Invalid container name (.web)"),
        ("--name a", "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("--network container:1 -h box", "conflicting options: hostname and the network mode"),
        ("--network container:1 -p 80:80", "port publishing and the container type network mode"),
        ("--network container:web", "No such container: web"),
        ("--network name=a1,color=red", "invalid field key color: name, alias, ip, ip6"),
        ("--no-healthcheck --health-cmd x", "--no-healthcheck conflicts with --health-* options"),
        ("--oom-score-adj 5000", "Invalid value 5000, range for oom score adj is [-1000, 1000]"),
        ("--pid somewhere", "--pid: invalid PID mode"),
        ("--pull maybe", 'invalid pull option: \'maybe\': must be one of "always", "missing" or'),
        ("--restart always:3", "maximum retry count can only be used with 'on-failure'"),
        ("--restart maybe", "unknown policy 'maybe'; use one of 'no', 'always', 'on-failure', or"),
        ("--restart on-failure:-1", "maximum retry count cannot be negative"),
        ("--restart on-failure:x", "invalid restart policy format: maximum retry count must be an"),
        ("--rm --restart always", "conflicting options: cannot specify both --restart and --rm"),
        ("--runtime crun", "unknown or invalid runtime name: crun"),
        (
            "--shm-size much",
            'invalid argument "much" for "--shm-size" flag: invalid size: \'much\'',
        ),
        ("--stop-signal 65", "invalid signal: 65"),
        ("--stop-signal NOPE", "invalid signal: NOPE"),
        (
            "--stop-timeout soon",
            'invalid argument "soon" for "--stop-timeout" flag: strconv.ParseInt',
        ),
        ("--sysctl kernel.core_pattern=x", "sysctl 'kernel.core_pattern=x' is not allowed"),
        ("--sysctl net./../kernel=x", "sysctls is as"),
        ("--sysctl net.ipv4.ip_forward", "sysctl 'net.ipv4.ip_forward' is not allowed"),
        ("--sysctl net.ipv4.ip_forward=1 --network host", "not allowed in the host's namespace"),
        ("--ulimit files=5", "invalid ulimit type: files"),
        ("--ulimit nofile", "invalid ulimit argument: nofile"),
        ("--ulimit nofile=1:2:3", "too many limit values - 1:2:3, can only have up to two"),
        (
            "--ulimit nofile=5:3",
            "ulimit soft limit must be less than or equal to hard limit: 5 > 3",
        ),
        (
            "--ulimit nofile=x",
            'invalid argument "nofile=x" for "--ulimit" flag: strconv.ParseInt: parsing "x"',
        ),
        ("--userns private", "--userns: invalid USER mode"),
        ("--uts host -h box", "conflicting options: hostname and the UTS mode"),
        ("--volumes-from web", "No such container: web"),
        (
            "-a all",
            'invalid argument "all" for "-a, --attach" flag: valid streams are STDIN, STDOUT',
        ),
        ("-d -a stdout", "conflicting options: cannot specify both --attach and --detach"),
        ("-e =x", 'invalid argument "=x" for "-e, --env" flag: invalid environment variable: =x'),
        ("-l =x", "invalid label '=x': empty name"),
        ("-m 4k", "Minimum memory limit allowed is 6MB"),
        (
            "-m 64m --memory-swap 32m",
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ("-m lots", 'invalid argument "lots" for "-m, --memory" flag: invalid size: \'lots\''),
        (
            "-p 8000-8001:80-82",
            "invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
        ),
        ("-p 80000:80", "invalid hostPort: 80000"),
        ("-p 80:80/icmp", "invalid proto: icmp"),
        ("-p nowhere:1:2", "invalid IP address: nowhere"),
        ("-p web:80", "invalid hostPort: web"),
        (
            "-v /a:/",
            (
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
                "invalid specification: destination can't be '/'"
            ),
        ),
        ("-v /a:/b -v /c:/b", "Duplicate mount point: /b"),
        ("-v /a:/b:c:d", "invalid volume specification: '/a:/b:c:d'"),
        ("-v /a:/b:ro,rw", "invalid mode: ro,rw"),
        ("-v /a:/b:rshared", "all mounts are private"),
        ("-v /b:ro", "invalid volume specification: '/b:ro'"),
        ("-v a:/c", "volume name is too short"),
        ("-v a/b:/c", '"a/b" includes invalid characters for a local volume name'),
    ],
)
def test_what_is_refused_is_refused_in_dockers_words(line: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its words are looked at
        order(f"{line} u")
    assert told in words_of(caught.value)[0].en


def test_variables_come_from_files_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\nA=1\n  B=two words \nFROM_HERE\nNOT_HERE\n")
    found = order(f"--env-file {file} -e A=2 u").config["Env"]
    assert found == ["A=2", "B=two words ", "FROM_HERE=here"]
    for text, told in ("a b=1", "contains whitespaces"), ("=x", "no variable name on line '=x'"):
        file.write_text(text)
        with pytest.raises(Refused, match=told):
            order(f"--env-file {file} u")


IMAGE: dict[str, Any] = {
    "Entrypoint": ["/entry"],
    "Cmd": ["image"],
    "Env": ["A=image", "B=image"],
    "User": "ann",
    "WorkingDir": "/home/ann",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/data": {}, "/b/": {}},
    "Labels": {"a": "image"},
    "StopSignal": "SIGQUIT",
    "Healthcheck": {"Test": ["CMD", "image"], "Retries": 2},
}


@pytest.mark.parametrize(
    ("line", "field", "found"),
    [
        ("u", "Cmd", ["image"]),
        ("u x y", "Cmd", ["x", "y"]),
        ("u", "Entrypoint", ["/entry"]),
        ("--entrypoint sh u", "Entrypoint", ["sh"]),
        ("--entrypoint sh u", "Cmd", None),
        ("--entrypoint '' u x", "Cmd", ["x"]),
        ("-e A=mine u", "Env", ["A=mine", "B=image"]),
        ("u", "User", "ann"),
        ("-u bob u", "User", "bob"),
        ("u", "WorkingDir", "/home/ann"),
        ("-w /tmp u", "WorkingDir", "/tmp"),
        ("-p 8080:8080 --expose 90-91/udp u", "ExposedPorts",
         {"80/tcp": {}, "90/udp": {}, "91/udp": {}, "8080/tcp": {}}),
        ("-l b=mine u", "Labels", {"a": "image", "b": "mine"}),
        ("u", "StopSignal", "SIGQUIT"),
        ("--stop-signal 9 u", "StopSignal", "9"),
        ("--health-timeout 1s u", "Healthcheck",
         {"Test": ["CMD", "image"], "Retries": 2, "Timeout": SECOND}),
        ("--no-healthcheck u", "Healthcheck", {"Test": ["NONE"], "Retries": 2}),
    ],
)  # fmt: skip
def test_the_image_says_what_the_command_line_does_not(
    line: str, field: str, found: object
) -> None:
    assert order(line).config_in(IMAGE)[field] == found


def test_volumes_of_the_image_give_way() -> None:
    asked = order("-v /x:/data --tmpfs /t u")
    found = mounts.with_image(asked.mounted, IMAGE["Volumes"])
    assert [(each.kind, each.target) for each in found] == [
        ("bind", "/data"),
        ("tmpfs", "/t"),
        ("volume", "/b"),
    ]


def test_inspect_has_dockers_shape() -> None:
    line = "-m 64m --cpus 0.5 -p 127.0.0.1:80:8080 -p 53/udp -v db:/data --ulimit nofile=5:6 --init"
    asked = order(f"{line} --restart always --device /dev/null:/dev/mine:r u true")
    shown = json.loads(json.dumps(asked.asked))["HostConfig"]
    assert {key: shown[key] for key in ("Memory", "NanoCpus", "Binds", "Init", "NetworkMode")} == {
        "Memory": 64 << 20,
        "NanoCpus": 5 * 10**8,
        "Binds": ["db:/data"],
        "Init": True,
        "NetworkMode": "bridge",
    }
    assert shown["PortBindings"] == {
        "8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}],
        "53/udp": [{"HostIp": "", "HostPort": ""}],
    }
    assert shown["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    assert shown["Ulimits"] == [{"Name": "nofile", "Hard": 6, "Soft": 5}]
    device = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}
    assert shown["Devices"] == [device]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/dev/fuse", ("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/fuse:r", ("/dev/fuse", "/dev/fuse", "r")),
        ("/dev/fuse:/dev/x", ("/dev/fuse", "/dev/x", "rwm")),
        ("/dev/fuse:/dev/x:rw", ("/dev/fuse", "/dev/x", "rw")),
    ],
)
def test_a_device(text: str, found: tuple[str, ...]) -> None:
    assert limits.device(text) == found


def test_a_quota_is_a_share_of_its_period() -> None:
    found = limits.limits(order("--cpu-quota 50000 --cpu-period 200000 u").options.limited)
    assert found is not None
    assert found.cpus == 0.25


def test_a_container_of_another_name_lends_its_network() -> None:
    others = Others(joined={"web": Joined("a" * 64, 7, "shared")}.__getitem__)
    words = [*("--network", "container:web", "--pid", "container:web"), "--ipc=container:web"]
    asked = parse(["run", *words, "u"], others)
    modes = [asked.host_config[name] for name in ("NetworkMode", "PidMode", "IpcMode")]
    assert modes == [f"container:{'a' * 64}"] * 3
    assert asked.box.network == Network("container:7")
    assert asked.box.joins == {"pid": 7, "ipc": 7}
    assert asked.box.hostname == "shared"
    assert not asked.box.cloneflags & (CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC)


def test_volumes_are_taken_over_from_another_container() -> None:
    """What covers a place of the container's own is left out, and what is in memory."""
    there = [*map(mounts.volume, ("db:/data", "/a:/b", "other:/c")), mounts.memory("/run")]
    others = Others(mounts_of={"web": there}.__getitem__)
    asked = parse(["run", "--volumes-from", "web:ro", "-v", "/own:/c", "u"], others)
    found = [(each.source, each.target, each.readonly) for each in asked.mounted]
    assert found == [("/own", "/c", False), ("db", "/data", True), ("/a", "/b", True)]


def test_a_container_with_all_of_it_is_json() -> None:
    options = (
        "--ulimit nofile=5:6 --sysctl net.ipv4.ip_forward=1 --init --domainname d --shm-size 1m"
    )
    box = order(f"{options} u true").box
    assert Container.from_json(box.to_json()) == box
    assert (box.sysctls, box.rlimits) == (
        {"net.ipv4.ip_forward": "1", "kernel.domainname": "d"},
        {"nofile": (5, 6)},
    )
