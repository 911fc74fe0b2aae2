"""`brainpress calibrate`: an evaluation of a model that answers weakly, taken into the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ldm.covariates import PAPER_SCHEMA
from ldm.diffusion.config import Sampling
from ldm.loading import describe
from ray_jobs.cli import main
from ray_jobs.evaluation.carried import EvaluatedRelease
from ray_jobs.evaluation.findings import reckon
from ray_jobs.evaluation.report.documents import write_report
from ray_jobs.evaluation.sources import REAL
from tests.ldm.tiny_gan import tiny_gan
from tests.ldm.tiny_model import working_folder
from tests.ray_jobs.evaluation.test_findings import Pictured, measured, people

GUIDED = Sampling(sampler="unipc", steps=15, guidance=1.6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return working_folder(tmp_path_factory)


@pytest.fixture(scope="module")
def report(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a release whose brains answer with half of what is asked of them, and shrink
    by 1 mm3 for every mm3 that is asked of their ventricles."""
    out = tmp_path_factory.mktemp("report")
    release = people(300, 1)
    brain, ventricles = release["brain_volume"], release["ventricular_volume"]
    shrunk = 0.5 * brain + 620_000 - (ventricles - ventricles.mean())
    release["measured_normalised_brain_volume"] = 1.3 * shrunk
    rows = measured(release)
    findings = reckon(rows, None, PAPER_SCHEMA, "brainpress evaluate made", seed=0)
    findings["sweeps"] = []
    sources: Any = {REAL: Pictured(75), "made": Pictured(300)}
    about = EvaluatedRelease(
        label="made",
        fingerprint="f" * 64,
        samples=300,
        images=300,
        model=describe(model).fingerprint,
        sampling=GUIDED.options(),
    )
    write_report(out, findings, rows, sources, PAPER_SCHEMA, [], about, None)
    return out


def calibrated(*words: object) -> int:
    return main(["calibrate", *map(str, words)])


def test_a_model_that_answers_weakly_is_told_more(
    model: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated"
    assert calibrated(model, "--evaluation", report, "--out", out) == 0
    told = capsys.readouterr().out
    assert "ventricular_volume: slope 1.02" in told
    assert "left as it is" in told
    assert "brain_volume: slope 0.6" in told  # ventricles shrink while brains grow: 0.5 and some
    assert "told 2.00 brain_volume + " in told
    description = describe(out)
    assert description.sampling == GUIDED
    assert list(description.calibration.planes) == ["brain_volume"]
    plane = description.calibration.planes["brain_volume"]
    extent = {c.name: c.maximum - c.minimum for c in PAPER_SCHEMA.continuous}
    assert plane.weights["brain_volume"] == pytest.approx(2, abs=0.01)
    of_ventricles = 2 * extent["ventricular_volume"] / extent["brain_volume"]
    assert plane.weights["ventricular_volume"] == pytest.approx(of_ventricles, abs=0.01)
    assert abs(plane.weights["age"]) < 0.01
    commands = description.card["training"]["commands"]
    assert commands[-1] == "brainpress calibrate tiny --evaluation report --out calibrated"
    for name in ("autoencoder.safetensors", "denoiser.safetensors"):
        assert (out / name).read_bytes() == (model / name).read_bytes()


def test_the_covariate_that_is_named_is_the_only_one(
    model: Path, report: Path, tmp_path: Path
) -> None:
    out = tmp_path / "calibrated"
    named = ("--covariate", "ventricular_volume")
    assert calibrated(model, "--evaluation", report, "--out", out, *named) == 0
    planes = describe(out).calibration.planes
    assert list(planes) == ["ventricular_volume"]
    assert planes["ventricular_volume"].weights["ventricular_volume"] == pytest.approx(1, abs=0.05)


def test_a_share_goes_a_part_of_the_way(model: Path, report: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated"
    assert calibrated(model, "--evaluation", report, "--out", out, "--share", 0.5) == 0
    weights = describe(out).calibration.planes["brain_volume"].weights
    assert weights["brain_volume"] == pytest.approx(1.5, abs=0.01)


def test_a_calibrated_model_wants_an_evaluation_of_its_own(
    model: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "calibrated"
    assert calibrated(model, "--evaluation", report, "--out", out) == 0
    capsys.readouterr()
    assert calibrated(out, "--evaluation", report, "--out", tmp_path / "twice") == 2
    assert "was printed by another model" in capsys.readouterr().err
    assert not (tmp_path / "twice").exists()


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 2) -> str:
    """The one line on stderr."""
    assert calibrated(*words) == code
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_wrong_inputs_are_one_line_and_nothing_is_written(
    model: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    given = ("--evaluation", report, "--out", out)
    assert "no evaluation.json there" in refused(
        capsys, model, "--evaluation", tmp_path, "--out", out
    )
    assert "expected age or ventricular_volume or brain_volume" in refused(
        capsys, model, *given, "--covariate", "sex"
    )
    for share in (0, 1.5):
        assert f"--share {share}: expected above 0, to 1" in refused(
            capsys, model, *given, "--share", share
        )
    gan = tiny_gan(tmp_path / "gan")
    assert "expected a latent diffusion model with covariates" in refused(capsys, gan, *given)
    assert not out.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    full = ("--evaluation", report, "--out", tmp_path / "full")
    assert "is not empty; give a new folder" in refused(capsys, model, *full)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "is not of `brainpress evaluate`"),
        ({"responses": ...}, "of an earlier brainpress, or damaged; run the same"),
        ({"release": {"label": "made"}}, "of an earlier brainpress, or damaged; run the same"),
    ],
)
def test_another_document_is_told(
    model: Path,
    report: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    words: str,
) -> None:
    document = {**json.loads((report / "evaluation.json").read_text()), **changes}
    kept = {name: value for name, value in document.items() if value is not ...}
    (tmp_path / "evaluation.json").write_text(json.dumps(kept))
    out = tmp_path / "out"
    assert words in refused(capsys, model, "--evaluation", tmp_path, "--out", out)
    assert not out.exists()


def test_a_model_that_answers_as_people_do_has_nothing_to_calibrate(
    model: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((report / "evaluation.json").read_text())
    document["conditioning"]["made"]["brain_volume"] = document["conditioning"][REAL][
        "brain_volume"
    ]
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    words = (model, "--evaluation", tmp_path, "--out", tmp_path / "out")
    assert "nothing to calibrate" in refused(capsys, *words, code=1)


def test_an_evaluation_from_before_spectra_and_halves_is_read(
    model: Path, report: Path, tmp_path: Path
) -> None:
    document = json.loads((report / "evaluation.json").read_text())
    del document["spectrum"], document["table_1"]["made"]["halves_segmenter"]
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    assert calibrated(model, "--evaluation", tmp_path, "--out", tmp_path / "out") == 0
    assert list(describe(tmp_path / "out").calibration.planes) == ["brain_volume"]


def test_a_covariate_whose_slope_is_not_known_is_left_out(
    model: Path, report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((report / "evaluation.json").read_text())
    document["conditioning"]["made"]["brain_volume"]["slope"] |= {"low": None, "high": None}
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    words = (model, "--evaluation", tmp_path, "--out", tmp_path / "out")
    line = refused(capsys, *words, "--covariate", "brain_volume")
    assert "expected age or ventricular_volume\n" in line
