"""chart(): what a container uses, drawn as it runs: memory, processor, processes, pressure.

The page draws (static/chart.js). From here come the numbers, a sample each second while somebody
watches. A page without a kernel has a picture of one run that was recorded.
"""

import html
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from labkit.cgroups.stats import Stats
from labkit.engine.running import Running
from labkit.notebook.widgets.watch import Watch
from labkit.notebook.widgets.widget import Widget
from labkit.text.words import Words

KEPT = 60  # samples
RECORDED = Path(__file__).parents[1] / "static" / "chart_recorded.json"
WIDTH, HEIGHT = 320, 60  # of a curve in the picture
CURVES = {
    "memory": Words("内存（MiB）", "memory (MiB)"),
    "cpu": Words("处理器（%）", "processor (%)"),
    "pids": Words("进程与线程", "processes and threads"),
    "pressure": Words("压力（%）", "pressure (%)"),
}
_NOTE = Words(
    "录下的一次：内存一路上涨，处理器被压在两成上下。压力只有 v2 才数。"
    "有笔记本进程时，这里是活的。",
    "A recorded run: memory keeps climbing, and the processor is held at about a fifth. Pressure "
    "is counted in version 2 only. With a notebook's process behind it, this is live.",
)
Sample = dict[str, float | None]


def sample(stats: Stats, before: Stats | None, seconds: float) -> Sample:
    """The four values of one moment. before: the use `seconds` ago, for the processor's part."""
    cpu = None
    if before and before.cpu is not None and stats.cpu is not None and seconds > 0:
        cpu = 100 * (stats.cpu - before.cpu) / seconds
    return {
        "memory": None if stats.memory is None else stats.memory / (1 << 20),
        "cpu": cpu,
        "pids": stats.pids,
        "pressure": max(stats.pressure.values()) if stats.pressure else None,
    }


@dataclass(frozen=True)
class Picture:
    """Curves without a script: an SVG for each, and their last values as text."""

    samples: Sequence[Mapping[str, Any]]

    def __str__(self) -> str:
        last = {name: [s[name] for s in self.samples if s[name] is not None] for name in CURVES}
        lines = (f"{CURVES[n]}: {found[-1]:.0f}" for n, found in last.items() if found)
        return "\n".join([*lines, str(_NOTE)])

    def _repr_html_(self) -> str:
        """An image for each curve, because a sanitizer drops SVG itself."""
        rows = (
            f"<tr><th>{CURVES[name].html()}</th><td>{_image(name, found)}</td></tr>"
            for name in CURVES
            if (found := [float(s[name]) for s in self.samples if s[name] is not None])
        )
        return f"<table>{''.join(rows)}</table><p>{_NOTE.html()}</p>"


def _image(name: str, values: Sequence[float]) -> str:
    from base64 import b64encode

    top = max(*values, 1)
    step = WIDTH / max(len(values) - 1, 1)
    points = " ".join(
        f"{at * step:.0f},{HEIGHT - value / top * (HEIGHT - 4):.0f}"
        for at, value in enumerate(values)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="#1a7f8e" stroke-width="2"/></svg>'
    )
    about = html.escape(f"{CURVES[name].joined(' · ')}: 0 – {top:.0f}")
    data = b64encode(svg.encode()).decode()
    return f'<img alt="{about}" src="data:image/svg+xml;base64,{data}"> {top:.0f}'


class Chart(Widget):
    """The widget. It looks only while it is on a page that is seen; `close` ends it for good."""

    files: ClassVar[str] = "chart"

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running
        self._before: tuple[float, Stats] | None = None
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        self._watch = Watch(self._look, lambda: None)
        self.on_msg(self._hear)

    def static(self) -> Picture:
        """A run that was recorded, since a saved notebook has none of its own."""
        return Picture(json.loads(RECORDED.read_text(encoding="utf-8")))

    def close(self) -> None:
        """End it: no thread is left."""
        self._watch.close()
        super().close()

    def _hear(self, _: Widget, content: Mapping[str, Any], __: list[bytes]) -> None:
        """Take in what a view says: that it is watched, or no longer."""
        if "watch" in content:
            self._watch.hold(content["watch"])
        elif "leave" in content:
            self._watch.leave(content["leave"])

    def _look(self) -> None:
        """Take one more sample, and tell the views; the watch's thread calls this."""
        try:
            stats, now = self._running.stats(), time.monotonic()
        except OSError:  # it has ended
            self.send({"type": "ended"})
            return
        began, before = self._before or (now, None)
        self._samples.append(sample(stats, before, now - began))
        self._before = now, stats
        curves = [[name, words.zh, words.en] for name, words in CURVES.items()]
        limits = {
            "memory": stats.memory_max and stats.memory_max / (1 << 20),
            "pids": stats.pids_max,
        }
        self.send(
            {"type": "state", "curves": curves, "samples": [*self._samples], "limits": limits}
        )


def chart(running: Running) -> Chart:
    """Show live what a container with limits uses: memory, processor, processes and pressure."""
    return Chart(running)
