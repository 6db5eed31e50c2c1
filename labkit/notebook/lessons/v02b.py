"""What the cells of V0.2b have at hand: shell in a throw-away namespace, an ordinary user."""

import os
import re
from pathlib import Path

from labkit.notebook.lessons import common
from labkit.notebook.lessons.common import *  # noqa: F403 - a lesson's cells have them at hand too
from labkit.notebook.lessons.common import CLONE_NEWNS, Container, run
from labkit.notebook.magics.docker import without_images
from labkit.notebook.views.evidence import NotAsExpectedError
from labkit.text.words import Words

without_images()

__all__ = [
    "LOOK",
    "NOTED",
    "ORPHAN",
    "USER",
    "options_in",
    "outside",
    "report",
    "sh",
    "version",
]
__all__ += common.__all__

NOTED = frozenset(
    {
        "mount",
        "uts",
        "ipc",
        "net",
        "pid",
        "user",
        "cgroup",
        "fork",
        "map-root-user",
        "kill-child",
        "mount-proc",
        "propagation",
        "setgroups",
        "root",
        "wd",
        "setuid",
        "setgid",
        "help",
        "version",
    }
)
"""The long options that the notes copied from util-linux 2.34."""

LOOK = ("sh", "-c", "pwd; set -- /proc/[0-9]*; echo $#; readlink /proc/self/ns/*")
"""A program that says where it is, how many processes it sees, and its namespaces."""

ORPHAN = """
orphan() {  # start sleep under unshare, wait for it, kill unshare
    unshare "$@" sleep 1000 &
    until child=$(pgrep --parent $! --exact sleep); do sleep 0.01; done
    kill -KILL $!
    wait $! 2> /dev/null
}
"""
"""A function of the shell: ``orphan OPTION...`` kills unshare and leaves the PID in ``$child``."""

_FAILED = Words(
    "这几行 shell 以退出状态 {0} 结束：{1}如果你改过这一格，原因多半就在那里。",
    "These lines of shell ended with exit status {0}: {1}If you have changed the cell, the change "
    "may be the reason.",
    "\n",
)


def sh(script: str) -> str:
    """Run lines of shell in a mount namespace that is thrown away; what they print."""
    done = run(Container(("bash", "-c", script), cloneflags=CLONE_NEWNS), timeout=30)
    if done.returncode:
        raise NotAsExpectedError(_FAILED.filled(str(done.returncode), done.stderr))
    return done.stdout


def _ordinary_user() -> str:
    """Setpriv for user 1000. Where AppArmor guards user namespaces it lets this user keep one."""
    gate = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")  # of Ubuntu 24.04
    barred = gate.exists() and gate.read_text() == "1\n"
    caps = "--inh-caps=+sys_admin --ambient-caps=+sys_admin " if barred else ""
    return f"setpriv --reuid=1000 --regid=1000 --clear-groups {caps}"


USER = _ordinary_user()
"""In front of a command, it makes an ordinary user run it: number 1000, no groups."""


def options_in(help_text: str) -> set[str]:
    """The long options that a command's help lists, without the dashes."""
    return set(re.findall(r"^ (?:-\w, )?--([a-z-]+)", help_text, re.MULTILINE))


def version(text: str) -> tuple[int, ...]:
    """The first version number in a text, to compare: (2, 38)."""
    found = re.search(r"\d+\.\d+", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def outside() -> tuple[str, ...]:
    """What must not change outside: host name, mount points, message queues."""
    return os.uname().nodename, sh("cat /proc/mounts"), sh("ipcs --queues")


def report(box: Container) -> str:
    """What LOOK says in a container: directory, 1 process or more (…), the new namespaces."""
    directory, processes, *links = run(box).stdout.split()
    usual = run(Container(LOOK)).stdout.split()
    new = {link.split(":")[0] for link in links if link not in usual}
    return f"{directory:5}  {'1' if processes == '1' else '…'}   {' '.join(sorted(new))}"
