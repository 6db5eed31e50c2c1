"""``labkit images``, ``labkit load``, ...: Docker's verbs for images on the command line, by click.

Options, output and exit status are Docker's. Importing click takes longer than a container's start,
so this is imported when one of these verbs is asked for, and never otherwise.
"""

import functools
import json
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import click

from labkit.cli.progress import Lines
from labkit.cli.verbs import VERBS
from labkit.docker import images as docker
from labkit.docker import templates
from labkit.images import base, platform, reference
from labkit.images.changes import changes
from labkit.images.commit import About, commit, import_archive
from labkit.images.export import export
from labkit.images.load import load
from labkit.images.save import save
from labkit.images.store import Store
from labkit.images.writable import find
from labkit.text.words import Advice, Words

_MISUSED = 125  # docker's status for an option that it does not have
Function = Callable[..., int | None]


class _Wrong(Exception):  # noqa: N818 - it says what happened
    """A command line that cannot be carried out: what is said, and the exit status."""

    def __init__(self, status: int, said: Words) -> None:
        super().__init__(said)
        self.status = status


_verbs = click.Group("labkit")


def main(arguments: Sequence[str]) -> int:
    """Run one of the verbs; the exit status. ValueError or OSError: why it cannot be done."""
    verb = _verbs.commands[arguments[0]]
    try:
        with (
            _advising(),
            verb.make_context(f"labkit {arguments[0]}", list(arguments[1:])) as context,
        ):
            return verb.invoke(context) or 0
    except click.exceptions.Exit as end:  # --help
        return end.exit_code
    except click.NoSuchOption as error:
        told = Words(f"没有 {error.option_name} 这个选项", f"unknown flag: {error.option_name}")
        return _complain(verb, told, _MISUSED)
    except click.UsageError as error:
        return _complain(verb, Words(error.format_message(), error.format_message()), _MISUSED)
    except _Wrong as error:
        return _complain(verb, error.args[0], error.status)


@contextmanager
def _advising() -> Iterator[None]:
    """Say on standard error what a warning tells a person, without the place in the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Advice)
        warnings.showwarning = lambda message, *_: click.echo(f"labkit: {message}", err=True)
        yield


def _complain(verb: click.Command, said: Words, status: int) -> int:
    usage = Words(f"用法：{verb.short_help}", f"Usage:  {verb.short_help}")
    click.echo(f"labkit: {said}\n\n{usage.joined(chr(10))}", err=True)
    return status


def _verb(form: str, least: int, most: int | None) -> Callable[[Function], Function]:
    """Make a command of a function. `form` shows how it is written: "tag SOURCE TARGET".

    least, most: how many words may follow the options.
    """
    name, _, rest = form.partition(" ")

    def decorate(function: Function) -> Function:
        @functools.wraps(function)  # with the options that click has noted on it
        def called(words: tuple[str, ...], **options: object) -> int:
            if not least <= len(words) <= (len(words) if most is None else most):
                raise _Wrong(1, _how_many(name, least, most))
            return function(Store(), words, **options) or 0

        words = click.argument("words", nargs=-1, metavar=rest.removeprefix("[OPTIONS] "))
        told = VERBS[name].joined("\n\n")
        _verbs.command(name, help=told, short_help=f"labkit {form}")(words(called))
        return function

    return decorate


def _how_many(name: str, least: int, most: int | None) -> Words:
    """Docker's words for a wrong number of arguments."""
    if least == most:
        count = Words(f"要有 {least} 个", f"{least} argument{'s' * (least != 1)}")
    elif most is None:
        count = Words(f"至少要有 {least} 个", f"at least {least} argument{'s' * (least != 1)}")
    elif least:
        count = Words(
            f"要有 {least} 到 {most} 个", f"at least {least} and at most {most} arguments"
        )
    else:
        count = Words(f"最多 {most} 个", f"at most {most} argument{'s' * (most != 1)}")
    return Words(f"labkit {name} 的参数{{}}", f"'labkit {name}' requires {{}}").filled(count)


def _switch(*names: str, said: Words) -> Callable[[Any], Any]:
    return click.option(*names, is_flag=True, help=str(said))


def _value(*names: str, said: Words, many: bool = False) -> Callable[[Any], Any]:
    default = None if many else ""
    return click.option(*names, default=default, multiple=many, help=str(said))


_quiet = _switch("-q", "--quiet", said=Words("只要 ID", "only IDs"))
_whole = _switch("--no-trunc", said=Words("不截短", "do not shorten"))
_form = _value("--format", "form", said=Words("table、json 或模板", "table, json or a template"))
_change = _value(
    "-c",
    "--change",
    "change",
    many=True,
    said=Words("一条 Dockerfile 指令", "an instruction of a Dockerfile"),
)
_message = _value("-m", "--message", said=Words("说明", "a message"))
_insecure = _switch(
    "--insecure",
    said=Words(
        "可以用 HTTP，证书也不验（docker 写在 daemon.json 里）",
        "HTTP will do, and any certificate (docker has it in daemon.json)",
    ),
)
_output = _value("-o", "--output", said=Words("写到文件", "write to a file"))


# --- The verbs ----------------------------------------------------------------------------------


@_verb("images [OPTIONS] [REPOSITORY[:TAG]]", 0, 1)
@_switch("-a", "--all", "_all", said=Words("全部（没有中间镜像）", "all (there are none between)"))
@_switch("--digests", said=Words("显示摘要", "show digests"))
@_value("-f", "--filter", "filters", many=True, said=Words("过滤", "filter, as dangling=true"))
@_form
@_whole
@_quiet
def _images(store: Store, words: Sequence[str], *, _all: bool, **options: Any) -> None:  # noqa: ANN401
    click.echo(docker.images(store, "".join(words), **options), nl=False)


