"""The page in the lab's own server: /labkit, under its token; an extension of jupyter_server."""

import asyncio
import contextlib
import html
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from jupyterlab.commands import get_user_settings_dir  # type: ignore[import-untyped]
from tornado import web

from labkit.notebook import mydocker
from labkit.notebook.exercises import progress
from labkit.notebook.exercises.card import Bar
from labkit.notebook.home.copies import FOLDER, PROJECT, Copies, last, note_last
from labkit.notebook.home.page import Home, Lesson, Machine, page
from labkit.notebook.home.path import PATH, Step, measured
from labkit.text.words import Words

ADDRESS = "labkit"
_PATIENCE = 10.0  # seconds for labkit doctor, which takes half of one

_BOOKS = (
    ("docs/terms.md", Words("术语", "Glossary")),
    ("docs/source-notes.md", Words("原来的笔记", "The notes that the lessons follow")),
    ("docs/notes.md", Words("笔记的每一行，在哪一课里", "Each line of the notes, and its lesson")),
    ("docs/kernel.md", Words("每个系统调用与标志", "Each system call and flag")),
    ("docs/design.md", Words("labkit 的结构与取舍", "How labkit is built, and why")),
    ("docs/reach.md", Words("在哪里能跑", "Where it runs")),
    (
        "labkit/container/contain.py",
        Words("源码：造一个容器的各步", "Source: the steps that build a container"),
    ),
    ("labkit", Words("源码：整个 labkit", "Source: all of labkit")),
)
_RESET = Words(
    "{} 换回了原样；做对的练习都还记着。", "{} is as it was. What you have solved is remembered."
)
_KEPT = Words("你改过的那份在 `{}`。", "The one that you had changed is `{}`.")


class Place:
    """The lab as the page knows it. root: the folder that it shows; copies: the lessons in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.copies = Copies(PROJECT / "notebooks", root / FOLDER)
        self._asked: asyncio.Task[Machine | None] | None = None

    async def machine(self) -> Machine | None:
        """What this machine allows: asked once, by a program of its own."""
        if self._asked is None:
            self._asked = asyncio.create_task(_examined())
        return await self._asked

    def file(self, step: Step) -> str:
        """The learner's copy of a lesson, as a path below the root."""
        return f"{FOLDER}/{self.copies.file_of(step.name)}"


async def _examined() -> Machine | None:
    command = (sys.executable, "-m", "labkit", "doctor", "--json")
    doctor = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        said, _ = await asyncio.wait_for(doctor.communicate(), _PATIENCE)
        found = json.loads(said)
        system = f"Linux {found['kernel']} {found['machine']}, uid {found['uid']}"
        return Machine(system, found["versions"])
    except (TimeoutError, ValueError, KeyError):
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            doctor.kill()
        await doctor.wait()


def _scheme() -> str:
    """Whether somebody has chosen a light or a dark JupyterLab; "" where nobody has."""
    file = Path(get_user_settings_dir(), "@jupyterlab", "apputils-extension")
    try:
        said = (file / "themes.jupyterlab-settings").read_text(encoding="utf-8")
    except OSError:
        return ""
    chosen = re.search(r'^\s*"theme"\s*:\s*"([^"]*)"', said, re.MULTILINE)
    follows = re.search(r'^\s*"adaptive-theme"\s*:\s*true', said, re.MULTILINE)
    return ("dark" if "Dark" in chosen[1] else "light") if chosen and not follows else ""


class _Handler(JupyterHandler):
    """Whoever has the lab's token."""

    def initialize(self, place: Place) -> None:
        self.place = place

    def lab(self, path: str) -> str:
        """The address that opens a file or folder in JupyterLab."""
        return url_path_join(self.base_url, "lab", "tree", quote(path))

    def own(self, *path: str) -> str:
        """An address of ours."""
        return url_path_join(self.base_url, ADDRESS, *path)


