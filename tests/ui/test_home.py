"""The lab's home page and the lessons that it leads to, as `make lab` starts them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from playwright.sync_api import Locator, Page, expect

from labkit.notebook.home.path import measured
from ui.axe import violations
from ui.lab import Lab
from ui.notebook import IDLE, LOOPBACK, SIZE, UNSAVED, Watched

OPEN = "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path"
# Pictures of docs/source-notes.md, which is as its author has written it.
PICTURES = "https://user-images.githubusercontent.com/"
SETTINGS = "settings/@jupyterlab/apputils-extension/themes.jupyterlab-settings"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the learner's copies in it, as scripts/lab prepares them."""
    place = tmp_path_factory.mktemp("own")
    root, home = place / "lab", place / "home"
    home.mkdir()
    env = {"LABKIT_LAB": str(root), "LABKIT_PROGRESS": str(place / "progress.json")}
    prepare = [sys.executable, "-m", "labkit.notebook.home"]
    subprocess.run(prepare, env=os.environ | env, check=True, stdout=subprocess.PIPE)
    docker = str(root / "lessons" / "mydocker.py")
    with Lab(home, root, env | {"LABKIT_MYDOCKER": docker}) as lab:
        yield lab


@pytest.fixture(scope="module")
def tab(shared: Watched) -> Iterator[Page]:
    """The page of all tests here: what it has loaded and compiled before is there sooner."""
    assert shared.page.context.browser
    context = shared.page.context.browser.new_context(locale="en-US", viewport=SIZE)
    context.set_default_timeout(PATIENCE * 1000)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(own: Lab, tab: Page) -> Iterator[Page]:
    """A page in whose browser nobody has chosen anything yet; nothing may go wrong there.

    JupyterLab would open again, with a kernel each, all that another test has left open.
    """
    shutil.rmtree(own.home / "workspaces", ignore_errors=True)
    wrong: list[str] = []
    watchers: dict[str, Callable[..., None]] = {
        "pageerror": lambda error: wrong.append(str(error)),
        "request": lambda asked: wrong.append(asked.url) if is_strange(asked.url) else None,
    }
    for event, watcher in watchers.items():
        tab.on(event, watcher)  # type: ignore[call-overload]
    tab.goto(f"{own.url}/")
    yield tab
    # What comes now is JupyterLab's, of kernels that we end as they begin.
    for event, watcher in watchers.items():
        tab.remove_listener(event, watcher)
    end_kernels(tab, own)
    tab.evaluate("localStorage.clear()")
    tab.goto("about:blank")
    tab.emulate_media(color_scheme="null")
    tab.set_viewport_size(SIZE)
    assert wrong == []


def is_strange(url: str) -> bool:
    return not LOOPBACK.match(url) and not url.startswith(PICTURES)


def end_kernels(page: Page, own: Lab) -> None:
    for session in page.request.get(f"{own.url}/api/sessions").json():
        xsrf = next(c["value"] for c in page.context.cookies() if c["name"] == "_xsrf")
        page.request.delete(
            f"{own.url}/api/sessions/{session['id']}", headers={"X-XSRFToken": xsrf}
        )


def solve(own: Lab, *names: str) -> None:
    Path(own.more["LABKIT_PROGRESS"]).write_text(json.dumps({"solved": names}))


def guess(own: Lab, **right: bool) -> None:
    """Have these questions guessed at: v0_2=..., for the first question of V0.2."""
    names = {}
    for lesson, said in right.items():
        (file,) = (own.root / "lessons").glob(f"{lesson.replace('_', '.')}_*.ipynb")
        names[measured(file).guesses[0]] = said
    Path(own.more["LABKIT_PROGRESS"]).write_text(json.dumps({"solved": [], "guessed": names}))


def step(page: Page, title: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=title))


def open_lesson(page: Page, title: str) -> None:
    step(page, title).get_by_role("link").click()
    page.wait_for_url(re.compile(r"/lab/tree/lessons/"))
    # Those that were open before come back first.
    page.wait_for_function(OPEN, arg=page.url.partition("/lab/tree/")[2])
    page.wait_for_function(IDLE)


