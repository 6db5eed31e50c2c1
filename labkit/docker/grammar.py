"""A command line as docker's own reader, pflag, takes it: which options, with which values.

These are pflag's rules. Those of getopt_long(3), which labkit/unshare/options.py follows, share
only the loop with them: there -eA=1 has the value "A=1" too, but -e=1 the value "=1", a switch has
no value, and a long option may be shortened.
"""

from _collections_abc import Collection, Iterator, Sequence

from labkit.docker.absent import Refused
from labkit.docker.rights import FALSE, TRUE
from labkit.text.words import Words

SHORT = {
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "P": "publish-all",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}


class HelpAsked(Exception):  # noqa: N818 - it says what happened
    """The command asks what it can do: docker, docker --help, docker run --help."""


def options(
    rest: list[str], switches: Collection[str], valued: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Take the options from the front of `rest`, each with its value; what is left is not ours.

    switches: options that need no value. valued: those that do. HelpAsked: --help stands there.
    """
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        if word == "--help":
            raise HelpAsked
        if word.startswith("--"):
            yield _long(word, rest, switches, valued)
        else:
            yield from _letters(word[1:], rest, switches, valued)


def _long(
    word: str, rest: list[str], switches: Collection[str], valued: Collection[str]
) -> tuple[str, str]:
    name, equals, value = word[2:].partition("=")
    if name not in switches and name not in valued:
        raise Refused(
            Words(f"docker run 没有 --{name} 这个选项", f"unknown flag: --{name}"),
        )
    if equals or name in switches:
        return name, value if equals else "true"
    return name, _next(rest, Words(f"--{name}", f"--{name}"))


def _letters(
    letters: str, rest: list[str], switches: Collection[str], valued: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The options in one word such as -it or -eA=1."""
    word = letters
    while letters:
        letter, letters = letters[0], letters[1:]
        name = SHORT.get(letter, "")
        if name in switches:
            value, letters = (letters[1:], "") if letters.startswith("=") else ("true", letters)
        elif name not in valued:
            en = f"unknown shorthand flag: '{letter}' in -{word}"
            raise Refused(Words(f"docker run 没有 -{letter} 这个选项", en))
        elif letters:
            value, letters = letters.removeprefix("="), ""
        else:
            value = _next(rest, Words(f"-{letter}", f"'{letter}' in -{word}"))
        yield name, value


def _next(rest: list[str], option: Words) -> str:
    """The value of an option that has none in its own word."""
    if not rest:
        raise Refused(Words(f"{option.zh} 后面缺一个值", f"flag needs an argument: {option.en}"))
    return rest.pop(0)


def truth(option: str, value: str) -> bool:
    """The value of a switch: Go's strconv.ParseBool."""
    if value not in TRUE | FALSE:
        en = f'invalid argument "{value}" for "{option}" flag: it is true or false'
        raise Refused(Words(f"{option} 只能是 true 或 false", en))
    return value in TRUE


def spelt(name: str) -> str:
    """An option as docker's help writes it: -m, --memory."""
    letters = [letter for letter, option in SHORT.items() if option == name]
    return ", ".join([*(f"-{each}" for each in letters), f"--{name}"])


def refused(option: str, value: str, why: Sequence[Words]) -> Refused:
    """An option whose value its reader has refused, as pflag says it."""
    zh, en = ("；".join(each.zh for each in why), "; ".join(each.en for each in why))
    return Refused(
        Words(f"{option}：{zh}", f'invalid argument "{value}" for "{option}" flag: {en}')
    )
