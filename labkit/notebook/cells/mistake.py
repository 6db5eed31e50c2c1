"""A cell's error: what is wrong first, then the reader's own lines; frames of ours are folded.

IPython begins with the outermost frame and ends with the message, below dozens of lines of code
that the reader has not written. ``%tb`` still shows all of it, by IPython's own means.
"""

import functools
import sys
import sysconfig
from collections.abc import Callable
from types import TracebackType
from typing import Any

from labkit.engine.boot import PACKAGE
from labkit.text.words import Words

_LIBRARIES = (sysconfig.get_path(name) + "/" for name in ("stdlib", "purelib", "platlib"))
FOREIGN = (f"{PACKAGE}/", *_LIBRARIES, "<frozen", "<string>")
"""How the names of files begin whose code is not the reader's own."""

_FOLDED = Words(
    "（再往里就不是你写的代码了；%tb 显示全部）",
    "(Further in, the code is not yours; %tb shows all of it.)",
    "\n",
)
_CHAINED = Words(
    "（它是处理另一个错误时发生的；%tb 显示全部）",
    "(It was raised while another error was handled; %tb shows all of it.)",
    "\n",
)
_Format = Callable[..., list[str]]


def fold_errors(shell: Any) -> None:  # noqa: ANN401 - IPython's own
    """From now on show the errors of this shell's cells so."""
    formatter = shell.InteractiveTB
    if not isinstance(formatter.structured_traceback, functools.partial):
        formatter.structured_traceback = functools.partial(
            _folded, formatter, formatter.structured_traceback
        )


def _folded(
    formatter: Any,  # noqa: ANN401 - IPython's own
    whole: _Format,
    kind: type[BaseException],
    error: BaseException,
    where: TracebackType | None = None,
    tb_offset: int | None = None,
    context: int = 5,
) -> list[str]:
    """The lines to show; IPython's own where it is asked for more, as by %tb or %xmode."""
    own, has_more = _own(where)
    fails_now = sys.exc_info()[1] is error  # else somebody asks for it again
    if not own or not fails_now or formatter.mode != "Context":
        return whole(kind, error, where, tb_offset, context)
    [[_, *lines]] = formatter.format_exception_as_a_whole(kind, error, own, context, 0)
    message = len(formatter.format_exception(kind.__name__, error))
    notes = [str(_FOLDED)] * has_more + [str(_CHAINED)] * _is_chained(error)
    return [*lines[-message:], *lines[:-message], *notes]


def _own(where: TracebackType | None) -> tuple[TracebackType | None, bool]:
    """The frames of `where` that are the reader's, and whether there are others below the first."""
    frames = []
    while where:
        frames.append(where)
        where = where.tb_next
    mine = [frame for frame in frames if not _is_foreign(frame)]
    chain: TracebackType | None = None
    for frame in reversed(mine):
        chain = TracebackType(chain, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return chain, bool(mine) and len(mine) < len(frames) - frames.index(mine[0])


def _is_foreign(frame: TracebackType) -> bool:
    return frame.tb_frame.f_code.co_filename.startswith(FOREIGN)


def _is_chained(error: BaseException) -> bool:
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return before is not None
