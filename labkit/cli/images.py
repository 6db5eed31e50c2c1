"""``labkit images``, ``labkit load``, ...: Docker's verbs for images, as docker has them."""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import click

from labkit.cli.command import Family, Wrong, each, filters, switch, value
from labkit.cli.progress import Lines
from labkit.cli.verbs import IMAGES
from labkit.docker import images as docker
from labkit.images import base, platform, reference
from labkit.images.changes import changes
from labkit.images.commit import About, commit, import_archive
from labkit.images.export import export
from labkit.images.load import load
from labkit.images.save import save
from labkit.images.store import NoSuchImage, Store
from labkit.images.writable import Writable, find
from labkit.monitor import names
from labkit.text.words import Words

_family = Family(IMAGES, Store)
main, command = _family.main, _family.command

_quiet = switch("-q", "--quiet", said=Words("只要 ID", "only IDs"))
_whole = switch("--no-trunc", said=Words("不截短", "do not shorten"))
_form = value("--format", "form", said=Words("table、json 或模板", "table, json or a template"))
_change = value(
    "-c",
    "--change",
    "change",
    many=True,
    said=Words("一条 Dockerfile 指令", "an instruction of a Dockerfile"),
)
_message = value("-m", "--message", said=Words("说明", "a message"))
_insecure = switch(
    "--insecure",
    said=Words(
        "可以用 HTTP，证书也不验（docker 写在 daemon.json 里）",
        "HTTP will do, and any certificate (docker has it in daemon.json)",
    ),
)
_output = value("-o", "--output", said=Words("写到文件", "write to a file"))


# --- The verbs ----------------------------------------------------------------------------------


@_family.verb("images [OPTIONS] [REPOSITORY[:TAG]]", 0, 1)
@switch("-a", "--all", "_all", said=Words("全部（没有中间镜像）", "all (there are none between)"))
@switch("--digests", said=Words("显示摘要", "show digests"))
@filters()
@_form
@_whole
@_quiet
def _images(store: Store, words: Sequence[str], *, _all: bool, **options: Any) -> None:  # noqa: ANN401
    click.echo(docker.images(store, "".join(words), **options), nl=False)


@_family.verb("history [OPTIONS] IMAGE", 1, 1)
@click.option("-H", "--human", type=bool, default=True, help=str(Words("易读", "readable numbers")))
@_form
@_whole
@_quiet
def _history(store: Store, words: Sequence[str], **options: Any) -> None:  # noqa: ANN401
    click.echo(docker.history(store, words[0], **options), nl=False)


@_family.verb("tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", 2, 2)
def _tag(store: Store, words: Sequence[str]) -> None:
    docker.tag(store, *words)


@_family.verb("rmi [OPTIONS] IMAGE [IMAGE...]", 1, None)
@switch("-f", "--force", said=Words("有几个名字也删除", "remove it though it has several names"))
@switch("--no-prune", "_no_prune", said=Words("（没有中间镜像）", "(there are no images between)"))
def _rmi(store: Store, words: Sequence[str], *, force: bool, _no_prune: bool) -> int:
    def one(text: str) -> list[str]:
        try:
            return docker.rmi(store, text, force=force)
        except NoSuchImage as error:
            if not force:
                raise
            click.echo(f"labkit: {error}", err=True)
            return []

    status = 0
    for _, lines in each(words, one):
        status = 1 if lines is None else status
        for line in lines or ():
            click.echo(line)
    return status


@_family.verb("pull [OPTIONS] NAME[:TAG|@DIGEST]", 1, 1)
@value("--platform", "wanted", said=Words("系统/处理器，如 linux/arm64", "OS/ARCH, as linux/arm64"))
@_insecure
@switch("-q", "--quiet", said=Words("只输出名字", "only the name"))
def _pull(store: Store, words: Sequence[str], *, wanted: str, insecure: bool, quiet: bool) -> None:
    from labkit.images.pull import pull  # its HTTP library is slow to import

    name = reference.parse(words[0])
    if not quiet and not name.tag and not name.digest:
        click.echo("Using default tag: latest")
    name = name.tagged()
    with Lines(sys.stdout, quiet=quiet) as lines:
        lines.say(f"{name.tag or name.digest}: Pulling from {name.path}")
        found = pull(
            store,
            name,
            wanted=platform.parse(wanted) if wanted else None,
            progress=lines,
            insecure=insecure,
        )
        lines.say(f"Digest: {found.digest}")
        state = "Downloaded newer image" if found.new else "Image is up to date"
        lines.say(f"Status: {state} for {name.familiar}")
    docker.tell("pull", name.familiar, name.familiar.partition(":")[0])
    click.echo(f"{name}")


