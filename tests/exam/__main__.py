"""make exam: labkit is examined, or real Docker once more, and docs/docker.md is written."""

import argparse
import os
import sys

from exam import page, side, verdict
from exam.cases import Case, cases
from exam.dockerd import dockerd, is_here
from exam.sitting import Answer, Command, Sitting, Warm, environment, room, sit


def _put(command: Command, folder: str, asked: list[Case]) -> dict[str, Answer]:
    """Ask, and say where we are."""
    found = {}
    for case, answer in sit(command, folder, asked):
        found[case.key] = answer
        print(f"\r{len(found)}/{len(asked)} {case.key:60}", end="", flush=True)
    print()
    return found


def _ask_docker(tree: str, asked: list[Case]) -> None:
    with dockerd(tree) as docker, room() as folder:
        answers = _put(Command(docker.command, environment(folder)), folder, asked)
    verdict.keep_docker(docker.version, answers)


def _side_by_side(tree: str, *, running: bool) -> None:
    if running:  # both must have the image busybox
        side.write(("docker",), dict(os.environ))  # a copy: write() empties the original
        return
    with dockerd(tree) as docker, room() as folder:
        env = environment(folder)
        for command in (Command(docker.command, env), Warm(env)):
            Sitting(command, folder)
            command.close()
        side.write(docker.command, env)


def _ask_labkit(asked: list[Case]) -> None:
    with room() as folder:
        command = Warm(environment(folder))
        try:
            verdict.keep_labkit(_put(command, folder, asked))
        finally:
            command.close()


def main() -> None:
    """Examine; keep the answers and the page."""
    parser = argparse.ArgumentParser(prog="make exam", description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of the names of cases; without any, all")
    parser.add_argument("--docker", action="store_true", help="ask a dockerd, not labkit")
    parser.add_argument("--side", action="store_true", help="one run of both, side by side")
    parser.add_argument("--running", action="store_true", help="--side: the dockerd that runs")
    parser.add_argument("--tree", default="", help="the root directory that has the dockerd")
    asked = parser.parse_args()
    only = asked.only or [""]
    chosen = [case for case in cases().values() if any(part in case.key for part in only)]
    if (asked.docker or asked.side) and not asked.running and not is_here(asked.tree):
        sys.exit("there is no dockerd here: --tree names a root directory that has one")
    if asked.side:
        _side_by_side(asked.tree, running=asked.running)
        return
    if asked.docker:
        _ask_docker(asked.tree, chosen)
    else:
        _ask_labkit(chosen)
    verdict.forget(cases())
    page.write()


if __name__ == "__main__":
    main()