def open_another(page: Page, path: str) -> None:
    """Open a notebook from JupyterLab's own list, beside what is open."""
    page.evaluate(
        "path => window.jupyterapp.commands.execute('docmanager:open', {path}).then("
        "panel => panel.revealed).then(() => null)",
        path,
    )
    page.wait_for_function(OPEN, arg=path)
    page.wait_for_function(IDLE)


def test_the_lab_opens_on_its_home(page: Page, own: Lab) -> None:
    assert page.url.startswith(f"{own.url}/labkit")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("Write Docker"))
    expect(step(page, "V0.0 Why Docker")).to_contain_text("Read it now, or after V0.3")
    expect(step(page, "V0.2b unshare")).to_contain_text("A reference")
    expect(step(page, "V0.3 Mounts")).to_contain_text(re.compile(r"about \d+ minutes"))
    expect(step(page, "V0.3 Mounts")).to_contain_text("here: ")
    expect(step(page, "V1.0 That line")).to_contain_text("what each word became")
    expect(page.get_by_text("Begin here")).to_be_visible()


def test_it_is_fresh_whenever_somebody_looks(page: Page, own: Lab) -> None:
    expect(step(page, "V0.1 Running")).to_contain_text("exercises 0/4")
    solve(own, "v01.argv", "v01.inode")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(step(page, "V0.1 Running")).to_contain_text("exercises 2/4")
    expect(page.get_by_text("Go on where you were")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(re.compile(r"2 of \d+ done"))
    solve(own)


def test_it_counts_the_guesses_that_were_made(page: Page, own: Lab) -> None:
    lesson = step(page, "V0.2 The first")
    expect(lesson).to_contain_text(re.compile(r"guesses 0/\d"))
    guess(own, v0_2=True, v0_4=False)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(lesson).to_contain_text(re.compile(r"guesses 1/\d"))
    expect(step(page, "V0.4 PID")).to_contain_text(re.compile(r"guesses 1/\d"))
    expect(page.get_by_role("main")).to_contain_text(re.compile(r"Guesses: 2 of \d+ made"))
    solve(own)


def test_a_docker_of_ones_own_is_there(page: Page, own: Lab) -> None:
    file = Path(own.more["LABKIT_MYDOCKER"])
    expect(page.get_by_role("main")).to_contain_text("It begins at the end of V0.1")
    file.write_text("import os\n")
    page.reload()
    expect(page.get_by_role("main")).to_contain_text("Next, V0.1")
    page.get_by_role("link", name="mydocker.py").click()
    expect(page.locator(".jp-FileEditor")).to_contain_text("import os")
    file.unlink()


def test_to_open_a_lesson_does_not_make_it_unsaved(page: Page) -> None:
    """test_lab.py opens them all."""
    open_lesson(page, "V0.2 The first")
    assert page.evaluate(UNSAVED) is False
    listed = page.locator(".jp-DirListing-itemName")
    expect(listed.filter(has_text="v0.0_why.ipynb")).to_be_visible()
    expect(listed.filter(has_text=re.compile("build.py|source"))).to_have_count(0)


def test_to_go_on_where_one_was_and_home_again(page: Page, own: Lab) -> None:
    open_lesson(page, "V0.3 Mounts")
    run = "window.jupyterapp.commands.execute('notebook:run-cell-and-select-next').then(() => null)"
    for _ in range(2):
        page.evaluate(run)
    page.get_by_role("link", name="Home").click()  # changed by now; JupyterLab saves and lets go
    page.wait_for_url(re.compile(r"/labkit$"))
    go_on = page.get_by_role("link", name="Go on where you were")
    expect(go_on).to_contain_text("V0.3 Mounts", use_inner_text=True)
    here = page.locator("[aria-current=step] h3")
    expect(here).to_contain_text("V0.3 Mounts", use_inner_text=True)
    saved = json.loads((own.root / "lessons" / "v0.3_mount_ipc_net.ipynb").read_text())
    first = next(cell for cell in saved["cells"] if cell["cell_type"] == "code")
    assert first["execution_count"] == 1


def test_a_lesson_that_was_begun_elsewhere_is_the_last(page: Page, own: Lab) -> None:
    open_lesson(page, "V0.3 Mounts")
    open_another(page, "lessons/v0.4_pid_proc.ipynb")
    reply = page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({code: '%load_ext labkit'}).done.then(reply => reply.content)"
    )
    assert reply["status"] == "ok", reply
    noted = own.root / "lessons" / ".labkit" / "last.json"
    assert json.loads(noted.read_text()) == "v0.4_pid_proc.ipynb"


