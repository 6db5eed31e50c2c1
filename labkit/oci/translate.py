"""A configuration as a Container: the part of it for which labkit has a value already.

What a Container has no word for (mounts one by one, hooks, five sets of capabilities, the files of
control groups) the other modules of this room take from the configuration itself.
"""

from collections.abc import Mapping
from typing import Any

from labkit.container.container import Container
from labkit.container.root import Root
from labkit.linux import seccomp_filter
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.flags import CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWUTS
from labkit.linux.seccomp_profile import Profile
from labkit.oci.config import SETS, Config, rootfs
from labkit.oci.namespaces import namespaces
from labkit.text.words import Words

FILTER_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
}
"""Flags of seccomp(2) that a configuration may ask for: linux/seccomp.h."""


def container(config: Config, bundle: str) -> Container:
    """What a configuration says in the words of a Container."""
    linux = config["linux"]
    new, _ = namespaces(config)
    more: dict[str, Any] = {"cloneflags": new}
    if new & CLONE_NEWUSER:
        more |= {"uid_map": id_map(linux, "uidMappings"), "gid_map": id_map(linux, "gidMappings")}
        more["setgroups"] = bool(more["gid_map"])
    if new & CLONE_NEWUTS and config.get("hostname"):
        more["hostname"] = config["hostname"]
    if new & CLONE_NEWNS:
        more["root"] = Root(
            rootfs(config, bundle),
            readonly=config["root"].get("readonly", False),
            masked=linux.get("maskedPaths", ()),
            readonly_paths=linux.get("readonlyPaths", ()),
            bare=True,
        )
    if "seccomp" in linux:
        more["seccomp"] = profile(linux["seccomp"])
    return Container(**program(config["process"]), **more)


def program(process: Config) -> dict[str, Any]:
    """The fields of a Container that say which program runs, and as whom."""
    user = process.get("user", {})
    held = capabilities(process)
    return {
        "argv": tuple(process["args"]),
        "env": environment(process),
        "cwd": process["cwd"],
        "tty": process.get("terminal", False),
        "user": (user.get("uid", 0), user.get("gid", 0), tuple(user.get("additionalGids", ()))),
        "no_new_privs": process.get("noNewPrivileges", False),
        "capabilities": held["bounding"],  # none if nothing is said, as with runc
        "ambient_caps": [name for name in held["ambient"] if name in held["bounding"]],
    }


def environment(process: Config) -> dict[str, str]:
    """The variables. The last of two with one name counts; what has no "=" is none."""
    return dict(line.split("=", 1) for line in process.get("env", ()) if line.find("=") > 0)


def capabilities(process: Config) -> dict[str, list[str]]:
    """The five sets. A capability that this labkit does not know is left out, as runc does it."""
    given = process.get("capabilities", {})
    return {name: [cap for cap in given.get(name, ()) if cap in CAPABILITIES] for name in SETS}


def id_map(section: Mapping[str, Any], name: str) -> list[tuple[int, int, int]]:
    """A map of IDs: inside, outside, how many."""
    lines = section.get(name, ())
    return [(each["containerID"], each["hostID"], each["size"]) for each in lines]


def profile(section: Config) -> Profile:
    """A seccomp profile, without what is no part of it for us.

    A name that we do not know is a call that this kernel need not have: it is passed over. Calls of
    other machines, such as 32-bit programs, get the default action, whatever "architectures" says.
    """
    if section.get("listenerPath") or "SCMP_ACT_NOTIFY" in str(section):
        raise ValueError(
            Words(
                "seccomp：SCMP_ACT_NOTIFY 要有另一个进程来回答每次调用，labkit 没有：换别的动作",
                "seccomp: SCMP_ACT_NOTIFY wants another process to answer each call, which labkit "
                "does not have: take another action",
            )
        )
    if unknown := [flag for flag in section.get("flags", ()) if flag not in FILTER_FLAGS]:
        said = f"seccomp: {' '.join(unknown)}"
        raise ValueError(Words(f"{said}：不认得的标志", f"{said}: flags that we do not know"))
    left_out = ("flags", "listenerPath", "listenerMetadata", "architectures")
    found = {key: value for key, value in section.items() if key not in left_out}
    entries = []
    for entry in found.get("syscalls", ()):
        names = [name for name in entry.get("names", ()) if name in seccomp_filter.known()]
        if names:
            entries.append({**entry, "names": names})
    return found | {"syscalls": entries}


def filter_flags(section: Config) -> int:
    """The flags of seccomp(2)."""
    return sum({FILTER_FLAGS[name] for name in section.get("flags", ())})
