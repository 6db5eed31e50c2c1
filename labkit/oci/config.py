"""A bundle's config.json: read, and its kinds checked. What it does not know it passes over.

The runtime specification wants it so: a file of a later version may say more than we know. A value
that is null counts as absent, as for every runtime that is written in Go.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, cast

from labkit.text.words import Words

Config = Mapping[str, Any]
VERSION = "1.2.0"
"""The version of the specification that we follow."""
FILE = "config.json"

SETS = ("bounding", "effective", "inheritable", "permitted", "ambient")
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

THROTTLES = tuple(
    f"throttle{way}{what}Device" for what in ("Bps", "IOPS") for way in ("Read", "Write")
)
"""The specification's words for limits of blockIO."""

_WORDS: Mapping[object, Words] = {
    str: Words("文字", "text"),
    int: Words("整数", "a whole number"),
    bool: Words("true 或 false", "true or false"),
    dict: Words("对象", "an object"),
    list: Words("列表", "a list"),
}
_CAPABILITIES = {name: [str] for name in SETS}
_USER = {"uid": int, "gid": int, "umask": int, "additionalGids": [int]}
_RLIMIT = {"type": str, "soft": int, "hard": int}
_HOOK = {"path": str, "args": [str], "env": [str], "timeout": int}
_MAP = {"containerID": int, "hostID": int, "size": int}
PROCESS: Mapping[str, Any] = {
    "terminal": bool,
    "consoleSize": {"height": int, "width": int},
    "user": _USER,
    "args": [str],
    "env": [str],
    "cwd": str,
    "capabilities": _CAPABILITIES,
    "rlimits": [_RLIMIT],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "selinuxLabel": str,
    "oomScoreAdj": int,
    "scheduler": {"policy": str, "nice": int, "priority": int, "flags": [str]},
    "ioPriority": {"class": str, "priority": int},
}
_DEVICE = {"type": str, "path": str, "major": int, "minor": int, "fileMode": int} | {
    "uid": int,
    "gid": int,
}
_RULE = {"allow": bool, "type": str, "major": int, "minor": int, "access": str}
_RATE = [{"major": int, "minor": int, "rate": int}]
RESOURCES: Mapping[str, Any] = {
    "devices": [_RULE],
    "memory": dict.fromkeys(
        ("limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness"), int
    )
    | {"disableOOMKiller": bool},
    "cpu": dict.fromkeys(
        ("shares", "quota", "burst", "period", "realtimeRuntime", "realtimePeriod", "idle"), int
    )
    | {"cpus": str, "mems": str},
    "pids": {"limit": int},
    "blockIO": dict.fromkeys(THROTTLES, _RATE)
    | {"weight": int, "leafWeight": int}
    | {"weightDevice": [{"major": int, "minor": int, "weight": int, "leafWeight": int}]},
    "hugepageLimits": [{"pageSize": str, "limit": int}],
    "network": {"classID": int, "priorities": [{"name": str, "priority": int}]},
    "rdma": dict,
    "unified": dict,
}
_SHAPE: Mapping[str, Any] = {
    "ociVersion": str,
    "root": {"path": str, "readonly": bool},
    "process": PROCESS,
    "hostname": str,
    "domainname": str,
    "mounts": [
        {"destination": str, "type": str, "source": str, "options": [str]}
        | {"uidMappings": [_MAP], "gidMappings": [_MAP]}
    ],
    "hooks": {moment: [_HOOK] for moment in HOOKS},
    "annotations": dict,
    "linux": {
        "namespaces": [{"type": str, "path": str}],
        "uidMappings": [_MAP],
        "gidMappings": [_MAP],
        "timeOffsets": dict,
        "devices": [_DEVICE],
        "cgroupsPath": str,
        "resources": RESOURCES,
        "rootfsPropagation": str,
        "maskedPaths": [str],
        "readonlyPaths": [str],
        "mountLabel": str,
        "sysctl": dict,
        "seccomp": dict,
        "personality": {"domain": str, "flags": [str]},
        "intelRdt": dict,
    },
}


def load(bundle: str) -> Config:
    """The configuration of a bundle, checked."""
    path = os.path.join(bundle, FILE)
    config = read(path, _SHAPE)
    _check_whole(config, path)
    return config


def read(path: str, shape: Mapping[str, Any]) -> Config:
    """A document of JSON of this shape, without what is null."""
    with open(path, encoding="utf-8") as file:
        try:
            value = json.load(file)
        except ValueError as error:
            raise ValueError(
                Words(f"{path} 不是 JSON：{error}", f"{path} is not JSON: {error}")
            ) from None
    return cast("Config", checked(value, shape, os.path.basename(path)))


def checked(value: object, shape: Any, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """`value`, without what is null; ValueError where a kind is not the specification's."""
    if isinstance(shape, list):
        found = _of_kind(value, list, where)
        return [checked(each, shape[0], f"{where}[{at}]") for at, each in enumerate(found)]
    if isinstance(shape, type):
        return _of_kind(value, shape, where)
    found = {key: each for key, each in _of_kind(value, dict, where).items() if each is not None}
    return {
        key: checked(each, shape[key], f"{where}: {key}") if key in shape else each
        for key, each in found.items()
    }


def _of_kind(value: object, kind: type, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        name = _WORDS[kind]
        raise ValueError(
            Words(
                f"{where} 应是{name.zh}，而不是 {value!r}",
                f"{where} must be {name.en}, not {value!r}",
            )
        )
    return value


def _check_whole(config: Config, path: str) -> None:
    """Refuse a configuration from which no container can be made."""
    version = config.get("ociVersion", "")
    if version.partition(".")[0] != "1" or version.count(".") < 2:
        raise ValueError(
            Words(
                f"{path} 的 ociVersion 是 {version!r}：我们遵循的是 {VERSION}，只接受 1.x",
                f"{path} has the ociVersion {version!r}: we follow {VERSION} and take 1.x",
            )
        )
    if not config.get("root", {}).get("path"):
        raise _lacking(path, "root.path")
    if "linux" not in config:
        raise _lacking(path, "linux")
    if "process" in config:
        check_process(config["process"], path)
    for at, mount in enumerate(config.get("mounts", ())):
        if not mount.get("destination", "").strip("/"):
            raise _lacking(path, f"mounts[{at}].destination")


def check_process(process: Config, path: str) -> None:
    """Refuse a process that cannot run."""
    if not process.get("args"):
        raise _lacking(path, "process.args")
    cwd = process.get("cwd", "")
    if not cwd.startswith("/"):
        raise ValueError(
            Words(
                f"{path}：process.cwd 要写完整的路径，而不是 {cwd!r}",
                f"{path}: process.cwd is a whole path, not {cwd!r}",
            )
        )


def _lacking(path: str, what: str) -> ValueError:
    return ValueError(Words(f"{path} 里没有 {what}", f"{path} has no {what}"))


def rootfs(config: Config, bundle: str) -> str:
    """The root directory as a whole path, without links: the kernel's mounts are told by it."""
    return os.path.realpath(os.path.join(bundle, config["root"]["path"]))
