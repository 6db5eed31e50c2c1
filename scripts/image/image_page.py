"""The lab's page, seen from outside its container by a browser."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from typing import Any

from playwright.sync_api import Page, sync_playwright

# As root Chromium refuses its own sandbox; and no name but ours is ever looked up.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
Notebook = dict[str, Any]  # as the file holds it
NOTEBOOK = "lessons/v0.1_run.ipynb"
MILLISECONDS = 300_000  # an emulated machine is twenty times slower than a real one


def browser() -> str:
    """The browser to drive: LABKIT_BROWSER, Debian's Chromium or Google Chrome."""
    chosen = os.environ.get("LABKIT_BROWSER")
    names = (chosen,) if chosen else ("chromium", "google-chrome", "google-chrome-stable")
    found = filter(None, map(shutil.which, names))
    path = next((p for p in found if not os.path.realpath(p).startswith("/snap/")), None)
    assert path, "no browser / 没有浏览器"
    return path


def refused(address: str) -> bool:
    """Whether the server wants its token."""
    try:
        urllib.request.urlopen(f"{address}/api/contents", timeout=60).close()
    except urllib.error.HTTPError as error:
        return error.code == 403
    return False


def contents(address: str, token: str) -> Notebook:
    """The notebook, as the server has it on its disk."""
    url = f"{address}/api/contents/{NOTEBOOK}?token={token}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        notebook: Notebook = json.load(answer)["content"]
        return notebook


def choose(page: Page, menu: str, item: str) -> None:
    """Choose from JupyterLab's menu, as a person does."""
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item).first.click()


def saved(page: Page, address: str, token: str) -> Notebook:
    """Save, as a person does; the file that the server has a second later."""
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1000)
    return contents(address, token)


def run_all(page: Page, address: str, token: str) -> Notebook:
    """Clear what is saved, run every cell to the end, save: the notebook on the server's disk."""
    deadline = time.monotonic() + MILLISECONDS / 1000
    page.locator(".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for()
    while any(counts(saved(page, address, token))):  # a page still loading may miss a click
        assert time.monotonic() < deadline, "the outputs could not be cleared"
        choose(page, "Edit", "Clear Outputs of All Cells")
    choose(page, "Run", "Run All Cells")
    while not all(counts(notebook := saved(page, address, token))):
        assert time.monotonic() < deadline, f"cells that ran: {counts(notebook)}"
    return notebook


def counts(notebook: Notebook) -> list[int | None]:
    """The numbers beside the cells of code."""
    return [c["execution_count"] for c in notebook["cells"] if c["cell_type"] == "code"]


def problems(notebook: Notebook) -> list[str]:
    """What is wrong with a notebook that was run in the page: cells not run, unexpected errors."""
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    ran = counts(notebook)
    found = [] if ran == list(range(1, len(code) + 1)) else [f"cells that ran: {ran}"]
    return found + [
        f"{output['ename']}: {output['evalue']}"
        for cell in code
        if "raises-exception" not in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]


def look(address: str, token: str) -> list[str]:
    """Open a notebook by the address with its token, run it all; what went wrong."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=FLAGS)
        page = started.new_page(locale="en-US", viewport={"width": 1200, "height": 1000})
        page.set_default_timeout(MILLISECONDS)
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(f"uncaught: {error}"))
        page.goto(f"{address}/lab/tree/{NOTEBOOK}?token={token}")
        found = problems(run_all(page, address, token))
        started.close()
    return wrong + found
