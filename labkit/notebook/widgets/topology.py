"""topology(): network namespaces, their links and cables, drawn from what netlink says; live.

The picture is an SVG that is made here (`_Drawing`), for the page and for a saved notebook alike.
The page puts it above a table whose packets are counted from a moment that the reader chooses
(static/topology.js).
"""

import html
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.engine.running import Running
from labkit.notebook.cells.within import within
from labkit.notebook.widgets.watch import Watch
from labkit.notebook.widgets.widget import Widget
from labkit.notebook.widgets.wiring import End, Link, Place, cables, look
from labkit.text.tables import columns
from labkit.text.words import Words

Places = Mapping[str, Place]

_CAPTION = Words(
    "网络命名空间和它们的网卡，netlink 是这样说的",
    "The network namespaces and their links, as netlink tells it",
)
_HEADS = (
    Words("在哪里", "place"),
    Words("网卡", "link"),
    Words("状态", "state"),
    Words("地址", "address"),
    Words("接到", "connected with"),
)
_ROUTES, _RULES = Words("路由", "routes"), Words("规则", "rules")
_IN = Words("网桥 {0}", "bridge {0}")
_WIDTH, _HUB, _GAP, _LOW = 720, 112, 64, 96  # of the picture, of its upper part, between, lower
_CHIP, _TALL = 124, 38  # a link's
_STYLE = """
rect{fill:#f6f8fa;stroke:#57606a}text{fill:#1f2328;font:13px sans-serif;text-anchor:middle}
.name{font-weight:700;text-anchor:start}.chip{fill:#ddf4ff;stroke:#0969da}
.bridge{fill:#fff8c5;stroke:#7d4e00}.down{stroke-dasharray:5 4;fill:#ffffff}
.small{font-size:11px}line{stroke:#0969da;stroke-width:2}line.down{stroke:#57606a}
@media (prefers-color-scheme:dark){rect{fill:#161b22;stroke:#8b949e}text{fill:#e6edf3}
.chip{fill:#0c2d4d;stroke:#58a6ff}.bridge{fill:#3b2f00;stroke:#d4a72c}.down{fill:#0d1117}
line{stroke:#58a6ff}line.down{stroke:#8b949e}}
"""


def rows(places: Places) -> list[list[str]]:
    """A row for each link: place, name, state, addresses, and the names of what it is joined to."""
    joined = _joined(places)
    return [
        [
            name,
            link.name,
            "UP" if link.up else "DOWN",
            " ".join(link.addresses),
            joined.get((name, link.number), ""),
            bridge.name if (bridge := place.link(link.master)) else "",
        ]
        for name, place in places.items()
        for link in place.links
    ]


def _joined(places: Places) -> dict[End, str]:
    """What each end of a cable is joined to: a place and its link."""
    pairs = [pair for one, two in cables(places) for pair in ((one, two), (two, one))]
    return {one: _named(places, other) for one, other in pairs}


def _named(places: Places, end: End) -> str:
    place, number = end
    link = places[place].link(number)
    return f"{place} {link.name if link else number}"


class Topology(Widget):
    """The widget. It looks only while it is on a page that is seen; `close` ends it for good."""

    files = "topology"

    def __init__(self, boxes: Mapping[str, Running]) -> None:
        super().__init__()
        self._boxes = dict(boxes)
        self._watch = Watch(self._look, lambda: None)
        self.on_msg(self._hear)

    def static(self) -> "Picture":
        """How it is now, without the packets, which are other ones a moment later."""
        return Picture(self._seen())

    def close(self) -> None:
        """End it: no thread is left."""
        self._watch.close()
        super().close()

    def _seen(self) -> dict[str, Place]:
        return {name: within(box, look) for name, box in self._boxes.items()}

    def _hear(self, _: Widget, content: Mapping[str, Any], __: list[bytes]) -> None:
        """Take in what a view says: that it is watched, or no longer."""
        if "watch" in content:
            self._watch.hold(content["watch"])
        elif "leave" in content:
            self._watch.leave(content["leave"])

    def _look(self) -> None:
        """Look once more, and tell the views; the watch's thread calls this."""
        try:
            places = self._seen()
        except OSError:  # one of them has ended
            self.send({"type": "ended"})
            return
        counts = [[link.received, link.sent] for p in places.values() for link in p.links]
        more = [[name, [*p.routes], [*p.rules]] for name, p in places.items()]
        self.send(
            {
                "type": "state",
                "svg": drawn(places),
                "rows": rows(places),
                "counts": counts,
                "more": more,
            }
        )


