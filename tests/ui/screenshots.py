"""``make screenshots``: docs/images/*.png, widgets and the home page, from the real browser.

Each is taken in both themes.
"""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT
from playwright.sync_api import Browser, Locator, ViewportSize, expect, sync_playwright

from labkit.notebook.home.path import PATH, measured
from ui.lab import Lab, launch
from ui.notebook import THEMES, Notebook, Watched

IMAGES = ROOT / "docs" / "images"
NARROW: ViewportSize = {"width": 1080, "height": 800}
IMPORTS = "from labkit import *\nfrom labkit.notebook import *\n"
WALLS = "CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWPID"
BOX = f"Container(('hostname',), cloneflags={WALLS}, hostname='box', proc=True)"
SHELL = f"""env = {{"PATH": "/usr/bin:/bin", "PS1": "# ", "LANG": "C.UTF-8"}}
terminal(Container(("bash", "--norc", "-i"), cloneflags={WALLS},
                   hostname="box", proc=True, env=env))"""

GUESS = """guess("v0.2/name",
    ("容器有了新的 UTS 命名空间，还没有人改名。在里面执行 `hostname`，打印什么？",
     "A container has a new UTS namespace. Nobody has set a name. What does `hostname` print?"),
    {False: ("空的，或者 `localhost`", "Nothing, or `localhost`.", "", ""),
     True: ("外面的主机名", "The name of the host.", "", "")})"""

LAYERS = """from labkit.notebook.lessons.v07 import *
base = a_layer({"etc/motd": "base", "etc/issue": "base", "srv/old/a": "a", "data/big": "b"})
top = a_layer({"etc/motd": "top", "srv/new": "b"})
upper, work = a_space()
programs = a_layer({}, programs=True)
script = "rm /etc/issue; rm -r /srv/old; mkdir /srv/old; echo c > /srv/old/c; echo x >> /data/big"
root = Root(layers=(top, base, programs), upper=upper, work=work, bare=True)
run(Container(("/bin/sh", "-c", script), cloneflags=WALLS, root=root))
layers(Root(layers=(top, base), upper=upper, work=work), "top", "base")"""


TOPOLOGY = """from labkit.notebook.lessons.v09 import *
host = machine("host")
web, db = (start(Container(SERVE, cloneflags=WALLS)) for _ in range(2))
def bridge():
    with IPRoute() as netlink:
        netlink.link("add", ifname="br0", kind="bridge", state="up")
        [number] = netlink.link_lookup(ifname="br0")
        netlink.addr("add", index=number, address="10.0.0.1", prefixlen=24)
within(host, bridge)
plug(host, web, "to-web", "10.0.0.2", "10.0.0.1")
plug(host, db, "to-db", "10.0.0.3", "10.0.0.1")
topology(host=host, web=web, db=db)"""


@dataclass(frozen=True)
class Picture:
    """A widget as a cell shows it, or a notebook.

    code: the cell, or the notebook's file. ready: what is done, and waited for, before it is taken.
    """

    name: str
    code: str
    ready: Callable[[Notebook], object]

    def open(self, watched: Watched) -> tuple[Notebook, Locator]:
        """The notebook, and what of it is to be seen."""
        if self.code.endswith(".ipynb"):
            book = watched.open(self.code)
            return book, book.panel
        book = watched.make(self.name, [self.code])
        book.run(0)
        return book, book.output(0).locator(".labkit-widget").first


def switched(book: Notebook) -> None:
    book.run([cell["id"] for cell in book.cells()].index("language"))
    book.panel.get_by_role("radio", name="双语").check()


def chosen(book: Notebook) -> None:
    shown = book.output(0)
    shown.get_by_role("checkbox", name="net CLONE_NEWNET").check()
    expect(shown.get_by_role("row").filter(has_text="CLONE_NEWNET")).to_contain_text("new")


def walked(book: Notebook) -> None:
    forwards = book.output(0).get_by_role("button", name="Next")
    for _ in range(4):
        forwards.click()


def mapped(book: Notebook) -> None:
    expect(book.output(0).locator(".groups li").first).to_be_visible()


def layered(book: Notebook) -> None:
    expect(book.output(0).locator(".hides").first).to_be_visible()


def wired(book: Notebook) -> None:
    expect(book.output(0).locator(".cable")).to_have_count(2)


def guessed(book: Notebook) -> None:
    book.output(0).get_by_role("button", name="The name of the host.").click()
    expect(book.output(0).get_by_role("status")).to_contain_text("Noted.")


