"""The chart of a container's use in the browser: live, with its limits, and told of the end."""

from playwright.sync_api import expect

from ui.conftest import MakeNotebook

SETUP = """from labkit import *
from labkit.notebook.widgets.chart import chart
limits = Limits(memory="64m", cpus=0.2, pids=9)
box = start(Container(("sh", "-c", "while :; do :; done"), limits=limits))
chart(box)"""
END = "box.kill(); box.wait().returncode"


def test_a_chart_draws_what_a_container_uses_until_it_ends(notebook: MakeNotebook) -> None:
    book = notebook(SETUP, END)
    book.run(0)
    shown = book.output(0).locator(".labkit-chart")
    rows = shown.locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(2)).to_contain_text("1 / 9")  # the shell is one process
    expect(rows.nth(0)).to_contain_text("/ 64")
    expect(rows.nth(0).locator("svg")).to_have_attribute("aria-label", "内存（MiB） · memory (MiB)")
    expect(rows.nth(0).locator("line.labkit-limit")).to_have_count(1)
    expect(rows.nth(1).locator("polyline")).to_have_count(1)
    book.run(1)
    expect(shown.get_by_role("status")).to_contain_text("The container has ended.")