@_family.verb("push [OPTIONS] NAME[:TAG]", 1, 1)
@_insecure
@switch("-q", "--quiet", said=Words("只输出名字", "only the name"))
def _push(store: Store, words: Sequence[str], *, insecure: bool, quiet: bool) -> None:
    from labkit.images.pull import push  # its HTTP library is slow to import

    name = docker.new_name(words[0])
    if not quiet and not reference.parse(words[0]).tag:
        click.echo("Using default tag: latest")
    with Lines(sys.stdout, quiet=quiet) as lines:
        lines.say(f"The push refers to repository [{name.domain}/{name.path}]")
        about = push(store, name, progress=lines, insecure=insecure)
        lines.say(f"{name.tag}: digest: {about.digest} size: {about.size}")
    docker.tell("push", name.familiar, name.familiar.partition(":")[0])
    if quiet:
        click.echo(f"{name}")


@_family.verb("load [OPTIONS]", 0, 0)
@value("-i", "--input", "path", said=Words("从文件读", "read from a file"))
@switch(
    "-q", "--quiet", "_quiet", said=Words("不显示进度（本来就不）", "no progress (there is none)")
)
def _load(store: Store, _: Sequence[str], *, path: str, _quiet: bool) -> None:
    if not path and sys.stdin.isatty():
        raise Wrong(
            1,
            Words("标准输入是终端，里面没有镜像", "requested load from stdin, but stdin is empty"),
        )
    for loaded in load(store, path or sys.stdin.buffer):
        docker.tell("load", loaded.id)
        for name in loaded.names:
            click.echo(f"Loaded image: {name.familiar}")
        if not loaded.names:
            click.echo(f"Loaded image ID: {loaded.id}")


@_family.verb("save [OPTIONS] IMAGE [IMAGE...]", 1, None)
@_output
def _save(store: Store, words: Sequence[str], *, output: str) -> None:
    with _written(output) as out:
        save(store, words, out)
    for word in words:
        docker.tell("save", store.find(word).id)


@_family.verb("import [OPTIONS] FILE|- [REPOSITORY[:TAG]]", 1, 2)
@_change
@_message
def _import(store: Store, words: Sequence[str], *, change: Sequence[str], message: str) -> None:
    names = tuple(map(docker.new_name, words[1:]))
    about = About(message, changes=tuple(change))
    if words[0] == "-":
        made = import_archive(store, sys.stdin.buffer, "-", names, about)
    else:
        with open(words[0], "rb") as file:
            made = import_archive(store, file, words[0], names, about)
    docker.tell("import", f"{made}")
    click.echo(made)


@_family.verb("export [OPTIONS] CONTAINER", 1, 1)
@_output
def _export(store: Store, words: Sequence[str], *, output: str) -> None:
    root = _root(store, words[0])
    with _written(output) as out:
        export((root.upper, *root.layers), out)


@_family.verb("commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]", 1, 2)
@value("-a", "--author", said=Words("作者", "the author"))
@_change
@_message
def _commit(
    store: Store, words: Sequence[str], *, author: str, change: Sequence[str], message: str
) -> None:
    given = tuple(map(docker.new_name, words[1:]))
    about = About(message, author, tuple(change))
    click.echo(commit(store, _root(store, words[0]), given, about, _settings(words[0])))


_KEPT = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "StopSignal", "User"),
    *("Volumes", "WorkingDir"),
)


def _settings(word: str) -> dict[str, Any] | None:
    """What a container of ours was run with, of what an image can say; None: it has no record."""
    from labkit.docker import containers
    from labkit.monitor import record

    try:
        config = containers.config(record.find(word))
    except record.NoSuchContainer:
        return None
    return {name: config[name] for name in _KEPT if config.get(name)}


@_family.verb("diff CONTAINER", 1, 1)
def _diff(store: Store, words: Sequence[str]) -> None:
    root = _root(store, words[0])
    for change in changes(root.upper, root.layers):
        click.echo(f"{change}")


@_family.verb("base", 0, 0)
def _base(store: Store, _: Sequence[str]) -> None:
    for name, make in (("busybox", base.busybox), ("host", base.host)):
        make(store)
        click.echo(f"Loaded image: {name}:latest")


# --- What they share ----------------------------------------------------------------------------


def _root(store: Store, text: str) -> Writable:
    """The root of a container by its name or ID."""
    return find(store, names.lookup(text) or text)


@contextmanager
def _written(path: str) -> Iterator[BinaryIO]:
    """The file that is asked for, which is there only when it is whole; or standard output."""
    if not path:
        if sys.stdout.isatty():
            raise Wrong(
                1,
                Words(
                    "不把归档写到终端上：用 -o，或者重定向",
                    "cowardly refusing to save to a terminal. Use the -o flag or redirect",
                ),
            )
        yield sys.stdout.buffer
    elif os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):  # /dev/null, a pipe
        with open(path, "wb") as out:
            yield out
    else:
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path) or ".", delete=False) as out:
            try:
                yield out  # type: ignore[misc]
                out.flush()
                os.rename(out.name, path)
            except BaseException:
                os.unlink(out.name)
                raise