@_verb("history [OPTIONS] IMAGE", 1, 1)
@click.option("-H", "--human", type=bool, default=True, help=str(Words("易读", "readable numbers")))
@_form
@_whole
@_quiet
def _history(store: Store, words: Sequence[str], **options: Any) -> None:  # noqa: ANN401
    click.echo(docker.history(store, words[0], **options), nl=False)


@_verb("inspect [OPTIONS] NAME|ID [NAME|ID...]", 1, None)
@_value("-f", "--format", "form", said=Words("json 或模板", "json or a template"))
def _inspect(store: Store, words: Sequence[str], *, form: str) -> int:
    found, status = [], 0
    for text, told in _each(words, lambda text: docker.inspect(store, text)):
        if told is None:
            status = 1
        else:
            found.append((text, told))
    if form and form != "json":
        for _, told in found:
            click.echo(templates.filled(form, told))
    else:
        indent = None if form else 4
        click.echo(json.dumps([told for _, told in found], indent=indent, ensure_ascii=False))
    return status


@_verb("tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", 2, 2)
def _tag(store: Store, words: Sequence[str]) -> None:
    docker.tag(store, *words)


@_verb("rmi [OPTIONS] IMAGE [IMAGE...]", 1, None)
@_switch("-f", "--force", said=Words("有几个名字也删除", "remove it though it has several names"))
@_switch("--no-prune", "_no_prune", said=Words("（没有中间镜像）", "(there are no images between)"))
def _rmi(store: Store, words: Sequence[str], *, force: bool, _no_prune: bool) -> int:
    status = 0
    for _, lines in _each(words, lambda text: docker.rmi(store, text, force=force)):
        status = 1 if lines is None else status
        for line in lines or ():
            click.echo(line)
    return status


@_verb("pull [OPTIONS] NAME[:TAG|@DIGEST]", 1, 1)
@_value(
    "--platform", "wanted", said=Words("系统/处理器，如 linux/arm64", "OS/ARCH, as linux/arm64")
)
@_insecure
@_switch("-q", "--quiet", said=Words("只输出名字", "only the name"))
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
    click.echo(f"{name}")


@_verb("push [OPTIONS] NAME[:TAG]", 1, 1)
@_insecure
@_switch("-q", "--quiet", said=Words("只输出名字", "only the name"))
def _push(store: Store, words: Sequence[str], *, insecure: bool, quiet: bool) -> None:
    from labkit.images.pull import push  # its HTTP library is slow to import

    name = docker.new_name(words[0])
    if not quiet and not reference.parse(words[0]).tag:
        click.echo("Using default tag: latest")
    with Lines(sys.stdout, quiet=quiet) as lines:
        lines.say(f"The push refers to repository [{name.domain}/{name.path}]")
        about = push(store, name, progress=lines, insecure=insecure)
        lines.say(f"{name.tag}: digest: {about.digest} size: {about.size}")
    if quiet:
        click.echo(f"{name}")


@_verb("load [OPTIONS]", 0, 0)
@_value("-i", "--input", "path", said=Words("从文件读", "read from a file"))
@_switch(
    "-q", "--quiet", "_quiet", said=Words("不显示进度（本来就不）", "no progress (there is none)")
)
def _load(store: Store, _: Sequence[str], *, path: str, _quiet: bool) -> None:
    if not path and sys.stdin.isatty():
        raise _Wrong(
            1,
            Words("标准输入是终端，里面没有镜像", "requested load from stdin, but stdin is empty"),
        )
    for loaded in load(store, path or sys.stdin.buffer):
        for name in loaded.names:
            click.echo(f"Loaded image: {name.familiar}")
        if not loaded.names:
            click.echo(f"Loaded image ID: {loaded.id}")


@_verb("save [OPTIONS] IMAGE [IMAGE...]", 1, None)
@_output
def _save(store: Store, words: Sequence[str], *, output: str) -> None:
    with _written(output) as out:
        save(store, words, out)


@_verb("import [OPTIONS] FILE|- [REPOSITORY[:TAG]]", 1, 2)
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
    click.echo(made)


@_verb("export [OPTIONS] CONTAINER", 1, 1)
@_output
def _export(store: Store, words: Sequence[str], *, output: str) -> None:
    root = find(store, words[0])
    with _written(output) as out:
        export((root.upper, *root.layers), out)


@_verb("commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]", 1, 2)
@_value("-a", "--author", said=Words("作者", "the author"))
@_change
@_message
def _commit(
    store: Store, words: Sequence[str], *, author: str, change: Sequence[str], message: str
) -> None:
    names = tuple(map(docker.new_name, words[1:]))
    about = About(message, author, tuple(change))
    click.echo(commit(store, find(store, words[0]), names, about))


@_verb("diff CONTAINER", 1, 1)
def _diff(store: Store, words: Sequence[str]) -> None:
    root = find(store, words[0])
    for change in changes(root.upper, root.layers):
        click.echo(f"{change}")


@_verb("base", 0, 0)
def _base(store: Store, _: Sequence[str]) -> None:
    for name, make in (("busybox", base.busybox), ("host", base.host)):
        make(store)
        click.echo(f"Loaded image: {name}:latest")


# --- What they share ----------------------------------------------------------------------------


def _each(words: Sequence[str], act: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Do it with each word. Where that is refused, it is said, and the result is None."""
    for word in words:
        try:
            yield word, act(word)
        except ValueError as error:
            click.echo(f"labkit: {error}", err=True)
            yield word, None


@contextmanager
def _written(path: str) -> Iterator[BinaryIO]:
    """The file that is asked for, which is there only when it is whole; or standard output."""
    if not path:
        if sys.stdout.isatty():
            raise _Wrong(
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
