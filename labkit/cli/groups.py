"""``labkit container ...``, ``volume``, ``system``, ``image``; and ``info`` and ``version``."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from labkit.cli.command import Family, Wrong, each, filters, switch, value
from labkit.cli.verbs import ABOUT, CONTAINER, CONTAINERS, IMAGE, IMAGES, NEW, SYSTEM, VOLUME
from labkit.docker import bridges, system, templates, units, volumes
from labkit.docker.mounts import volume_name
from labkit.text.words import Words

_SAME = {"ls": "ps", "list": "ps", "remove": "rm"}
_SAME_IMAGE = {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi"}

_about, _container = Family(ABOUT), Family(CONTAINER, of="container")
_volume, _system, _image = (
    Family(VOLUME, of="volume"),
    Family(SYSTEM, of="system"),
    Family(IMAGE, of="image"),
)
_OTHERS = {"container": NEW | CONTAINERS, "image": IMAGES}
_GROUPS = {"container": _container, "volume": _volume, "system": _system, "image": _image}

_form = value("--format", "form", said=Words("table、json 或模板", "table, json or a template"))
_sure = switch("-f", "--force", said=Words("不再问", "do not ask"))
_quiet = switch("-q", "--quiet", said=Words("只要名字", "only names"))
_filters = filters()
_everything = switch("-a", "--all", "_all", said=Words("没有人用的都删", "all that nobody uses"))


def main(arguments: Sequence[str]) -> int:
    """Run a verb of a group, or one of the two that are about all; the exit status."""
    if arguments[0] in ABOUT:
        return _about.main(arguments)
    group, verb = arguments[0], "".join(arguments[1:2])
    if group == "image" and verb == "inspect":
        from labkit.cli import containers

        return containers.main(["inspect", "--type=image", *arguments[2:]])
    if group == "image" and _SAME_IMAGE.get(verb, verb) in IMAGES:
        from labkit.cli import images

        return images.main([_SAME_IMAGE.get(verb, verb), *arguments[2:]])
    if group == "container" and verb in NEW:
        from labkit.cli import run

        return run.main(arguments[1:])
    if group == "container" and (_SAME.get(verb, verb)) in CONTAINERS:
        from labkit.cli import containers

        return containers.main([_SAME.get(verb, verb), *arguments[2:]])
    if group in _OTHERS and verb in ("", "-h", "--help"):
        for name, told in _OTHERS[group].items():
            click.echo(f"labkit {group} {name}: {told}")
    return _GROUPS[group].main(arguments[1:] or ["--help"])


def command(group: str, verb: str) -> click.Command | None:
    """The command of a verb, for who completes a command line."""
    return (_GROUPS[group] if group else _about).command(verb)


def _agreed(question: Words, *, force: bool) -> bool:
    """Whether somebody who is asked says yes; nobody is asked if that is forced."""
    return force or click.confirm(f"{question}", default=False)


def _report(title: str, gone: Sequence[str], freed: int) -> None:
    """What docker says of what it has pruned."""
    if gone:
        click.echo(f"{title}:\n" + "\n".join(gone) + "\n")
    click.echo(f"Total reclaimed space: {units.size(freed)}")


def _show(found: Mapping[str, Any], form: str, text: str) -> None:
    if form == "json":
        click.echo(json.dumps(found, ensure_ascii=False))
    elif form:
        click.echo(templates.filled(form, found))
    else:
        click.echo(text, nl=False)


@_about.verb("version [OPTIONS]", 0, 0)
@_form
def _version(_: Sequence[str], *, form: str) -> None:
    found = system.version()
    _show(found, form, "labkit:\n" + system.lines(found["Client"]))


@_about.verb("info [OPTIONS]", 0, 0)
@_form
def _info(_: Sequence[str], *, form: str) -> None:
    found = system.info()
    _show(found, form, system.lines(found, ""))


@_system.verb("system info [OPTIONS]", 0, 0)
@_form
def _system_info(_: Sequence[str], *, form: str) -> None:
    _info((), form=form)


@_system.verb("system df [OPTIONS]", 0, 0)
@_form
def _df(_: Sequence[str], *, form: str) -> None:
    click.echo(system.df(form), nl=False)


@_system.verb("system prune [OPTIONS]", 0, 0)
@_everything
@_sure
@switch("--volumes", "kept", said=Words("连没有名字的卷", "volumes without a name too"))
def _prune(_: Sequence[str], *, _all: bool, force: bool, kept: bool) -> None:
    asked = Words(
        "删除所有不在运行的容器、没有容器的网络和没有名字的镜像？",
        "This will remove all stopped containers, unused networks and dangling images. Continue?",
    )
    if not _agreed(asked, force=force):
        return
    freed = 0
    parts = [("Deleted Containers", system.prune_containers())]
    parts += [("Deleted Networks", (bridges.prune(), 0))]
    parts += [("Deleted Volumes", system.prune_volumes(_all=False))] * kept
    parts += [("Deleted Images", system.prune_images(_all=_all))]
    for title, (gone, size) in parts:
        freed += size
        if gone:
            click.echo(f"{title}:\n" + "\n".join(gone) + "\n")
    click.echo(f"Total reclaimed space: {units.size(freed)}")


@_container.verb("container prune [OPTIONS]", 0, 0)
@_sure
def _container_prune(_: Sequence[str], *, force: bool) -> None:
    asked = Words("删除所有不在运行的容器？", "This will remove all stopped containers. Continue?")
    if _agreed(asked, force=force):
        _report("Deleted Containers", *system.prune_containers())


@_image.verb("image prune [OPTIONS]", 0, 0)
@_everything
@_sure
def _image_prune(_: Sequence[str], *, _all: bool, force: bool) -> None:
    asked = Words("删除没有名字的镜像？", "This will remove all dangling images. Continue?")
    if _agreed(asked, force=force):
        _report("Deleted Images", *system.prune_images(_all=_all))


@_volume.verb("volume create [OPTIONS] [VOLUME]", 0, 1)
@value("-d", "--driver", said=Words("只有 local", "only local"))
@value("--label", "labels", many=True, said=Words("标签", "a label"))
def _volume_create(words: Sequence[str], *, driver: str, labels: Sequence[str]) -> None:
    if driver not in ("", "local"):
        raise Wrong(1, Words(f"没有 {driver} 这种卷", f"no such volume driver: {driver}"))
    pairs = (text.partition("=") for text in labels)
    click.echo(volumes.create(volume_name("".join(words)), {name: text for name, _, text in pairs}))


@_volume.verb("volume ls [OPTIONS]", 0, 0)
@_filters
@_form
@_quiet
def _volume_ls(_: Sequence[str], *, filters: Sequence[str], form: str, quiet: bool) -> None:
    rows = system.volume_rows(filters)
    if quiet:
        click.echo("".join(f"{row['Name']}\n" for row in rows), nl=False)
    else:
        click.echo(system.volume_table(rows, form), nl=False)


@_volume.verb("volume inspect [OPTIONS] VOLUME [VOLUME...]", 1, None)
@value("-f", "--format", "form", said=Words("json 或模板", "json or a template"))
def _volume_inspect(words: Sequence[str], *, form: str) -> int:
    found = [*each(words, volumes.inspect)]
    told = [about for _, about in found if about is not None]
    if form and form != "json":
        for about in told:
            click.echo(templates.filled(form, about))
    else:
        click.echo(json.dumps(told, indent=None if form else 4, ensure_ascii=False))
    return int(len(told) < len(found))


@_volume.verb("volume rm [OPTIONS] VOLUME [VOLUME...]", 1, None)
@switch("-f", "--force", said=Words("没有也不算错", "one that is not there is no error"))
def _volume_rm(words: Sequence[str], *, force: bool) -> int:
    def remove(name: str) -> bool:
        system.remove_volume(name, force=force)
        return True

    state = 0
    for name, gone in each(words, remove):
        state = 1 if gone is None else state
        if gone:
            click.echo(name)
    return state


@_volume.verb("volume prune [OPTIONS]", 0, 0)
@_everything
@_sure
def _volume_prune(_: Sequence[str], *, _all: bool, force: bool) -> None:
    asked = Words("删除没有容器用的卷？", "This will remove all unused volumes. Continue?")
    if _agreed(asked, force=force):
        _report("Deleted Volumes", *system.prune_volumes(_all=_all))
