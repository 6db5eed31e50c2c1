"""The reading edition in a browser: opened as files, without a server, as somebody may keep it."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from ui.axe import violations
from ui.notebook import Watched

PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}
LESSON = "notebooks/v0.2_uts.html"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(shared: Watched) -> Browser:
    """The browser of the other tests, with pages of our own."""
    found = shared.page.context.browser
    assert found
    return found


class Problems(list[str]):
    """What goes wrong in a page: exceptions, errors on its console, requests to elsewhere."""

    def watch(self, page: Page, base: str) -> None:
        page.on("pageerror", lambda error: self.append(f"uncaught: {error}"))
        page.on("console", self._console)
        page.on("request", lambda asked: self._request(asked, base))

    def _console(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.append(said.text)

    def _request(self, asked: Request, base: str) -> None:
        if not asked.url.startswith((base, "data:")):
            self.append(f"from elsewhere: {asked.url}")


@pytest.fixture
def open_page(browser: Browser, book: Path) -> Iterator[Open]:
    """Opens a page of the book in a browser that was never here; problems there fail the test."""
    problems = Problems()
    opened: list[Page] = []

    def open_it(path: str, base: str = f"file://{book}", **options: object) -> Page:
        wanted = {"viewport": DESK, "locale": "zh-CN", **options}
        page = browser.new_context(**wanted).new_page()  # type: ignore[arg-type]
        problems.watch(page, base)
        opened.append(page)
        page.goto(f"{base}/{path}")
        return page

    yield open_it
    for page in opened:
        page.context.close()
    assert problems == []


@pytest.fixture
def served(book: Path) -> Iterator[str]:
    """The book's address on a static server."""
    handler = functools.partial(Quiet, directory=book)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A static server that writes no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def choice(page: Page, name: str) -> Locator:
    """A button of the switch that is at hand: a phone has it in another place."""
    return page.get_by_role("button", name=name, exact=True).filter(visible=True).first


def speaks(page: Page, chinese: bool, english: bool) -> None:
    expect(page.locator("article h1 [lang='zh-Hans']")).to_be_visible(visible=chinese)
    expect(page.locator("article h1 [lang='en']")).to_be_visible(visible=english)
    expect(page.locator("article div[lang='zh-Hans']").first).to_be_visible(visible=chinese)
    expect(page.locator("article div[lang='en']").first).to_be_visible(visible=english)


# --- The switch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "server"])
def test_the_language_is_kept_from_page_to_page(open_page: Open, served: str, how: str) -> None:
    base = {"base": served} if how == "server" else {}
    page = open_page(LESSON, **base)
    speaks(page, chinese=True, english=False)  # as the browser
    choice(page, "English").click()
    speaks(page, chinese=False, english=True)
    page.locator("a.next-page").click()
    expect(page.locator("h1")).to_contain_text("unshare, every option")
    speaks(page, chinese=False, english=True)
    choice(page, "双语 · Both").click()
    page.locator(".sidebar-tree a").first.click()
    speaks(page, chinese=True, english=True)
    page.reload()
    speaks(page, chinese=True, english=True)


def test_an_address_may_name_the_language(open_page: Open) -> None:
    speaks(open_page(f"{LESSON}?lang=en"), chinese=False, english=True)
    speaks(open_page(LESSON, locale="en-GB"), chinese=False, english=True)
    speaks(open_page(f"{LESSON}?lang=both"), chinese=True, english=True)


def top(found: Locator) -> float:
    box = found.bounding_box()
    assert box
    return box["y"]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_switch_keeps_the_place(open_page: Open, viewport: dict[str, int]) -> None:
    page = open_page(f"{LESSON}?lang=both", viewport=viewport)
    chinese = page.locator("p", has_text="从不移动调用者自己")
    english = page.locator("p", has_text="never moves its caller")
    choice(page, "中文").click()
    chinese.evaluate(
        "e => scrollTo({top: scrollY + e.getBoundingClientRect().top - 60, behavior: 'instant'})"
    )
    before = top(chinese)
    for name, shown in (("English", english), ("中文", chinese), ("双语 · Both", chinese)):
        choice(page, name).click()
        assert abs(top(shown) - before) < 24  # a line; the heading above it may be what stays


# --- Terms --------------------------------------------------------------------------------------


def test_a_term_says_what_it_means_on_hover_and_focus(open_page: Open) -> None:
    page = open_page(f"{LESSON}?lang=en")
    tip = page.get_by_role("tooltip")
    term = page.locator("a.labkit-term", has_text="host name").first
    expect(tip).to_be_hidden()
    term.hover()
    expect(tip).to_contain_text("64 bytes at most")
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    term.focus()
    expect(tip).to_be_visible()
    expect(term).to_have_accessible_description(
        "the name of a machine, that is, of a UTS namespace: 64 bytes at most"
    )
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("Tab")  # to the next term
    expect(tip).to_be_visible()
    expect(tip).not_to_contain_text("64 bytes at most")
    page.keyboard.press("Enter")
    expect(page.locator("#term-container")).to_be_in_viewport()


