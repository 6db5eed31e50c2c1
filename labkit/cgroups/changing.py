"""Limits changed while a container runs: docker update."""

import errno
from collections.abc import Mapping

from labkit.cgroups import v1, v2
from labkit.cgroups.limits import Limits
from labkit.cgroups.settings import Setting
from labkit.linux.refusal import Asked
from labkit.text.words import Words

_NONE = {"pids.max": "max"}
"""What is written where a limit is taken away. Of the others none can be."""


def change(version: int, directories: Mapping[str, str], before: Limits, after: Limits) -> None:
    """Write what is another limit than before. directories: by controller, as a group has them.

    Memory may never be above memory and swap together, so one of the two has to be written first:
    which one depends on whether they grow. What the kernel does not take at first is tried again
    after the others.
    """
    form = v1 if version == 1 else v2
    waiting = _changed(form.settings(before), form.settings(after))
    paths = {each: _path(version, directories, each) for each in waiting}
    again = []
    for setting in waiting:
        try:
            v1.put(paths[setting], setting.value)
        except FileNotFoundError:
            if not form.may_be_missing(setting, after):
                _hand_on(version, directories, setting)
                again.append(setting)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EBUSY):
                raise
            again.append(setting)
    for setting in again:
        with Asked(f'write("{paths[setting]}", "{setting.value}")'):
            v1.put(paths[setting], setting.value)


def _changed(before: list[Setting], after: list[Setting]) -> list[Setting]:
    """What is to be written: what is new or another value, and what is limited no longer."""
    files = {each.file for each in after}
    gone = [each for each in before if each.file not in files and each.file in _NONE]
    return [each for each in after if each not in before and each.controller != "devices"] + [
        each._replace(value=_NONE[each.file]) for each in gone
    ]


def _path(version: int, directories: Mapping[str, str], setting: Setting) -> str:
    """The file of a setting. ValueError: version 1, and the container has no such group."""
    directory = directories.get(v2.ALL if version == 2 else setting.controller)
    if directory is None:
        which = setting.controller
        raise ValueError(
            Words(
                f"容器启动时没有 {which} 这一项限制，所以没有它的控制组：先停下容器，改好再启动",
                f"the container was started without a limit of {which}, so it has no such control "
                "group: stop it first, and start it after the change",
            )
        )
    return f"{directory}/{setting.file}"


def _hand_on(version: int, directories: Mapping[str, str], setting: Setting) -> None:
    """Have the group above hand on a controller that it has not handed on so far. Version 2."""
    if version == 2:
        parent = directories[v2.ALL].rpartition("/")[0]
        with Asked(f'write("{parent}/cgroup.subtree_control", "+{setting.controller}")'):
            v1.put(f"{parent}/cgroup.subtree_control", f"+{setting.controller}")
