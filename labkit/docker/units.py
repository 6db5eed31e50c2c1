"""Times and sizes as Docker's tables say them. Source: github.com/docker/go-units."""

import re
import time

from labkit.python.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_SHORT = (  # up to how many seconds, and what is said of them: seconds, minutes
    (1, "Less than a second"),
    (2, "1 second"),
    (60, "{0} seconds"),
    (120, "About a minute"),
    (3600, "{1} minutes"),
    (5400, "About an hour"),
)
_SPANS = (  # up to how many seconds, how many seconds are one, its name
    (2 * 86400, 3600, "hours"),
    (14 * 86400, 86400, "days"),
    (60 * 86400, 7 * 86400, "weeks"),
    (2 * 365 * 86400, 30 * 86400, "months"),
    (float("inf"), 365 * 86400, "years"),
)


def span(seconds: float) -> str:
    """A length of time in words: HumanDuration of go-units."""
    for end, said in _SHORT:
        if seconds < end:
            return said.format(int(seconds), int(seconds / 60))
    return next(f"{_rounded(seconds, one)} {name}" for end, one, name in _SPANS if seconds < end)


def _rounded(seconds: float, one: int) -> int:
    """Whole hours are rounded; of what is longer, whole hours are divided."""
    hours = int(seconds / 3600 + 0.5)
    return hours if one == 3600 else hours * 3600 // one


def ago(created: str, now: "datetime | None" = None) -> str:
    """How long ago a time was that RFC 3339 writes; N/A if it is none."""
    time = moment(created)
    if time is None:
        return "N/A"
    from datetime import UTC, datetime

    return f"{span(((now or datetime.now(UTC)) - time).total_seconds())} ago"


def moment(text: str) -> "datetime | None":
    """A time that RFC 3339 writes, perhaps with nanoseconds; None if there is none."""
    from datetime import UTC, datetime  # only tables want it, and it is slow to import

    try:
        time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return time if time.year > 1 else None  # Go's zero


def size(count: float) -> str:
    """A number of bytes in at most three digits: HumanSizeWithPrecision of go-units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.3g}{unit}"


def binary_size(count: float) -> str:
    """A number of bytes in units of 1024, in at most four digits: BytesSize of go-units."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.4g}{unit}"


_PARTS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def duration(text: str) -> float | None:
    """A length of time as Go writes it, such as 1h30m, in seconds; None if it is none."""
    if not re.fullmatch(f"(?:{_PART.pattern})+", text):
        return None
    return sum(float(number) * _PARTS[unit] for number, unit in _PART.findall(text))


def log_time(text: str) -> str:
    """A time of --since or --until as a log writes it: one ago, of the clock, or in seconds."""
    if not text:
        return ""
    ago_ = duration(text)
    if ago_ is not None:
        return _nanoseconds(time.time() - ago_)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return _nanoseconds(float(text))
    found = moment(text if "T" in text or " " in text or len(text) != 10 else f"{text}T00:00:00")
    if found is None:
        from labkit.text.words import Words

        raise ValueError(Words(f"看不懂这个时间：{text}", f"invalid value for a time: {text}"))
    return _nanoseconds(found.timestamp())


def _nanoseconds(seconds: float) -> str:
    whole = int(seconds)
    begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{begin}.{int((seconds - whole) * 1e9):09d}Z"
