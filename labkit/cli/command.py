"""What all of Docker's verbs on the command line share, by click: a family of them is one module.

Importing click takes longer than a container's start, so a family is imported when one of its verbs
is asked for, and never otherwise.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from labkit.text.words import Advice, Words

MISUSED = 125  # docker's status for an option that it does not have
Function = Callable[..., int | None]


class Wrong(Exception):  # noqa: N818 - it says what happened
    """A command line that cannot be carried out: what is said, and the exit status."""

    def __init__(self, status: int, said: Words) -> None:
        super().__init__(said)
        self.status = status


class Family:
    """Verbs that stand together. told: what each does. given: makes what each function gets first.

    of: words that stand before the verb, as "volume".
    """

    def __init__(
        self, told: Mapping[str, Words], given: Callable[[], object] | None = None, of: str = ""
    ) -> None:
        self._told, self._given, self._of = told, given, of
        self._verbs = click.Group("labkit")

    def main(self, arguments: Sequence[str]) -> int:
        """Run one of the verbs; the exit status. ValueError or OSError: why it cannot be done."""
        name = " ".join(filter(None, ("labkit", self._of, arguments[0])))
        if arguments[0] not in self._verbs.commands:
            return self._help(arguments[0])
        verb = self._verbs.commands[arguments[0]]
        try:
            with _advising(), verb.make_context(name, list(arguments[1:])) as context:
                return verb.invoke(context) or 0
        except click.exceptions.Exit as end:  # --help
            return end.exit_code
        except click.NoSuchOption as error:
            told = Words(f"没有 {error.option_name} 这个选项", f"unknown flag: {error.option_name}")
            return _complain(verb, told, MISUSED)
        except click.UsageError as error:
            return _complain(verb, Words(error.format_message(), error.format_message()), MISUSED)
        except Wrong as error:
            return _complain(verb, error.args[0], error.status)

    def command(self, verb: str) -> click.Command | None:
        """The command of a verb, for who completes a command line."""
        return self._verbs.commands.get(verb)

    def _help(self, word: str) -> int:
        """What a group can do; for a word that is no verb, as an error."""
        asked = word in ("--help", "-h")
        said = [f"{verb.short_help}" for verb in self._verbs.commands.values()]
        if not asked:
            what = f"labkit: unknown command: labkit {self._of} {word}"
            click.echo(Words(f"labkit {self._of}：没有 {word!r}", what).joined(" / "), err=True)
        click.echo("\n".join(said), err=not asked)
        return 0 if asked else 1

    def verb(
        self, form: str, least: int, most: int | None, *, passes: bool = False
    ) -> Callable[[Function], Function]:
        """Make a command of a function. `form` shows how it is written: "tag SOURCE TARGET".

        least, most: how many words may follow the options. passes: what stands after the first word
        belongs to a program, options too.
        """
        name, _, rest = form.removeprefix(f"{self._of} ").partition(" ")

        metavar = rest.removeprefix("[OPTIONS] ")
        words = click.argument("words", nargs=-1, metavar=metavar, type=click.UNPROCESSED)
        command = self._verbs.command(
            name,
            help=self._told[name].joined("\n\n"),
            short_help=f"labkit {form}",
            context_settings={"allow_interspersed_args": not passes},
        )

        def decorate(function: Function) -> Function:
            command(words(self._checking(function, name, least, most)))
            return function

        return decorate

    def _checking(
        self, function: Function, name: str, least: int, most: int | None
    ) -> Callable[..., int]:
        """`function` as click calls it: the number of words is checked, and its first one given."""

        @functools.wraps(function)  # with the options that click has noted on it
        def called(words: tuple[str, ...], **options: object) -> int:
            if not least <= len(words) <= (len(words) if most is None else most):
                raise Wrong(1, _how_many(f"{self._of} {name}".strip(), least, most))
            first = [self._given()] if self._given else []
            return function(*first, words, **options) or 0

        return called


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


def _how_many(name: str, least: int, most: int | None) -> Words:
    """Docker's words for a wrong number of arguments."""
    if not most and most is not None:
        return Words(f"labkit {name} 不要参数", f"'labkit {name}' accepts no arguments")
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


def switch(*names: str, said: Words) -> Callable[[Any], Any]:
    """An option that is there or not."""
    return click.option(*names, is_flag=True, help=str(said))


def value(*names: str, said: Words, many: bool = False) -> Callable[[Any], Any]:
    """An option with a value, which may be given several times."""
    default = None if many else ""
    return click.option(*names, default=default, multiple=many, help=str(said))


def filters(*names: str) -> Callable[[Any], Any]:
    """The option --filter, each time with a name and a value; or one of other `names`."""

    def checked(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
        for text in given:
            if "=" not in text:
                how = "bad format of filter (expected name=value)"
                told = f'invalid argument "{text}" for "-f, --filter" flag: {how}'
                raise Wrong(MISUSED, Words(f"--filter 写成 名字=值，而不是 {text!r}", told))
        return given

    said = Words("过滤", "filter, as name=value")
    return click.option(
        *(names or ("-f", "--filter")), "filters", multiple=True, callback=checked, help=f"{said}"
    )


def each(words: Sequence[str], act: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Do it with each word. Where that is refused, it is said, and the result is None."""
    for word in words:
        try:
            yield word, act(word)
        except ValueError as error:
            click.echo(f"labkit: {error}", err=True)
            yield word, None
