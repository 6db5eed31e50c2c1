"""What came of a container that was tried, for a page: namespaces, output, trace, translations."""

import html
from dataclasses import dataclass, replace
from typing import Any

from labkit.container.container import Container, Finished
from labkit.notebook.cells.attempt import attempt, note, refused
from labkit.notebook.cells.ending import how_it_ended
from labkit.notebook.views.dialects import Translation, translations
from labkit.notebook.views.show import Comparison, compare
from labkit.notebook.views.trial import Trial
from labkit.text.words import Words, as_data, words_of

_ROOTLESS = Words(
    "这台机器不许我们直接做，这一次由新的用户命名空间里的 root 来做（rootless）。",
    "This machine refuses it to us: root of a new user namespace did it for us (rootless).",
)
_HOST, _BOX = Words("宿主机", "host"), Words("容器", "container")


@dataclass(frozen=True, repr=False)
class Outcome:
    """What came of one choice; where it came to nothing, `said` says why.

    box: the container, or None: what was chosen is none. finished: None when it was refused.
    said: what a person should know, worst first. trace: the calls, the refused one last.
    """

    box: Container | None
    said: tuple[Words, ...] = ()
    call: str = ""
    finished: Finished | None = None
    comparison: Comparison | None = None
    trace: tuple[str, ...] = ()
    translations: tuple[Translation, ...] = ()

    @property
    def ended(self) -> Words | None:
        """How its program ended."""
        return how_it_ended(self.finished.returncode) if self.finished else None

    def data(self) -> dict[str, Any]:
        """As JSON has it, for the page's script."""
        rows = self.comparison.rows if self.comparison else ()
        return {
            "said": [as_data(words) for words in self.said],
            "call": self.call,
            "ended": as_data(self.ended) if self.ended else None,
            "stdout": self.finished.stdout if self.finished else "",
            "stderr": self.finished.stderr if self.finished else "",
            "rows": {row.kind.name: [row.a, row.b, row.verdict.en] for row in rows},
            "trace": list(self.trace),
            "translations": [as_data(each) for each in self.translations],
        }

    def __str__(self) -> str:
        parts = [self.call, *map(str, self.said), str(self.comparison or "")]
        if self.finished:
            parts += [self.finished.stdout + self.finished.stderr + str(self.ended)]
        parts += ["\n".join(self.trace)]
        for each in self.translations:
            notes = "".join(f"- {note}\n" for note in each.notes)
            parts.append(f"{each.language}\n{each.code}{notes}")
        return "\n\n".join(part.strip("\n") for part in parts if part)

    def _repr_html_(self) -> str:
        parts = [f"<p><code>{html.escape(self.call)}</code></p>" if self.call else ""]
        parts += [f"<p>{words.html()}</p>" for words in self.said]
        if self.comparison:
            parts.append(self.comparison._repr_html_())
        if self.finished and self.ended:
            parts.append(_section(_OUTPUT.html(), self.finished.stdout + self.finished.stderr))
            parts.append(f"<p>{self.ended.html()}</p>")
        if self.trace:
            parts.append(_section(_TRACE.html(), "\n".join(self.trace)))
        parts += [_translated(each) for each in self.translations]
        return "\n".join(filter(None, parts))


_OUTPUT = Words("输出", "Output")
_TRACE = Words("调用记录", "Trace")


def _section(title: str, text: str) -> str:
    return (
        f'<p style="margin:12px 0 4px"><strong>{title}</strong></p>\n<pre>{html.escape(text)}</pre>'
    )


def _translated(each: Translation) -> str:
    notes = "".join(f"<li>{note.html()}</li>" for note in each.notes)
    return _section(each.language, each.code) + (f"\n<ul>{notes}</ul>" if notes else "")


def outcome(trial: Trial) -> Outcome:
    """Run `trial` and say what came of it, whatever that is."""
    box = trial.box
    blank = Outcome(box, translations=translations(box))
    try:
        tried, helped = attempt(trial.run)
    except OSError as error:
        note(refused, error)
        trace = tuple(vars(error).get("trace", ()))
        return replace(blank, said=words_of(error), call=error.strerror or "", trace=trace)
    except (ValueError, RuntimeError) as error:
        return replace(blank, said=words_of(error))
    done = tried.finished
    shown = replace(compare("self", done), names=(_HOST, _BOX))
    return replace(
        blank,
        said=(*([tried.cut] if tried.cut else []), *([_ROOTLESS] if helped else [])),
        finished=done,
        comparison=shown,
        trace=done.trace,
    )