def typed(book: Notebook) -> None:
    shown = book.output(0)
    expect(shown.locator(".xterm-rows")).to_contain_text("# ")
    shown.get_by_role("textbox").focus()
    for line, answer in (("hostname", "box"), ("ps -o pid,comm", "ps")):
        book.page.keyboard.type(f"{line}\n")
        expect(shown.locator(".xterm-rows")).to_contain_text(answer)


PICTURES = (
    Picture("chooser", f"{IMPORTS}choose({BOX})", chosen),
    Picture("steps", f"{IMPORTS}steps({BOX})", walked),
    Picture(
        "namespace-map",
        f"{IMPORTS}box = start(Container(('sleep', '1000'), cloneflags={WALLS}))\nns_map()",
        mapped,
    ),
    Picture("layers", LAYERS, layered),
    Picture("topology", TOPOLOGY, wired),
    Picture("guess", f"{IMPORTS}{GUESS}", guessed),
    Picture("terminal", f"{IMPORTS}{SHELL}", typed),
    Picture("notebook", "v0.1_run.ipynb", switched),
)


HOMES = {"home-zh": "中文", "home-en": "English"}
MACHINE = "Linux 6.1.0 x86_64, uid 0"  # in the picture: not the machine that took it
# Of somebody who is at V0.3: what is solved of each lesson, and guessed at.
SOLVED = {"v0.1": 9, "v0.2": 9, "v0.3": 1}
GUESSED = {"v0.1": 9, "v0.2": 2, "v0.3": 1}


def learner(place: Path) -> dict[str, str]:
    """A lab with lessons and a learner who is on the way: its variables."""
    root, progress = place / "lab", place / "progress.json"
    docker = root / "lessons" / "mydocker.py"
    env = {
        "LABKIT_LAB": str(root),
        "LABKIT_PROGRESS": str(progress),
        "LABKIT_MYDOCKER": str(docker),
    }
    prepare = [sys.executable, "-m", "labkit.notebook.home"]
    subprocess.run(prepare, env=os.environ | env, check=True, stdout=subprocess.PIPE)
    docker.write_text("import os\n")
    solved = ["mydocker.v0.1", "mydocker.v0.2"]
    guessed: dict[str, bool] = {}
    for step in PATH:
        solved += [each.name for each in step.exercises.exercises()][: SOLVED.get(step.name, 0)]
        (file,) = (root / "lessons").glob(f"{step.name}_*.ipynb")
        guessed |= dict.fromkeys(measured(file).guesses[: GUESSED.get(step.name, 0)], True)
    progress.write_text(json.dumps({"solved": solved, "guessed": guessed}))
    (root / "lessons" / ".labkit" / "last.json").write_text('"v0.3_mount_ipc_net.ipynb"')
    return env


def take_home(place: Path, browser: Browser) -> None:
    """Take the home page, as a learner sees it without scrolling, in each language and theme."""
    place.mkdir()
    (place / "home").mkdir()
    env = learner(place)
    with Lab(place / "home", place / "lab", env) as lab:
        page = browser.new_page(viewport=NARROW)
        page.goto(f"{lab.url}/labkit")
        page.locator(".standing small").evaluate("(e, text) => { e.textContent = text }", MACHINE)
        for (name, language), theme in itertools.product(HOMES.items(), THEMES):
            page.get_by_role("radio", name=language).check()
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            file = IMAGES / f"{name}-{theme}.png"
            page.screenshot(path=file, animations="disabled", caret="hide")
            print(file.relative_to(ROOT))
        page.close()


def take(picture: Picture, watched: Watched) -> None:
    """Take one picture in both themes."""
    watched.page.set_viewport_size(NARROW)
    book, seen = picture.open(watched)
    if seen != book.panel:
        book.paint(NARROW["width"])
    picture.ready(book)
    for theme in THEMES:
        watched.theme(theme)
        file = IMAGES / f"{picture.name}-{theme}.png"
        seen.screenshot(path=file, animations="disabled", caret="hide")
        print(file.relative_to(ROOT))
    book.close()


def main(names: list[str]) -> None:
    """Take the pictures with these names, or all."""
    IMAGES.mkdir(exist_ok=True)
    wanted = [picture for picture in PICTURES if not names or picture.name in names]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = Path(folder)
        for each in ("home", "browser"):
            (place / each).mkdir()
        shutil.copytree(ROOT / "notebooks", place / "notebooks")
        with Lab(place / "home", place / "notebooks") as lab:
            browser = launch(playwright, place / "browser")
            page = browser.new_page(viewport=NARROW, device_scale_factor=1)
            watched = Watched(lab, page)
            for picture in wanted:
                take(picture, watched)
            watched.end_kernels()
            if not names or "home" in names:
                take_home(place / "own", browser)
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
