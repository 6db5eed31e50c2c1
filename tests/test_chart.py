"""The numbers of the chart, and its picture for a page without a kernel."""

import json
from typing import Any

from labkit import Container, Limits, start
from labkit.cgroups.stats import Stats
from labkit.notebook.widgets.chart import CURVES, RECORDED, Picture, chart, sample


def test_a_sample_is_the_use_since_the_one_before() -> None:
    before = Stats(cpu=1.0, memory=1 << 20, pids=2)
    now = Stats(cpu=1.5, memory=3 << 20, pids=4, pressure={"cpu": 20.0, "io": 1.0})
    assert sample(before, None, 0) == {"memory": 1, "cpu": None, "pids": 2, "pressure": None}
    assert sample(now, before, 2) == {"memory": 3, "cpu": 25, "pids": 4, "pressure": 20}


def test_the_picture_is_of_a_run_that_was_recorded() -> None:
    samples = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert len(samples) > 10
    assert all(set(each) == set(CURVES) for each in samples)
    picture = Picture(samples)
    assert picture._repr_html_().count("<img alt=") == 3  # version 1 counts no pressure
    assert "memory (MiB): 23" in str(picture)


def test_a_chart_says_when_its_container_has_ended() -> None:
    sent: list[dict[str, Any]] = []
    with start(Container(("sleep", "1000"), limits=Limits())) as running:
        drawn = chart(running)
        drawn.send = sent.append
        drawn._look()
        drawn._look()
    drawn._look()
    assert [each["type"] for each in sent] == ["state", "state", "ended"]
    assert sent[1]["samples"][1]["cpu"] is not None
    drawn.close()
