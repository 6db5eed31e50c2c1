"""``labkit completion bash``: what completes the command line with the Tab key, by click.

The script of click's asks `labkit` itself, in a process with the variable `VARIABLE`. The answer
comes from the same tables and commands that read a command line: nothing is listed twice.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from labkit.cli import verbs
from labkit.cli.command import Wrong
from labkit.text.words import Words

VARIABLE = "_LABKIT_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_FILES = [CompletionItem("", type="file")]  # the shell itself completes names of files
_OPTIONS: Mapping[str, str] = {"--network": "NETWORK", "--net": "NETWORK"}
_OPTIONS = {**_OPTIONS, **dict.fromkeys(("--volumes-from", "--link"), "CONTAINER")}
_SAME = {"ls": "ps", "list": "ps", "remove": "rm"}
_SAME_IMAGE = {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi"}


def main(arguments: Sequence[str], others: Mapping[str, object]) -> int:
    """Print the script of a shell, or, when that asks, what may come next; the exit status.

    others: the commands that are not Docker's.
    """
    if instruction := os.environ.get(VARIABLE) if not arguments else None:
        shell, _, _ = instruction.partition("_")
        click.echo(_completer(shell, others).complete())
        return 0
    if arguments[:1] in (["-h"], ["--help"]):
        click.echo(
            f"Usage:  labkit completion {'|'.join(SHELLS)}\n\nsource <(labkit completion bash)"
        )
        return 0
    if len(arguments) != 1 or arguments[0] not in SHELLS:
        said = "labkit completion takes one of: " + ", ".join(SHELLS)
        sys.stderr.write(f"labkit: {Words('labkit completion 后面是 bash、zsh 或 fish', said)}\n")
        return 1
    click.echo(_completer(arguments[0], others).source())
    return 0


def _completer(shell: str, others: Mapping[str, object]) -> ShellComplete:
    """What click has for a shell; what may come next is ours to say."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Wrong(1, Words(f"没有 {shell} 的补全", f"there is no completion for {shell}"))

    class Ours(kind):  # type: ignore[valid-type, misc]
        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
            return completions(args, incomplete, others)

    made: ShellComplete = Ours(click.Group("labkit"), {}, "labkit", VARIABLE)
    return made


def completions(
    words: Sequence[str], begun: str, others: Mapping[str, object]
) -> list[CompletionItem]:
    """What may come after these words. begun: what is typed of it so far."""
    if not words:
        found = _told({**others, **verbs.VERBS})
    elif len(words) == 1 and words[0] in verbs.GROUPS:
        found = _told(_group(words[0]))
    else:
        found = _of_verb(words, begun)
    return [each for each in found if each.type == "file" or each.value.startswith(begun)]


def _told(found: Mapping[str, object]) -> list[CompletionItem]:
    return [CompletionItem(name, help=f"{what}" or None) for name, what in found.items()]


def _group(name: str) -> Mapping[str, Words]:
    """The verbs of container, image, ..., with those that they have under another name."""
    own: dict[str, Words] = {**getattr(verbs, name.upper())}
    if name == "container":
        own |= verbs.NEW | verbs.CONTAINERS | {"ls": verbs.CONTAINERS["ps"]}
    if name == "image":
        own |= verbs.IMAGES | {"ls": verbs.IMAGES["images"], "rm": verbs.IMAGES["rmi"]}
    return own


def _of_verb(words: Sequence[str], begun: str) -> list[CompletionItem]:
    """What may come after a verb: its options, or a name of what it is about."""
    group = words[0] if words[0] in verbs.GROUPS else ""
    rest = words[1:] if group else words
    same = _SAME if group == "container" else _SAME_IMAGE if group == "image" else {}
    verb = same.get(rest[0], rest[0])
    if verb in verbs.NEW:
        return _of_run(rest[1:], begun)
    command = _command(group, verb)
    if command is None:
        return _FILES
    options = {name: param for param in command.params for name in param.opts if name[:1] == "-"}
    if begun.startswith("-"):
        return [CompletionItem(name, help=_help(param)) for name, param in options.items()]
    takes = {name for name, param in options.items() if not getattr(param, "is_flag", False)}
    if rest[-1] in takes:
        return _FILES
    form = next(f"{each.metavar}" for each in command.params if each.name == "words")
    return _named(form.split(), len(_plain(rest[1:], takes)))


def _help(param: click.Parameter) -> str | None:
    return getattr(param, "help", None)


def _plain(words: Sequence[str], takes: "set[str]") -> list[str]:
    """The words that are neither options nor their values."""
    found, skip = [], False
    for word in words:
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = not skip and word in takes
    return found


def _of_run(words: Sequence[str], begun: str) -> list[CompletionItem]:
    """What may come after run or create: an option, its value, an image, a program's arguments."""
    from labkit.docker import options

    takes = {f"--{name}" for name in options.OPTIONS} | {"-e", "-h", "-l", "-m", "-p", "-u", "-v"}
    takes |= {"-w", "-a", "-c"}
    if words and words[-1] in takes:
        kind = _OPTIONS.get(words[-1])
        return _named([kind], 0) if kind else _FILES
    if _plain(words, takes):
        return _FILES
    if begun.startswith("-"):
        return [CompletionItem(f"--{name}") for name in (*options.SWITCHES, *options.OPTIONS)]
    return _named(["IMAGE"], 0)


def _command(group: str, verb: str) -> click.Command | None:
    """The command of a verb, with its options, as click has it."""
    from labkit.cli import containers, groups, images, networks

    if group == "network":
        return networks.command(verb)
    if group not in ("", "container", "image"):
        return groups.command(group, verb)
    if verb in verbs.CONTAINERS:
        return containers.command(verb)
    return images.command(verb) if verb in verbs.IMAGES else groups.command(group, verb)


# --- Names of what is there ---------------------------------------------------------------------


def _containers() -> Iterator[str]:
    from labkit.monitor import record

    yield from (each.name for each in record.every())


def _images() -> Iterator[str]:
    from labkit.images.store import opened

    store = opened()
    for image in store.images() if store else ():
        yield from (name.familiar for name in image.tags)


def _networks() -> Iterator[str]:
    from labkit.docker import bridges

    yield from (each.name for each in bridges.every())


def _volumes() -> Iterator[str]:
    from labkit.docker import volumes

    yield from volumes.names()


_KINDS: Mapping[str, Callable[[], Iterator[str]]] = {
    "CONTAINER": _containers,
    "IMAGE": _images,
    "NETWORK": _networks,
    "VOLUME": _volumes,
}


def _named(form: Sequence[Any], place: int) -> list[CompletionItem]:
    """Names for one place of a usage such as "CONTAINER NEW_NAME"; its last may repeat."""
    asked = str(form[min(place, len(form) - 1)]) if form else ""
    if place >= len(form) and "..." not in asked:
        return []
    kinds = [kind for kind in _KINDS if kind in asked]
    kinds = ["CONTAINER", "IMAGE"] if "NAME|ID" in asked else kinds
    found = [CompletionItem(name) for kind in kinds for name in _KINDS[kind]()]
    return (_FILES if not kinds or "PATH" in asked else []) + found  # files first: click wants it
