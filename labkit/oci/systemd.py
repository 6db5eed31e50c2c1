"""systemd's driver of control groups: it makes the group, and we put our limits into it.

Where systemd has the tree of groups, an engine names a group as SLICE:PREFIX:NAME. systemd is asked
for a *scope*, a unit for processes that others have started. busctl(1) asks over D-Bus.
"""

import os
import shutil
import subprocess
import time

from labkit.text.words import Words

RUNNING = "/run/systemd/system"
"""It is there exactly where systemd runs: sd_booted(3)."""
_PATIENCE = 10.0  # seconds for systemd to do what it was asked for
_MANAGER = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)


def unit(path: str) -> tuple[str, str]:
    """The slice and the unit of a cgroupsPath.

    >>> unit("system.slice:docker:1f"), unit(":libpod:2e")
    (('system.slice', 'docker-1f.scope'), ('system.slice', 'libpod-2e.scope'))
    """
    parts = path.split(":")
    if len(parts) != 3 or not parts[2]:
        raise ValueError(
            Words(
                f"cgroupsPath 应写成 SLICE:PREFIX:NAME，而不是 {path!r}",
                f"cgroupsPath is written SLICE:PREFIX:NAME, not {path!r}",
            )
        )
    slice_, prefix, name = parts
    return slice_ or "system.slice", f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def place(slice_: str) -> str:
    """Where a slice is in the tree: a dash in its name is a level. systemd.slice(5).

    >>> place("user-1000-a.slice"), place("-.slice")
    ('user.slice/user-1000.slice/user-1000-a.slice', '')
    """
    words = slice_.removesuffix(".slice").split("-")
    levels = range(1, len(words) + 1) if all(words) else ()
    return "/".join("-".join(words[:level]) + ".slice" for level in levels)


def manages() -> bool:
    """Whether systemd has the tree of groups here, and can be asked."""
    return os.path.isdir(RUNNING) and shutil.which("busctl") is not None


def start(slice_: str, name: str, pid: int) -> None:
    """Have systemd make a scope with one process in it, and wait until it is there."""
    properties = (
        *("Description", "s", f"labkit oci {name}"),
        *("Slice", "s", slice_),
        *("Delegate", "b", "true"),  # what we write into its files, it leaves alone
        *("DefaultDependencies", "b", "false"),
        *("PIDs", "au", "1", str(pid)),
    )
    _ask("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "replace", "5", *properties, "0")
    end = time.monotonic() + _PATIENCE
    while name not in _groups(pid):
        if time.monotonic() > end:
            said = f"systemd: {name}"
            raise ValueError(Words(f"{said} 没有建成", f"{said} has not come about"))
        time.sleep(0.005)


def stop(name: str) -> None:
    """Have systemd end what is left in a scope; nothing if there is none any more."""
    _ask("StopUnit", "ss", name, "replace", missing=True)


def _groups(pid: int) -> str:
    with open(f"/proc/{pid}/cgroup") as file:
        return file.read()


def _ask(method: str, *words: str, missing: bool = False) -> None:
    command = ["busctl", "call", "--quiet", *_MANAGER, method, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and not (missing and "not loaded" in done.stderr):
        said = f"busctl: {method}: {done.stderr.strip()}"
        raise ValueError(Words(said, said))
