"""What docker inspect shows of an order: its Config and its HostConfig, in Docker's own shape.

The Config is also what a container is made from: the command line's, and where it says nothing the
image's. Sources: docker/cli's parse of container options, moby's daemon/commit.go (merge).
"""

from _collections_abc import Iterator, Mapping, Sequence

from labkit.cgroups.limits import as_bytes
from labkit.container.devices import SHM_SIZE
from labkit.docker import limits, networks, rights, values
from labkit.docker.options import Asked
from labkit.images.settings import environment, texts
from labkit.network.network import Network
from labkit.python.typing import Any

Json = Mapping[str, Any]


def config(asked: Asked, image: str, argv: Sequence[str]) -> dict[str, Any]:
    """The Config of a command line alone."""
    env = values.environment(asked.env, asked.env_files)
    anonymous: Json = {each.target: {} for each in asked.mounts if _is_anonymous(each)}
    shown: Json = {
        "Hostname": asked.hostname,
        "Domainname": asked.domainname,
        "User": asked.user,
        **_streams(asked),
        "ExposedPorts": {port: {} for port in [*asked.expose, *published(asked)]},
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Cmd": [*argv] or None,
        "Image": image,
        "Volumes": anonymous or None,
        "WorkingDir": asked.cwd,
        "Entrypoint": None if asked.entrypoint is None else [asked.entrypoint],
        "Labels": values.labels(asked.labels, asked.label_files),
        "Healthcheck": values.health(asked.health),
        "StopSignal": asked.stop_signal or None,
        "StopTimeout": asked.stop_timeout,
    }
    left_out = ("Healthcheck", "StopSignal", "StopTimeout")
    return {key: value for key, value in shown.items() if key not in left_out or value is not None}


def _streams(asked: Asked) -> dict[str, bool]:
    """What is attached, and what the program finds."""
    attached = asked.attach or ([] if asked.detach else ["stdout", "stderr"])
    follows = asked.interactive and not asked.detach
    return {
        "AttachStdin": "stdin" in attached or (follows and not asked.attach),
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "Tty": asked.tty,
        "OpenStdin": asked.interactive,
        "StdinOnce": follows,
    }


def _is_anonymous(each: Any) -> bool:  # noqa: ANN401 - a Mounted
    return each.kind == "volume" and not each.source


def published(asked: Asked) -> Iterator[str]:
    """The ports inside that are published, which are exposed too."""
    publish = tuple(asked.connected.get("publish", ()))
    yield from (f"{port.inside}/{port.kind}" for port in Network(publish=publish).ports())


def merged(own: Json, image: Json) -> dict[str, Any]:
    """The Config of a container: `own`, and what the image's settings add to it."""
    found = dict(own)
    for key in ("User", "WorkingDir", "StopSignal"):
        if not found.get(key) and isinstance(image.get(key), str):
            found[key] = image[key]
    for key in ("ExposedPorts", "Volumes", "Labels"):
        theirs = image.get(key)
        found[key] = {**(theirs if isinstance(theirs, dict) else {}), **(found[key] or {})}
    ours = environment(dict(own))
    env = {**ours, **{k: v for k, v in environment(dict(image)).items() if k not in ours}}
    found["Env"] = [f"{name}={value}" for name, value in env.items()]
    if not found["Entrypoint"]:  # one of the command line makes the image's Cmd worthless
        found["Cmd"] = found["Cmd"] or [*texts(image.get("Cmd"))] or None
        found["Entrypoint"] = [*texts(image.get("Entrypoint"))] or None
    if check := _health(own.get("Healthcheck"), image.get("Healthcheck")):
        found["Healthcheck"] = check
    return found


def _health(own: object, image: object) -> Json:
    """The health check: the image's, with what the command line changes of it."""
    ours = own if isinstance(own, dict) else {}
    return {**(image if isinstance(image, dict) else {}), **ours}


def program(found: Json) -> tuple[str, ...]:
    """What a Config runs; () when it does not say."""
    entry = [*texts(found.get("Entrypoint"))]
    return (*([] if entry == [""] else entry), *texts(found.get("Cmd")))


