"""``labkit network ...``."""

import json
from collections.abc import Sequence
from typing import Any

import click

from labkit.cli.command import Family, each, filters, switch, value
from labkit.cli.verbs import NETWORK
from labkit.docker import bridges, new_network, templates
from labkit.docker.new_network import Wanted
from labkit.monitor import record
from labkit.text.words import Words

_SAME = {"list": "ls", "remove": "rm"}
_network = Family(NETWORK, of="network")
_format = Words("table、json 或模板", "table, json or a template")


def main(arguments: Sequence[str]) -> int:
    """Run a verb of the group; the exit status."""
    verb, *rest = arguments[1:] or ["--help"]
    return _network.main([_SAME.get(verb, verb), *rest])


def command(verb: str) -> click.Command | None:
    """The command of a verb, for who completes a command line."""
    return _network.command(_SAME.get(verb, verb))


@_network.verb("network create [OPTIONS] NETWORK", 1, 1)
@value("-d", "--driver", said=Words("只有 bridge", "only bridge"))
@value("--subnet", "subnets", many=True, said=Words("子网", "a subnet"))
@value("--gateway", "gateways", many=True, said=Words("网桥的地址", "the bridge's address"))
@value("--ip-range", "ranges", many=True, said=Words("容器的地址", "the containers' addresses"))
@value("--aux-address", "reserved", many=True, said=Words("留着的地址", "addresses to reserve"))
@switch("--ipv6", said=Words("也有 IPv6", "with IPv6 too"))
@switch("--internal", said=Words("进不来，也出不去", "nothing gets in or out"))
@switch("--attachable", said=Words("只记下来", "only noted"))
@value("--label", "labels", many=True, said=Words("标签", "a label"))
@value("-o", "--opt", "options", many=True, said=Words("网桥的选项", "an option of the bridge"))
def _create(words: Sequence[str], *, driver: str, **asked: Any) -> int:  # noqa: ANN401
    def create(name: str) -> str:
        return new_network.create(Wanted(name, driver or "bridge", **asked))

    ((_, made),) = each(words, create)  # a refusal may have two lines
    click.echo(made or "", nl=made is not None)
    return int(made is None)


@_network.verb("network ls [OPTIONS]", 0, 0)
@filters()
@value("--format", "form", said=_format)
@switch("--no-trunc", said=Words("ID 不截短", "whole IDs"))
@switch("-q", "--quiet", said=Words("只要 ID", "only IDs"))
def _ls(
    _: Sequence[str], *, filters: Sequence[str], form: str, no_trunc: bool, quiet: bool
) -> None:
    said = bridges.ls(quiet=quiet, no_trunc=no_trunc, form=form, filters=filters)
    click.echo(said, nl=False)


@_network.verb("network inspect [OPTIONS] NETWORK [NETWORK...]", 1, None)
@value("-f", "--format", "form", said=Words("json 或模板", "json or a template"))
@switch("-v", "--verbose", said=Words("与不写一样", "the same as without"))
def _inspect(words: Sequence[str], *, form: str, verbose: bool) -> int:
    del verbose
    found = [*each(words, bridges.inspect)]
    told = [about for _, about in found if about is not None]
    if form and form != "json":
        for about in told:
            click.echo(templates.filled(form, about))
    else:
        click.echo(json.dumps(told, indent=None if form else 4, ensure_ascii=False))
    return int(len(told) < len(found))


@_network.verb("network connect [OPTIONS] NETWORK CONTAINER", 2, 2)
@value("--alias", "aliases", many=True, said=Words("又一个名字", "one more name"))
@value("--ip", "address", said=Words("IPv4 地址", "an IPv4 address"))
@value("--ip6", "address6", said=Words("IPv6 地址", "an IPv6 address"))
def _connect(words: Sequence[str], **fields: Any) -> None:  # noqa: ANN401
    network, name = words
    bridges.connect(network, record.find(name), **fields)


@_network.verb("network disconnect [OPTIONS] NETWORK CONTAINER", 2, 2)
@switch("-f", "--force", said=Words("与不写一样", "the same as without"))
def _disconnect(words: Sequence[str], *, force: bool) -> None:
    del force
    network, name = words
    bridges.disconnect(network, record.find(name))


@_network.verb("network rm [OPTIONS] NETWORK [NETWORK...]", 1, None)
@switch("-f", "--force", said=Words("没有也不算错", "one that is not there is no error"))
def _rm(words: Sequence[str], *, force: bool) -> int:
    def remove(text: str) -> bool:
        known = text in {name for one in bridges.every() for name in (one.name, one.id)}
        if known or not force:
            bridges.remove(text)
            click.echo(text)
        return True

    return int(None in [gone for _, gone in each(words, remove)])


@_network.verb("network prune [OPTIONS]", 0, 0)
@filters("--filter")
@switch("-f", "--force", said=Words("不再问", "do not ask"))
def _prune(_: Sequence[str], *, filters: Sequence[str], force: bool) -> None:
    asked = Words(
        "删除没有容器的网络？",
        "This will remove all custom networks not used by at least one container. Continue?",
    )
    if force or click.confirm(f"{asked}", default=False):
        gone = bridges.prune(filters)
        click.echo("Deleted Networks:\n" + "\n".join(gone) + "\n\n" if gone else "", nl=False)
