"""How long after a click choose() shows what the kernel has made of it, measured in the browser.

    .venv/bin/python benchmarks/chooser.py [CLICKS]

From the click on a checkbox to the end of the next repaint that holds the answer: through the
page, JupyterLab's server, the notebook's process, the engine, a real container, and back. The goal
is 50 ms on a machine with nothing else to do. It needs root, and what `make test` installs.
"""

import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # for the browser that the tests drive

from playwright.sync_api import sync_playwright  # noqa: E402
from ui.lab import Lab, launch  # noqa: E402
from ui.notebook import Notebook, Watched  # noqa: E402

GOAL = 50  # milliseconds
CELL = """from labkit import *
from labkit.notebook import choose
choose(Container(("hostname",){}))"""
CASES = {"CLONE_NEWUTS": "", "all eight": ", cloneflags=Clone(sum(Clone))"}
# A frame is painted after the callbacks that were asked for it; a message comes after the paint.
CLICKS = """async (root, clicks) => {
  const box = root.querySelector("tbody tr:last-child input");
  const status = root.querySelector("[role=status]");
  const painted = () => new Promise((done) => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = done;
    after.port2.postMessage(null);
  }));
  const answered = () => new Promise((done) => {
    new MutationObserver((_, observer) => { observer.disconnect(); done(); })
      .observe(status, {childList: true});
  });
  const times = [];
  for (let click = 0; click < clicks; click += 1) {
    const answer = answered();
    const began = performance.now();
    box.click();
    await answer;
    await painted();
    times.push(performance.now() - began);
    await new Promise((done) => setTimeout(done, 30));
  }
  return times;
}"""


def measure(book: Notebook, clicks: int) -> list[float]:
    """Milliseconds of each click; the first ones warm everything up and do not count."""
    chooser = book.run(0).locator(".labkit-chooser")
    chooser.locator("[role=status] p").first.wait_for()
    return list(chooser.evaluate(CLICKS, clicks + 10))[10:]


def main() -> int:
    """Measure and print; 1 when a median misses the goal."""
    clicks = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    medians = []
    with tempfile.TemporaryDirectory(prefix="labkit-bench-") as place, sync_playwright() as driver:
        for folder in ("home", "root", "browser"):
            Path(place, folder).mkdir()
        with Lab(Path(place, "home"), Path(place, "root")) as lab:
            browser = launch(driver, Path(place, "browser"))
            watched = Watched(lab, browser.new_page(viewport={"width": 1200, "height": 1200}))
            for name, flags in CASES.items():
                book = watched.make(name.replace(" ", "-"), [CELL.format(flags)])
                times = sorted(measure(book, clicks))
                book.close()
                medians.append(statistics.median(times))
                print(
                    f"{name:13} {clicks} clicks: median {medians[-1]:.1f} ms, "
                    f"90th percentile {times[clicks * 9 // 10]:.1f} ms, longest {times[-1]:.1f} ms"
                )
            browser.close()
    return int(max(medians) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