class PageHandler(_Handler):
    """The page."""

    @web.authenticated
    async def get(self) -> None:
        """Show it as things are now."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        await self.finish(page(await self.home()))

    async def home(self) -> Home:
        """All that it shows."""
        machine = await self.place.machine()
        lessons = tuple(self.lesson(step, machine) for step in PATH)
        file = last(self.place.copies.folder)
        names = [self.place.copies.file_of(step.name) for step in PATH]
        docker = mydocker.standing()
        return Home(
            lessons=lessons,
            last=lessons[names.index(file)] if file in names else None,
            docker=docker,
            docker_url=self.docker_url(docker.path),
            machine=machine,
            books=tuple(
                (self.lab(path), words)
                for path, words in _BOOKS
                if (self.place.root / path).exists()
            ),
            reset=self.own("reset"),
            token=self.xsrf_token.decode(),
            done=self.done(),
            named=os.environ.get("LABKIT_LANG", "")[:2].lower(),
            scheme=_scheme(),
        )

    def lesson(self, step: Step, machine: Machine | None) -> Lesson:
        """A lesson of the path, as this learner stands."""
        copies = self.place.copies
        name = copies.file_of(step.name)
        there, measure = (copies.folder / name).exists(), measured(copies.originals / name)
        made = progress.guessed().keys() & set(measure.guesses)
        return Lesson(
            step=step,
            measure=measure,
            bar=step.exercises.bar(),
            guesses=Bar(len(made), len(measure.guesses)),
            url=self.own("open", step.name),
            level=machine.levels.get(step.name) if machine else None,
            newer=there and copies.is_old(name) and copies.changed(name),
        )

    def docker_url(self, path: str) -> str:
        """What opens the learner's own docker in the editor; "" where the lab does not reach."""
        if not path or not Path(path).is_relative_to(self.place.root):
            return ""
        return self.lab(str(Path(path).relative_to(self.place.root)))

    def done(self) -> Words | None:
        """What the button has just done."""
        name, kept = self.get_query_argument("reset", ""), self.get_query_argument("kept", "")
        if name not in {step.name for step in PATH}:
            return None
        said = _RESET.filled(name.upper() if not name.endswith("b") else f"V{name[1:]}")
        more = _KEPT.filled(f"{FOLDER}/{html.unescape(kept)}") if kept else Words("", "")
        return Words(said.zh + more.zh, f"{said.en} {more.en}".strip())


class OpenHandler(_Handler):
    """A lesson, opened."""

    @web.authenticated
    def get(self, name: str) -> None:
        """Remember that it was, and go to it; a copy that was thrown away is made again."""
        step = next((step for step in PATH if step.name == name), None)
        if step is None:
            raise web.HTTPError(404)
        file = self.place.root / self.place.file(step)
        if not file.exists():
            self.place.copies.reset(file.name)
        note_last(str(file))
        self.redirect(self.lab(self.place.file(step)))


class ResetHandler(_Handler):
    """A lesson, brought back."""

    @web.authenticated
    def post(self) -> None:
        """Bring it back; the page says so."""
        name = self.get_body_argument("lesson")
        try:
            kept = self.place.copies.reset(self.place.copies.file_of(name))
        except ValueError:
            raise web.HTTPError(404) from None
        self.redirect(f"{self.own()}?reset={quote(name)}&kept={quote(kept)}", status=303)


def _load_jupyter_server_extension(app: Any) -> None:  # noqa: ANN401 - jupyter_server.ServerApp
    """What jupyter_server calls: the page stands at /labkit, and JupyterLab's pages know where."""
    place, base = Place(Path(app.root_dir)), app.web_app.settings["base_url"]
    handlers = (
        ("/?", PageHandler),
        (r"/open/([\w.]+)", OpenHandler),
        ("/reset", ResetHandler),
    )
    root = url_path_join(base, ADDRESS)
    ours = [(root + end, handler, {"place": place}) for end, handler in handlers]
    app.web_app.add_handlers(".*$", ours)
    app.web_app.settings.setdefault("page_config_data", {})["labkitHome"] = root


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """What jupyter_server asks first: where to find the function above."""
    return [{"module": __name__}]
