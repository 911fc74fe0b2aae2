"""What the driver tells Prometheus: every metric it declares, and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.generation.driving.metrics import METRICS, RunMetrics, in_ascii, release_label
from ray_jobs.generation.worker.environment import Place
from ray_jobs.generation.worker.tally import Stage, Tally


def test_every_metric_of_the_table_is_fed_with_the_labels_it_declares() -> None:
    """Ray itself refuses a label that was not declared, and a missing one."""
    fed: dict[str, list[tuple[str, ...]]] = {}
    metrics = RunMetrics("s3://bucket/release", wanted=10, already=0)
    for name, metric in metrics._metrics.items():
        metric._record = _noting(fed, name, metric)
    tally = Tally(host="here", seconds={Stage.DRAW: 1.0}, volumes=1, bytes=2, failed=1, redraws=1)
    metrics.ready(1, 5.0)
    metrics.ready(1, 6.0)
    metrics.committed(tally)
    metrics.retried()
    metrics.gave_up()
    metrics.lost_worker(Place(host="here", device="GPU 0"))
    metrics.lost_worker(None)
    metrics.progressed(1)
    assert fed.keys() == METRICS.keys()
    for name, labels in fed.items():
        assert {*labels} == {tuple(sorted(("release", *METRICS[name].labels)))}, name


def _noting(fed: dict[str, list[Any]], name: str, metric: Any) -> Any:
    def record(value: float, tags: dict[str, str] | None = None) -> None:
        assert value >= 0
        final = metric._get_final_tags(tags)
        metric._validate_tags(final)
        fed.setdefault(name, []).append(tuple(sorted(final)))

    return record


@given(st.text(st.characters(categories=["L", "N"]), min_size=1), st.sampled_from(["s3", "file"]))
def test_no_secret_of_an_address_gets_into_a_label(secret: str, scheme: str) -> None:
    told = release_label(f"{scheme}://key:{secret}x@place/release?token={secret}x#{secret}x")
    assert told == f"{scheme}://place/release"


@pytest.mark.parametrize("out", ["/home/jürgen müller/größe 100%🧠", "s3://bucket/größe", "C:\\ä"])
def test_an_address_and_a_host_with_any_letters_are_counted(out: str) -> None:
    """Ray's own metrics, which take ASCII alone."""
    metrics = RunMetrics(out, wanted=10, already=0)
    metrics.committed(Tally(host="größe", volumes=1, bytes=2, seconds={Stage.DRAW: 1.0}))
    metrics.progressed(1)


@given(st.text())
def test_a_label_is_printable_ascii_and_plain_text_stays_as_it_is(text: str) -> None:
    told = in_ascii(text)
    assert told.isascii()
    assert told.isprintable()
    if text.isascii() and text.isprintable():
        assert told == text
