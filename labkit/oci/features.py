"""What this runtime knows, as the specification's features document has it."""

import platform

from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.seccomp_profile import ACTIONS, COMPARISONS
from labkit.oci import options
from labkit.oci.config import HOOKS, VERSION
from labkit.oci.namespaces import KINDS
from labkit.oci.translate import FILTER_FLAGS

_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_MACHINES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}


def features() -> dict[str, object]:
    """The document."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": [*HOOKS],
        "mountOptions": options.names(),
        "linux": _linux(),
        "annotations": {"org.opencontainers.runc.checkpoint.enabled": "false"},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _linux() -> dict[str, object]:
    return {
        "namespaces": sorted(KINDS),
        "capabilities": [*CAPABILITIES],
        "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
        "seccomp": {
            "enabled": True,
            "actions": sorted({*ACTIONS}),
            "operators": sorted(COMPARISONS),
            "archs": [_MACHINES.get(platform.machine(), platform.machine())],
            "knownFlags": sorted(FILTER_FLAGS),
            "supportedFlags": sorted(FILTER_FLAGS),
        },
        "apparmor": {"enabled": True},
        "selinux": {"enabled": True},
        "intelRdt": {"enabled": False},
        "mountExtensions": {"idmap": {"enabled": True}},
    }
