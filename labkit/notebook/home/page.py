"""The page that the lab opens on, as HTML: what is known goes in, nothing is asked here."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from labkit.doctor.host import LEVELS, Level
from labkit.notebook.exercises.card import Bar
from labkit.notebook.home.path import Measure, Step
from labkit.notebook.mydocker.own import Standing
from labkit.text.words import Words

_STATIC = Path(__file__).parents[1] / "static"
_TITLE = Words("从零写 Docker", "Write Docker from scratch")


@dataclass(frozen=True)
class Lesson:
    """A lesson, as this learner stands. url: opens it. newer: there is one that was not taken.

    bar: the exercises solved of all. guesses: the guesses made of all.
    """

    step: Step
    measure: Measure
    bar: Bar
    guesses: Bar
    url: str
    level: Level | None
    newer: bool

    @property
    def title(self) -> str:
        """Its version and heading, in both languages."""
        return f"{self.step.version} {self.measure.title.html(' · ')}"


@dataclass(frozen=True)
class Machine:
    """What `labkit doctor` found. levels: of each lesson."""

    system: str
    levels: dict[str, Level]


@dataclass(frozen=True)
class Home:
    """All that the page shows.

    last: the lesson to go on with. docker: how far the learner's own is, and what opens it.
    books: more to read. reset: where the buttons go, with the server's own `token`.
    done: what was just done, to be said. named: the language that LABKIT_LANG asks for.
    scheme: "light" or "dark", as JupyterLab is, or "" for what the system wants.
    """

    lessons: tuple[Lesson, ...]
    last: Lesson | None
    docker: Standing
    docker_url: str
    machine: Machine | None
    books: tuple[tuple[str, Words], ...]
    reset: str
    token: str
    done: Words | None
    named: str
    scheme: str


def page(home: Home) -> str:
    """The whole page."""
    style, script = (
        (_STATIC / f"home.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    parts = (_done(home), _go_on(home), _standing(home), _path(home), _books(home))
    named, token = html.escape(home.named), html.escape(home.token)
    scheme = f' style="color-scheme: {home.scheme}"' if home.scheme else ""
    return (
        f'<!DOCTYPE html>\n<html lang="zh-Hans" data-named="{named}"{scheme}>\n<head>\n'
        '<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>labkit · {_TITLE.zh} · {_TITLE.en}</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{_TITLE.html()}</h1>{_switch()}</header>\n"
        f"<main>\n{''.join(parts)}</main>\n"
        f'<form id="reset" method="post" action="{html.escape(home.reset)}">'
        f'<input type="hidden" name="_xsrf" value="{token}"></form>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


_ONE, _BOTH = Words("中文", "English"), Words("双语", "Both")
_LANGUAGE = Words("语言", "Language")


def _switch() -> str:
    """The language switch: home.js shows it, for without a script it could do nothing."""
    choices = (
        ("zh", _ONE.zh, "zh-Hans"),
        ("en", _ONE.en, "en"),
        ("both", f"{_BOTH.zh} {_BOTH.en}", ""),
    )
    radios = "".join(
        f"<label{lang and f' lang={lang}'}>"
        f'<input type="radio" name="language" value="{value}">{text}</label>'
        for value, text, lang in choices
    )
    label = f"{_LANGUAGE.zh} · {_LANGUAGE.en}"
    return f'<div class="choices" role="radiogroup" aria-label="{label}" hidden>{radios}</div>'


def _done(home: Home) -> str:
    return f'<p class="done" role="status">✓ {home.done.html()}</p>\n' if home.done else ""


def _go_on(home: Home) -> str:
    """The one big link: where one was, else to the first lesson that is not all solved."""
    path = [each for each in home.lessons if not each.step.aside]
    unsolved = [each for each in path if each.bar.done < each.bar.total]
    lesson = home.last or (unsolved or path)[0]
    words = Words("接着上次", "Go on where you were")
    if not home.last and not any(each.bar.done for each in home.lessons):
        words = Words("从这里开始", "Begin here")
    return (
        f'<p class="go-on"><a href="{html.escape(lesson.url)}">'
        f"<small>{words.html()}</small><strong>{lesson.title}</strong></a></p>\n"
    )


def _standing(home: Home) -> str:
    """Three boxes: the exercises and guesses, one's own docker, the machine."""
    boxes = (_exercises(home.lessons), _docker(home), _machine(home.machine))
    return f'<div class="standing">{"".join(boxes)}</div>\n'


def _box(heading: Words, *parts: str) -> str:
    return f"<section><h2>{heading.html()}</h2>{''.join(parts)}</section>"


def _exercises(lessons: Iterable[Lesson]) -> str:
    """What is solved of all, and in a line what was guessed: that counts, and opens nothing."""
    bar, guesses = _sum(each.bar for each in lessons), _sum(each.guesses for each in lessons)
    words = (
        Words("全做出来了，恭喜！", "All of them are solved. Well done!")
        if bar.done == bar.total
        else None
    )
    guessed = Words(
        f"猜过 {guesses.done}/{guesses.total}；不猜也行",
        f"Guesses: {guesses.done} of {guesses.total} made; you may skip them",
    )
    return _box(Words("练习", "Exercises"), bar.html(), _line(words), _line(guessed))


