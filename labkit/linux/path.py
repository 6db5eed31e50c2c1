"""Where a program is: the search of execvp(3) through PATH."""

import os


def places(program: str, path: str) -> list[str]:
    """Where `program` may be, in order: itself if it has a slash, else a file in each directory.

    An empty name in PATH is the working directory.
    """
    if "/" in program:
        return [program]
    return [f"{directory or '.'}/{program}" for directory in path.split(":")]


def candidates(program: str, path: str, cwd: str) -> list[str]:
    """Which of the places to try, seen from the directory `cwd`.

    It is the first that can be executed. Without one it is the first that is a file: the kernel is
    to say why it refuses that. Without any file it is every place, and the kernel says so too.
    """
    found = places(program, path)
    if "/" in program:
        return found
    for place in found:
        there = os.path.join(cwd, place)
        if os.access(there, os.X_OK) and os.path.isfile(there):
            return [place]
    return [place for place in found if os.path.isfile(os.path.join(cwd, place))][:1] or found


def found(program: str, path: str) -> str | None:
    """The first file of this name that can be executed, if there is one: which(1)."""
    for place in places(program, path):
        if os.access(place, os.X_OK) and os.path.isfile(place):
            return place
    return None