def test_a_finger_sees_the_meaning_first(open_page: Open) -> None:
    page = open_page(f"{LESSON}?lang=zh", viewport=PHONE, has_touch=True)
    term = page.locator("div[lang='zh-Hans'] a.labkit-term").first
    term.tap()
    expect(page.get_by_role("tooltip")).to_be_visible()
    assert page.url.endswith("v0.2_uts.html?lang=zh")
    _, _, place = (term.get_attribute("href") or "").partition("#")
    term.tap()
    expect(page.locator(f"#{place}")).to_be_in_viewport()


# --- Search -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "query", "found"),
    [
        ("zh", "挂载传播", "V0.3 挂载、IPC 与网络 › 挂载传播"),
        ("en", "mount propagation", "V0.3 Mounts, IPC and the network › Mount propagation"),
        ("zh", "主机名 sethostname", "V0.2"),
        ("en", "cannot allocate memory", "step by step"),
    ],
)
def test_the_search_finds(open_page: Open, language: str, query: str, found: str) -> None:
    page = open_page(f"index.html?lang={language}")
    page.locator("input.sidebar-search").fill(query)
    page.keyboard.press("Enter")
    results = page.locator("#labkit-search li")
    link = results.filter(has_text=found).get_by_role("link").first
    expect(results.locator("mark").first).to_be_visible()
    link.click()
    expect(page.locator("article")).to_contain_text(query.split(maxsplit=1)[0], ignore_case=True)


def test_the_search_says_when_there_is_nothing(open_page: Open) -> None:
    page = open_page("search.html?lang=zh&q=天外来客")
    expect(page.get_by_role("status")).to_have_text("没有找到", use_inner_text=True)
    page.locator(".labkit-query").fill("容器")
    expect(page.get_by_role("status")).to_contain_text("找到")


# --- Where and how it is read -------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(book: Path) -> list[str]:
    return sorted(str(file.relative_to(book)) for file in book.rglob("*.html"))


def test_no_page_is_wider_than_a_phone(open_page: Open, paths: list[str], book: Path) -> None:
    page = open_page("index.html?lang=both", viewport=PHONE)
    wide = {}
    for path in paths:
        page.goto(f"file://{book}/{path}?lang=both")
        wide[path] = page.evaluate(WIDE)
    assert {path: pixels for path, pixels in wide.items() if pixels > 0} == {}
    expect(choice(page, "中文")).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("part", range(4))
def test_axe_finds_nothing(open_page: Open, paths: list[str], served: str, part: int) -> None:
    page = open_page("index.html", served)
    bad = []
    for path in paths[part::4]:
        page.goto(f"{served}/{path}?lang=both")
        bad += [f"{path}: {each}" for each in violations(page)]
    assert bad == []


def test_everything_can_be_told_from_its_ground_in_the_dark(open_page: Open, served: str) -> None:
    """On pages that have between them every widget, errors, code and entries."""
    page = open_page("index.html", served, color_scheme="dark")
    bad = []
    for path in ("index", "notebooks/v0.1_run", LESSON.removesuffix(".html"), "docs/terms"):
        page.goto(f"{served}/{path}.html?lang=both")
        expect(page.locator("body")).to_have_css("background-color", "rgb(19, 20, 22)")
        bad += [f"{path}: {each}" for each in violations(page, runOnly=["link-in-text-block"])]
    assert bad == []


def test_dark_can_be_chosen(open_page: Open) -> None:
    page = open_page(LESSON)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.get_by_role("button", name="切换亮色、暗色、自动").filter(visible=True)
    button.click()
    expect(page.locator("body")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    expect(page.locator("body")).to_have_css("color-scheme", "dark")  # for pictures and controls


def test_it_can_be_read_without_scripts(open_page: Open) -> None:
    page = open_page(LESSON, java_script_enabled=False)
    speaks(page, chinese=True, english=True)
    expect(page.locator("a.labkit-term", has_text="主机名").first).to_have_attribute(
        "title", "一台机器（一个 UTS 命名空间）的名字，最长 64 字节"
    )


def test_paper_has_the_text_alone(open_page: Open) -> None:
    page = open_page(LESSON)
    page.emulate_media(media="print")
    expect(page.locator("article")).to_be_visible()
    for frame in (".sidebar-drawer", ".labkit-switch", ".theme-toggle", ".toc-drawer"):
        expect(page.locator(frame).filter(visible=True)).to_have_count(0)
    assert (
        page.locator("article pre").first.evaluate("e => getComputedStyle(e).whiteSpace")
        == "pre-wrap"
    )
