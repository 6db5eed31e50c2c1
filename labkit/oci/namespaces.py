"""The namespaces of a configuration: which are new, and which are entered by their files."""

from labkit.linux.flags import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    Clone,
)
from labkit.oci.config import Config
from labkit.text.words import Words

KINDS = {
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "mount": CLONE_NEWNS,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "user": CLONE_NEWUSER,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}
"""The specification's words, and the kernel's."""

FILES = {"network": "net", "mount": "mnt"}
"""Names in /proc/PID/ns, where they are not the specification's words."""


def namespaces(config: Config) -> tuple[Clone, dict[Clone, str]]:
    """The namespaces that are new; and those that are entered, by the path of their file."""
    new, entered = Clone(0), {}
    for each in config["linux"].get("namespaces", ()):
        kind, path = each.get("type", ""), each.get("path", "")
        if kind not in KINDS:
            raise ValueError(
                Words(
                    f"没有这种命名空间：{kind!r}（有 {' '.join(KINDS)}）",
                    f"there is no namespace of the kind {kind!r} (there are {' '.join(KINDS)})",
                )
            )
        flag = KINDS[kind]
        if flag & new or flag in entered:
            raise ValueError(
                Words(f"{kind} 命名空间写了两次", f"the namespace {kind} is given twice")
            )
        if path:
            entered[flag] = path
        else:
            new |= flag
    return new, entered


def own(config: Config) -> Clone:
    """All the kinds that the container does not share with whoever runs us."""
    new, entered = namespaces(config)
    for flag in entered:
        new |= flag
    return new
