"""The parts of `evaluate` that need no Ray: its parts on disk, its page, its pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ldm.covariates import CovariateSchema
from ldm.volumes.grid import Grid
from ray_jobs.errors import JobError
from ray_jobs.evaluation.job import labelled
from ray_jobs.evaluation.measuring.tables import arrays, blocks, part_path, read_parts, write_part
from ray_jobs.evaluation.report.page import Heading, Picture, Table, Text, to_html, to_markdown
from ray_jobs.evaluation.report.pictures import by_band, nearest, scatters, spreads
from ray_jobs.evaluation.sources import ReleaseVolumes, check_grid, check_held_out
from ray_jobs.preparation.cohort import PreparedCohort
from tests.manifests.releases import make_release

HOSTILE = "</script><img src=x onerror=alert(1)> | `x` [a](javascript:b)"


def test_releases_are_named_or_take_the_end_of_their_address() -> None:
    found = labelled(["ddim=s3://bucket/a/", "/data/lsgan/", "s3://bucket/prefix/ldm"])
    assert found == {
        "ddim": "s3://bucket/a/",
        "lsgan": "/data/lsgan/",
        "ldm": "s3://bucket/prefix/ldm",
    }


def test_a_release_in_a_folder_of_any_name_gets_a_plain_label() -> None:
    words = ["/data/Läufe 100%/it's müde", "rel2 ü%20/", "x=/data/größe", f"/d/{'a' * 90}"]
    assert list(labelled(words)) == ["it-s-mude", "rel2-u-20", "x", "a" * 31]


@pytest.mark.parametrize(
    "words", [["real=x"], ["a b=x"], ["=x"], ["../.."], ["x", "y/x"], ["/d/脑"], ["réal"]]
)
def test_a_label_that_is_none_is_refused(words: list[str]) -> None:
    with pytest.raises(JobError, match=r"NAME="):
        labelled(words)


def test_a_release_on_another_grid_than_the_cohorts_is_refused(tmp_path: Path) -> None:
    make_release(tmp_path, 4)
    release = ReleaseVolumes.of("release", str(tmp_path), CovariateSchema(()), None)
    same = Grid(shape=(10, 12, 8), spacing=2.0, centre=(9.0, 11.0, 7.0))
    check_grid(release, same)
    for other, told in (
        (replace(same, shape=(10, 12, 10)), "10 x 12 x 10 voxels of 2 x 2 x 2 mm"),
        (replace(same, spacing=2.5), "10 x 12 x 8 voxels of 2.5 x 2.5 x 2.5 mm"),
        (replace(same, centre=(9.0, 12.0, 7.0)), "from (0.0, 1.0, 0.0)"),
    ):
        with pytest.raises(JobError) as refusal:
            check_grid(release, other)
        assert "its volumes have 10 x 12 x 8 voxels of 2 x 2 x 2 mm from (0.0" in str(refusal.value)
        assert told in str(refusal.value)
        assert "prepare the cohort with the preset" in str(refusal.value)


def test_a_release_in_mni_space_is_not_measured_against_a_centred_cohort(tmp_path: Path) -> None:
    make_release(tmp_path, 4)
    release = ReleaseVolumes.of("release", str(tmp_path), CovariateSchema(()), None)
    grid = Grid(shape=(10, 12, 8), spacing=2.0, centre=(9.0, 11.0, 7.0), space="centred")
    with pytest.raises(JobError, match="lie in space MNI152, the real cohort's in space ce"):
        check_grid(release, grid)


def test_a_cohort_that_holds_out_too_few_is_refused(tmp_path: Path) -> None:
    def cohort(held_out: int) -> PreparedCohort:
        return PreparedCohort(
            folder=tmp_path,
            grid=Grid(shape=(10, 12, 8), spacing=2.0, centre=(9.0, 11.0, 7.0)),
            schema=CovariateSchema(()),
            table=pd.DataFrame(
                {
                    "participant_id": [f"sub-{number}" for number in range(30 + held_out)],
                    "split": ["train"] * 30 + ["validation"] * held_out,
                }
            ),
            source={},
        )

    check_held_out(cohort(10))
    with pytest.raises(JobError, match=r"9 of 39 subjects are held out; .* at least 10: prepare"):
        check_held_out(cohort(9))


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    assert [b["number"] for b in blocks(tmp_path, "real", 70)] == [0, 1, 2]
    rows = [{"name": f"s{i}", "data": np.float32([i, i]).tobytes()} for i in range(70)]
    for number in (0, 2):
        write_part(tmp_path, "real", number, rows[32 * number : 32 * number + 32])
    left = list(blocks(tmp_path, "real", 70))
    assert left == [{"source": "real", "number": 1, "start": 32, "stop": 64}]
    with pytest.raises(
        JobError, match=r"real-00001\.parquet is missing or damaged; run brainpress"
    ):
        read_parts(tmp_path, "real", 70)
    write_part(tmp_path, "real", 1, rows[32:64])
    table = read_parts(tmp_path, "real", 70)
    assert list(table["name"]) == [row["name"] for row in rows]
    assert arrays(table["data"], "<f4")[69].tolist() == [69, 69]
    assert not list(part_path(tmp_path, "real", 0).parent.glob(".*"))


def test_the_page_shows_text_and_does_nothing_with_it() -> None:
    blocks = [
        Heading(HOSTILE, 1),
        Text(HOSTILE),
        Table([["name", HOSTILE], ["a", "1"]]),
        Picture("a.png", b"\x89PNG", HOSTILE),
    ]
    page = to_html(blocks, HOSTILE)
    assert "<img src=x" not in page
    assert page.count("</script>") == 0
    assert "default-src 'none'" in page
    assert "data:image/png;base64,iVBORw==" in page
    text = to_markdown(blocks)
    assert "\\<img" in text
    assert "](javascript" not in text.replace("\\](", "")
    assert [line.count("|") - line.count("\\|") for line in text.splitlines() if line[:2] == "| "]
    assert "|---|---|" in text


def test_the_pictures_are_the_same_bytes_for_the_same_figures() -> None:
    rng = np.random.default_rng(0)
    asked = rng.normal(size=60)
    panel = {"name": "age", "unit": "years", "asked": asked, "measured": asked + 1, "caption": ""}
    many = {"name": "a", "unit": "mL", "values": {"real": asked, "release": asked * 2}}
    near = {"name": "b", "real": asked + 5, "synthetic": asked + 6, "threshold": 4.0}
    for draw, panels in ((scatters, [panel, panel]), (spreads, [many]), (nearest, [near])):
        picture = draw(panels)  # type: ignore[operator]
        assert picture.startswith(b"\x89PNG")
        assert picture == draw(panels)  # type: ignore[operator]
    known = {"value": 0.8, "low": 0.7, "high": 0.9}
    unknown = {"value": None, "low": None, "high": None}
    sets = {"other real people": [known, known], "made": [known, unknown]}
    bands = [[0.1, 0.2], [0.2, 0.4]]
    curves = by_band(bands, [{"name": "power", "level": 1.0, "sets": sets}])
    assert curves.startswith(b"\x89PNG")
    sets["made"][0] = {"value": 0.5, "low": 0.4, "high": 0.6}
    assert curves != by_band(bands, [{"name": "power", "level": 1.0, "sets": sets}])