def topology(**boxes: Running) -> Topology:
    """Draw the networks of containers, by name; the first is the one that the others hang on."""
    return Topology(boxes)


@dataclass(frozen=True, repr=False)
class Picture:
    """The same without a script: an image, and tables that say what is in it."""

    places: Places

    def __str__(self) -> str:
        table = [list(map(str, _HEADS)), *(_told(row) for row in rows(self.places))]
        lines = [columns(table).rstrip("\n")]
        for name, place in self.places.items():
            lines += [f"{name}: {line}" for line in (*place.routes, *place.rules)]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = "".join(f'<th scope="col">{words.html()}</th>' for words in _HEADS)
        body = "".join(map(_row, rows(self.places)))
        table = (
            f'<table><caption style="text-align:left">{_CAPTION.html()}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
        )
        return f"<div>{_image(self.places)}</div>{table}{''.join(_more(self.places))}"


def _told(row: Sequence[str]) -> list[str]:
    *cells, peer, bridge = row
    joined = [peer] if peer else []
    return [*cells, ", ".join([*joined, *([str(_IN.filled(bridge))] if bridge else [])])]


def _row(row: Sequence[str]) -> str:
    *cells, peer, bridge = row
    inside_of = _IN.filled(bridge).html() if bridge else ""
    plain = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells[1:])
    joined = ", ".join(filter(None, [html.escape(peer), inside_of]))
    return f'<tr><th scope="row">{cells[0]}</th>{plain}<td>{joined}</td></tr>'


def _more(places: Places) -> Iterator[str]:
    """Routes and rules, as they are written."""
    for name, place in places.items():
        for words, lines in ((_ROUTES, place.routes), (_RULES, place.rules)):
            if lines:
                code = "<br>".join(f"<code>{html.escape(line)}</code>" for line in lines)
                yield f"<p><b>{html.escape(name)}</b> {words.html()}<br>{code}</p>"


def _image(places: Places) -> str:
    """An image, because a sanitizer drops SVG itself. It has colours of its own."""
    svg = drawn(places, style=_STYLE)
    data = b64encode(svg.encode()).decode()
    about = html.escape(spoken(places))
    return f'<img alt="{about}" src="data:image/svg+xml;base64,{data}" style="max-width:100%">'


def spoken(places: Places) -> str:
    """The cables in words, for who does not see the picture."""
    said = (f"{_named(places, one)} – {_named(places, two)}" for one, two in cables(places))
    return ", ".join(said) or ", ".join(places)


# --- The picture ---------------------------------------------------------------------------------


def drawn(places: Places, style: str = "") -> str:
    """An SVG: the first place above, the others below it, and the cables between them."""
    return _Drawing(places).text(style)