def _sum(bars: Iterable[Bar]) -> Bar:
    counted = tuple(bars)
    return Bar(sum(each.done for each in counted), sum(each.total for each in counted))


def _line(words: Words | None) -> str:
    return f"<p>{words.html()}</p>" if words else ""


def _docker(home: Home) -> str:
    """How far `mydocker.py` is, what comes next, and a link into the editor."""
    heading, standing = Words("你自己的 Docker", "Your own Docker"), home.docker
    if not standing.begun:
        first = Words(
            "在 V0.1 的末尾开头：`mydocker.py`，一个从零写起的文件",
            "It begins at the end of V0.1: `mydocker.py`, one file, from scratch",
        )
        return _box(heading, _line(first))
    words = Words("每一步都做到了", "Every step is done")
    if standing.next:
        does, name = standing.next.does, standing.next.name.upper()
        words = Words(f"下一步 {name}：{does.zh}", f"Next, {name}: {does.en}")
    link = f'<p><a href="{html.escape(home.docker_url)}">mydocker.py</a></p>'
    return _box(heading, standing.bar.html(), _line(words), link if home.docker_url else "")


def _machine(machine: Machine | None) -> str:
    """What this machine allows, in a line; each lesson says it for itself."""
    heading = Words("这台机器", "This machine")
    if machine is None:
        words = Words("`labkit doctor` 说得出它允许什么", "`labkit doctor` says what it allows")
        return _box(heading, _line(words))
    levels = set(machine.levels.values())
    if levels == {"real"}:
        words = Words("每一课都能真做", "Every lesson can be done for real")
    else:
        words = Words(
            "有些课这里不能照原样做，会换一条路，并注明走的是哪一条；`labkit doctor` 说明原因",
            "Some lessons cannot be done as they are. They take another way, and say which one. "
            "`labkit doctor` says why",
        )
    return _box(heading, _line(words), f"<p><small>{html.escape(machine.system)}</small></p>")


def _path(home: Home) -> str:
    """The drawn path."""
    heading = Words("从 V0.0 到 V1.0", "From V0.0 to V1.0")
    built = "".join(_step(lesson, lesson == home.last) for lesson in home.lessons)
    return f'<section class="path"><h2>{heading.html()}</h2>\n<ol>\n{built}</ol></section>\n'


def _step(lesson: Lesson, here: bool) -> str:
    state = "all" if lesson.bar.done == lesson.bar.total else "some" if lesson.bar.done else "none"
    kind = " aside" if lesson.step.aside else ""
    current = ' aria-current="step"' if here else ""
    aside = f'<p class="note">{lesson.step.aside.html()}</p>' if lesson.step.aside else ""
    return (
        f'<li class="{state}{kind}"{current}><h3><a href="{html.escape(lesson.url)}">'
        f"{lesson.title}</a></h3>{aside}{_line(lesson.step.adds)}"
        f'<p class="facts">{_facts(lesson)}</p>{_reset(lesson)}</li>\n'
    )


def _facts(lesson: Lesson) -> str:
    """Minutes, exercises, guesses, what to know, what this machine makes of it."""
    bar, know, guesses = lesson.bar, lesson.step.know, lesson.guesses
    facts = [
        Words(f"约 {lesson.measure.minutes} 分钟", f"about {lesson.measure.minutes} minutes"),
        Words(f"练习 {bar.done}/{bar.total}", f"exercises {bar.done}/{bar.total}"),
        Words(f"先要：{know.zh}", f"know first: {know.en}"),
    ]
    if guesses.total:
        made = f"{guesses.done}/{guesses.total}"
        facts.insert(2, Words(f"猜过 {made}", f"guesses {made}"))
    if lesson.level:
        level = LEVELS[lesson.level]
        facts.append(Words(f"这里：{level.zh}", f"here: {level.en}"))
    return "".join(f"<span>{fact.html()}</span>" for fact in facts)


def _reset(lesson: Lesson) -> str:
    """The button that brings the lesson back, behind the words that say what it does."""
    head = Words("重来", "Start afresh")
    if lesson.newer:
        head = Words("有新的一版，你改过的没有动", "There is a newer one; yours was left alone")
    words = Words(
        "换回这一课原来的样子。做对的练习仍然记着；你改过的那份会存到 `old/` 里。",
        "This puts the lesson back as it was. What you have solved is remembered, and a lesson "
        "that you have changed is kept in `old/`.",
    )
    button = Words(f"{lesson.step.version} 换回原样", f"Put {lesson.step.version} back")
    return (
        f"<details{' class=newer' * lesson.newer}><summary>{head.html()}</summary>"
        f"<p>{words.html()}</p>"
        f'<button form="reset" name="lesson" value="{lesson.step.name}">{button.html()}</button>'
        "</details>"
    )


def _books(home: Home) -> str:
    heading = Words("再读些什么", "More to read")
    links = "".join(
        f'<li><a href="{html.escape(url)}">{words.html()}</a></li>' for url, words in home.books
    )
    return f'<section class="books"><h2>{heading.html()}</h2><ul>{links}</ul></section>\n'