def test_a_lesson_is_brought_back_and_what_is_solved_stays(page: Page, own: Lab) -> None:
    solve(own, "v05.root")
    file = own.root / "lessons" / "v0.5_user.ipynb"
    mine = json.loads(file.read_text())
    mine["cells"][0]["source"] = "mine"
    file.write_text(json.dumps(mine))
    page.reload()
    lesson = step(page, "V0.5 Users")
    lesson.get_by_text("Start afresh").click()
    lesson.get_by_role("button", name="Put V0.5 back").click()
    said = page.get_by_role("status")
    expect(said).to_contain_text("V0.5 is as it was. What you have solved is remembered.")
    expect(said).to_contain_text("lessons/old/v0.5_user-1.ipynb")
    assert json.loads((own.root / "lessons/old/v0.5_user-1.ipynb").read_text()) == mine
    assert json.loads(file.read_text())["cells"][0]["source"] != "mine"
    expect(step(page, "V0.5 Users")).to_contain_text("exercises 1/")
    solve(own)


def test_documents_open_to_be_read_and_source_to_be_edited(page: Page) -> None:
    home = page.url
    page.get_by_role("link", name="Glossary").click()
    shown = page.locator(".jp-MarkdownViewer")
    expect(shown.get_by_role("heading", name="术语 / Terms")).to_be_visible()
    page.goto(home)
    page.get_by_role("link", name="The notes that").click()
    expect(shown.filter(has_text="unshare")).to_be_visible()
    page.goto(home)
    page.get_by_role("link", name="the steps that build a container").click()
    expect(page.locator(".jp-FileEditor")).to_contain_text("The child's side")
    page.goto(home)
    page.get_by_role("link", name="all of labkit").click()
    expect(page.locator(".jp-DirListing-itemName", has_text="syscalls.py")).to_be_visible()
    left = (ROOT / "labkit" / "container", ROOT / "docs")  # read, and nothing written beside it
    assert not [place for place in left if (place / ".ipynb_checkpoints").exists()]


def test_a_lessons_links_lead_out_of_the_folder(own: Lab) -> None:
    """../docs/terms.md and its kind, as a lesson writes them."""
    for link in ("../docs/terms.md", "../go/v0.1/main.go", "../labkit/container/contain.py"):
        assert (own.root / "lessons" / link).is_file(), link


def test_it_speaks_one_language_and_the_notebooks_follow(page: Page) -> None:
    expect(page.get_by_role("radio", name="English")).to_be_checked()
    expect(page.get_by_text("三堵墙")).to_be_hidden()
    page.get_by_role("radio", name="English").focus()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_text("三堵墙")).to_be_visible()
    expect(page.get_by_text("Three walls")).to_be_hidden()
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.evaluate("localStorage.getItem('labkit-language')") == "zh"  # language.js reads it
    page.get_by_role("radio", name="双语").check()
    expect(page.get_by_text("Three walls")).to_be_visible()
    expect(page.get_by_text("三堵墙")).to_be_visible()


@pytest.mark.parametrize("language", ["中文", "English", "双语"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(page: Page, scheme: str, language: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.get_by_role("radio", name=language).check()
    for fold in page.locator("summary").all():
        fold.press("Enter")
    assert violations(page) == []
    page.set_viewport_size({"width": 360, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_it_is_as_dark_as_jupyterlab(page: Page, own: Lab) -> None:
    scheme = "getComputedStyle(document.documentElement).colorScheme"
    assert page.evaluate(scheme) == "light dark"
    file = own.home / SETTINGS
    file.parent.mkdir(parents=True)
    file.write_text('{\n    // chosen\n    "theme": "JupyterLab Dark"\n}')
    page.reload()
    assert page.evaluate(scheme) == "dark"
    file.unlink()
