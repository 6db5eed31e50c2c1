"""Regular expressions that are compiled when they are first used.

Most of those that a start could need are not used by it, and the module re is imported with the
first one that is: it takes longer to import than many modules of ours together.
"""

TYPE_CHECKING = False  # typing is not needed to run
if TYPE_CHECKING:
    from re import ASCII, DOTALL, IGNORECASE, Match, compile, findall, fullmatch, search, sub  # noqa: A004
    from typing import Any

__all__ = [
    "ASCII",
    "DOTALL",
    "IGNORECASE",
    "Match",
    "compile",
    "findall",
    "fullmatch",
    "search",
    "sub",
]


class _Pattern:
    """A pattern to be compiled: what is asked of it is asked of what that makes."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self._asked = pattern, flags

    def __getattr__(self, name: str) -> "Any":  # noqa: ANN401 - as re.Pattern has it
        import re

        return getattr(re.compile(*self._asked), name)  # which keeps what it has compiled


def __getattr__(name: str) -> "Any":  # noqa: ANN401 - as the module re has it
    if name not in __all__:
        raise AttributeError(name)
    import re

    return getattr(re, name)


if not TYPE_CHECKING:
    ASCII, DOTALL, IGNORECASE = 256, 16, 2
    compile = _Pattern  # noqa: A001 - as re has it