class _Drawing:
    """Where everything is, and the shapes in the order in which they are painted."""

    def __init__(self, places: Places) -> None:
        self._places, self._shapes = places, list[str]()
        self._hub, *self._others = places
        self._room = _WIDTH / max(len(self._others), 1)
        self._joined = cables(places)
        self._at: dict[End, float] = {}  # the middle of each link that is drawn
        self._place_links()

    def text(self, style: str) -> str:
        """The whole of it."""
        self._boxes()
        self._cables()
        self._bridges()
        for (name, number), x in self._at.items():
            link = self._places[name].link(number)
            if link:
                self._chip(link, x, _HUB - _TALL if name == self._hub else _HUB + _GAP)
        height = _HUB + (_GAP + _LOW if self._others else 0) + 2
        inner = (f"<style>{style}</style>" if style else "") + "".join(self._shapes)
        said = html.escape(spoken(self._places))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img" aria-label="{said}">{inner}</svg>'
        )

    def _place_links(self) -> None:
        """Give each link that is no bridge and no loopback its place; cables go straight down."""
        for column, name in enumerate(self._others):
            links = [e for e in self._places[name].links if e.kind == "veth"]
            for at, link in enumerate(links, 1):
                x = (column + at / (len(links) + 1)) * self._room
                self._at[name, link.number] = x
        for one, two in self._joined:
            here, there = (one, two) if one[0] == self._hub else (two, one)
            if here[0] == self._hub and there in self._at:
                self._at[here] = self._at[there]
        loose = [
            (self._hub, e.number)
            for e in self._places[self._hub].links
            if e.kind == "veth" and (self._hub, e.number) not in self._at
        ]
        for at, end in enumerate(loose):
            self._at[end] = _WIDTH - (at * 1.1 + 0.6) * _CHIP

    def _boxes(self) -> None:
        self._box(self._hub, 1, 1, _WIDTH - 2, _HUB)
        for column, name in enumerate(self._others):
            self._box(name, column * self._room + 8, _HUB + _GAP, self._room - 16, _LOW)

    def _box(self, name: str, x: float, y: float, width: float, height: float) -> None:
        self._shapes.append(
            f'<rect class="place" x="{x:.0f}" y="{y}" width="{width:.0f}" '
            f'height="{height}" rx="6"/>'
        )
        base = y + 20 if name == self._hub else y + height - 12
        self._text(name, x + 12, base, "name")

    def _cables(self) -> None:
        for pair in self._joined:
            ends = [(self._at.get(end), self._places[end[0]].link(end[1])) for end in pair]
            (x1, one), (x2, two) = ends
            if x1 is None or x2 is None or pair[0][0] == pair[1][0]:
                continue
            up = " down" if not (one and one.up and two and two.up) else ""
            first, last = (_HUB, _HUB + _GAP) if pair[0][0] == self._hub else (_HUB + _GAP, _HUB)
            self._shapes.append(
                f'<line class="cable{up}" x1="{x1:.0f}" y1="{first}" x2="{x2:.0f}" y2="{last}"/>'
            )

    def _bridges(self) -> None:
        """Each bridge of the hub is a bar above its ports."""
        hub = self._places[self._hub]
        for bridge in (each for each in hub.links if each.kind == "bridge"):
            ports = [e for e in hub.links if e.master == bridge.number]
            known = [x for e in ports if (x := self._at.get((self._hub, e.number))) is not None]
            low, high = min(known, default=_WIDTH / 2), max(known, default=_WIDTH / 2)
            x, width = low - _CHIP / 2, high - low + _CHIP
            self._shapes.extend(
                f'<line class="port" x1="{port:.0f}" y1="62" x2="{port:.0f}" y2="{_HUB - _TALL}"/>'
                for port in known
            )
            self._rectangle("bridge", bridge, x, 34, width, 28)
            self._text(" ".join((bridge.name, *bridge.addresses)), x + width / 2, 53)

    def _chip(self, link: Link, x: float, y: float) -> None:
        """A link, and its address."""
        self._rectangle("chip", link, x - _CHIP / 2, y, _CHIP, _TALL)
        told = link.name if link.up else f"{link.name} (DOWN)"
        self._text(told, x, y + (16 if link.addresses else 24))
        if link.addresses:
            self._text(link.addresses[0], x, y + 31, "small")

    def _rectangle(
        self, kind: str, link: Link, x: float, y: float, width: float, height: float
    ) -> None:
        down = "" if link.up else " down"
        self._shapes.append(
            f'<rect class="{kind}{down}" x="{x:.0f}" y="{y}" width="{width:.0f}" '
            f'height="{height}" rx="4"/>'
        )

    def _text(self, text: str, x: float, y: float, kind: str = "label") -> None:
        told = html.escape(text)
        self._shapes.append(f'<text class="{kind}" x="{x:.0f}" y="{y}">{told}</text>')