def host_config(asked: Asked) -> dict[str, Any]:
    """The HostConfig of a command line."""
    restart = {"Name": asked.restart.policy, "MaximumRetryCount": asked.restart.times}
    return {
        "Binds": [*_binds(asked)] or None,
        "ContainerIDFile": asked.cidfile,
        "LogConfig": {"Type": asked.log_driver, "Config": asked.log_options},
        "RestartPolicy": restart,
        "AutoRemove": asked.remove,
        "Init": True if asked.init else None,
        "ReadonlyRootfs": asked.read_only,
        "ShmSize": asked.shm_size or SHM_SIZE,
        "Tmpfs": {each.target: each.options for each in asked.mounts if each.kind == "tmpfs"},
        "OomScoreAdj": asked.oom_score_adj or 0,
        "VolumesFrom": asked.volumes_from or None,
        "Annotations": asked.annotations or None,
        **_walls(asked),
        **_connected(asked),
        **_resources(asked),
    }


def _walls(asked: Asked) -> dict[str, Any]:
    """The namespaces, and what the program may do."""
    return {
        "CgroupnsMode": asked.cgroupns or "private",
        "IpcMode": _mode(asked, "ipc", asked.ipc or "private"),
        "PidMode": _mode(asked, "pid", "" if _is_new(asked, "CLONE_NEWPID") else "host"),
        "UTSMode": "" if _is_new(asked, "CLONE_NEWUTS") else "host",
        "UsernsMode": "",
        "CapAdd": [*map(rights.full_name, asked.cap_add)] or None,
        "CapDrop": [*map(rights.full_name, asked.cap_drop)] or None,
        "GroupAdd": asked.groups or None,
        "Privileged": asked.privileged,
        "SecurityOpt": asked.security.options or None,
        "Sysctls": asked.sysctls or None,
    }


def _connected(asked: Asked) -> dict[str, Any]:
    return {
        "NetworkMode": _mode(asked, "network", networks.name(asked.connected) or "bridge"),
        "PortBindings": _bindings(asked),
        "PublishAllPorts": asked.publish_all,
        "Dns": asked.connected.get("dns", []),
        "DnsSearch": asked.connected.get("dns-search", []),
        "DnsOptions": asked.connected.get("dns-option", []),
        "ExtraHosts": asked.connected.get("add-host") or None,
    }


def _mode(asked: Asked, kind: str, otherwise: str) -> str:
    """Whose namespace it is in, in Docker's words."""
    return f"container:{asked.joined[kind].id}" if kind in asked.joined else otherwise


def _is_new(asked: Asked, flag: str) -> bool:
    return flag in str(asked.flags).split("|")


def _binds(asked: Asked) -> Iterator[str]:
    for each in asked.mounts:
        if each.kind != "tmpfs" and each.source:
            yield f"{each.source}:{each.target}" + ":ro" * each.readonly


def _bindings(asked: Asked) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in Network(publish=tuple(asked.connected.get("publish", ()))).ports():
        place = {"HostIp": port.address, "HostPort": str(port.host or "")}
        found.setdefault(f"{port.inside}/{port.kind}", []).append(place)
    return found


def _resources(asked: Asked) -> dict[str, Any]:
    """The limits, in Docker's units."""
    said = limits.limits(asked.limited, asked.devices)
    devices = [
        {"PathOnHost": one.path, "PathInContainer": one.inside, "CgroupPermissions": one.access}
        for one in asked.devices
    ]
    ulimits = [
        {"Name": name, "Hard": hard, "Soft": soft} for name, (soft, hard) in asked.rlimits.items()
    ]
    memory = as_bytes("memory", said.memory) if said and said.memory else 0
    swap = as_bytes("memory_swap", said.memory_swap) if said and said.memory_swap else 0
    return {
        "Memory": memory,
        "MemorySwap": swap or 2 * memory,
        "NanoCpus": int(float(asked.limited.get("cpus", 0)) * 10**9),
        "CpuPeriod": asked.limited.get("cpu_period", 0),
        "CpuQuota": asked.limited.get("cpu_quota", 0),
        "CpuShares": asked.limited.get("cpu_shares", 0),
        "CpusetCpus": asked.limited.get("cpuset", ""),
        "PidsLimit": asked.limited.get("pids"),
        "Devices": devices,
        "Ulimits": ulimits or None,
        "DeviceCgroupRules": asked.limited.get("devices") and [*asked.limited["devices"]],
    }
