"""The kernel's settings that a configuration changes: only those that belong to a namespace."""

from labkit.linux.flags import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS, Clone
from labkit.oci.config import Config
from labkit.oci.namespaces import own
from labkit.text.words import Words

_IPC = (
    "msgmax msgmnb msgmni msg_next_id sem sem_next_id "
    "shmall shmmax shmmni shm_rmid_forced shm_next_id"
)
_OWNERS = (
    (
        CLONE_NEWIPC,
        (*(f"kernel.{name}" for name in _IPC.split()), "fs.mqueue."),
    ),
    (CLONE_NEWNET, ("net.",)),
    (CLONE_NEWUTS, ("kernel.domainname", "kernel.hostname")),
)


def sysctls(config: Config) -> dict[str, str]:
    """What to write to which files of /proc/sys. ValueError: the whole machine would be changed."""
    found, kinds = {}, own(config)
    for name, value in config["linux"].get("sysctl", {}).items():
        dotted = (
            name.replace("/", ".") if "/" in name and "." not in name.partition("/")[0] else name
        )
        owner = _owner(dotted)
        if not owner & kinds or ".." in dotted or not isinstance(value, str):
            raise ValueError(
                Words(
                    f"sysctl {name} 不属于容器自己的命名空间：写了会改动整台机器",
                    f"sysctl {name} is not in a separate kernel namespace: it would change the "
                    "whole machine",
                )
            )
        path = name if dotted is not name else name.replace(".", "/")
        found[f"/proc/sys/{path}"] = value
    return found


def _owner(name: str) -> Clone:
    for flag, beginnings in _OWNERS:
        if any(name == b or (b.endswith(".") and name.startswith(b)) for b in beginnings):
            return flag
    return Clone(0)
