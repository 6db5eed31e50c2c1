"""The seccomp filter of a container: the step that loads it."""

from labkit.container.container import Container
from labkit.linux import seccomp_filter
from labkit.linux.capabilities import CAPABILITIES
from labkit.linux.credentials import seccomp


def filter_calls(box: Container) -> None:
    """Filter every call from here on by the seccomp profile of `box`."""
    profile = seccomp_filter.default() if isinstance(box.seccomp, str) else box.seccomp or {}
    kept = CAPABILITIES if box.capabilities is None else box.capabilities
    seccomp(seccomp_filter.assemble(profile, kept))
