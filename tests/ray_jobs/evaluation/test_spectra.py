"""Sharpness and FID at equal n, from what was measured to the report and the data card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import PAPER_SCHEMA
from ldm.volumes.spectrum import BANDS
from manifests.publish.evaluation import read_evaluation
from ray_jobs.evaluation.findings import reckon
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.report.documents import write_report
from ray_jobs.evaluation.report.page import Text
from ray_jobs.evaluation.report.sharpness import sharpness
from ray_jobs.evaluation.sources import REAL
from ray_jobs.evaluation.spectra import spectra
from tests.ray_jobs.evaluation.test_findings import RELEASE, Pictured, measured, people

B = len(BANDS)


def with_power(rows: pd.DataFrame, ratio: float) -> pd.DataFrame:
    """The rows, their volumes with that share of the power of every band from the fifth on."""
    lost = np.log(np.where(np.arange(2 * B) % B < 4, 1, ratio)) * (np.arange(2 * B) < B)
    found = [np.frombuffer(one, "<f4") + lost for one in rows["spectrum"]]
    return rows.assign(spectrum=[one.astype("<f4").tobytes() for one in found])


def report_of(release: pd.DataFrame, out: Path) -> tuple[dict[str, Any], str, str]:
    rows = measured(release)
    findings = reckon(rows, None, PAPER_SCHEMA, "brainpress evaluate made", seed=0)
    findings["sweeps"] = []
    sources: Any = {REAL: Pictured(75), "made": Pictured(60)}
    written = write_report(out, findings, rows, sources, PAPER_SCHEMA, [], RELEASE, None)
    return findings, (out / "report.md").read_text(), written.summary


def test_blurred_volumes_are_told_from_people_in_report_summary_and_card(tmp_path: Path) -> None:
    findings, text, summary = report_of(with_power(people(60, 1), 0.3), tmp_path)
    found = findings["spectrum"]
    assert found["people"]["n"] == 15  # of the held-out alone
    power = [one["value"] for one in found["sets"]["made"]["power"]]
    assert power == pytest.approx([*[1] * 4, *[0.3] * 4], rel=0.15)
    others = found["sets"][REAL]["power"]
    assert {one["n"] for one in others} == {60}
    assert [one["value"] for one in others] == pytest.approx([1] * B, rel=0.15)
    apart = found["told_apart"]["made"]
    assert apart["synthetic"]["value"] == pytest.approx(1, abs=1e-6)
    assert apart["beyond_chance"]
    assert apart["real"]["low"] < 0.5 < apart["real"]["high"] < 0.8
    assert (tmp_path / "sharpness.png").read_bytes().startswith(b"\x89PNG")
    assert "| power over real | n | 0.10-0.14 |" in text
    assert "| other real people | 60 |" in text
    assert "told from real people, area under the curve: 1 (" in summary
    assert f"power over real people's, 0.26 to 0.30 cycles a voxel: {power[4]:.3g} (" in summary
    told = {figure.name: figure for figure in read_evaluation(tmp_path).evaluation.figures}
    assert told["power over the real images', 0.26 to 0.30 cycles a voxel"].value < 0.4
    (area,) = (figure for name, figure in told.items() if name.startswith("told from real images")
               and "real ones from" not in name)  # fmt: skip
    assert area.value == pytest.approx(1, abs=1e-6)
    assert 0.6 < area.low < 1  # type: ignore[operator]


def test_volumes_as_sharp_as_people_are_not_told_from_them(tmp_path: Path) -> None:
    findings, _, _ = report_of(people(60, 1), tmp_path)
    assert not findings["spectrum"]["told_apart"]["made"]["beyond_chance"]


def test_the_fid_of_real_people_stands_beside_at_equal_n(tmp_path: Path) -> None:
    findings, text, summary = report_of(people(60, 1), tmp_path)
    halves = findings["table_1"]["made"]["halves_segmenter"]
    assert {halves[name]["n"] for name in halves} == {37}
    assert halves["ratio"]["low"] < 1 < halves["ratio"]["high"]
    assert "halves_segmenter" not in findings["table_1"][REAL]
    assert "| FID at equal n | features | to a real half | of two real halves | ratio |" in text
    ratio = f"{halves['ratio']['value']:.3g} ("
    assert f"FID over that of real halves, segmenter's features, equal n: {ratio}" in summary
    told = read_evaluation(tmp_path).evaluation.figures
    distances = [figure for figure in told if "Fréchet distance" in figure.name]
    assert len(distances) == 1, "a distance stands alone, and means nothing at this n"
    both = "{:.3g} over {:.3g}".format(*(halves[one]["value"] for one in ("synthetic", "real")))
    assert distances[0].name.endswith(f"at equal n (our segmenter's features): {both}")
    assert distances[0].caution == halves["ratio"].get("caution", "")


def test_too_few_people_held_out_are_told(tmp_path: Path) -> None:
    rows = measured(people(60, 1))
    real = rows[REAL].rows
    first = real.index[real["group"] == "validation"][:11]
    rows[REAL] = Measured(rows=real.drop(index=first), pairs=rows[REAL].pairs)
    assert len(rows[REAL].of("validation")) == 4
    assert spectra(rows, seed=0) is None
    _, told = sharpness(None, ["made"])
    assert isinstance(told, Text)
    assert "Too few real people were measured" in told.text
