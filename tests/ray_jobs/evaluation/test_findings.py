"""Figures and report of an evaluation, from measures that are made up: no Ray, no network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ldm.anatomy.regions import KINDS, REGIONS
from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema
from ldm.evaluation.learning.tissue import FEATURES, VOXELS
from ldm.evaluation.privacy.audit import NOT_PLANTED
from ldm.evaluation.privacy.planted import EACH, MAKES
from ldm.evaluation.statistics.enough import MEANINGS
from ldm.volumes.spectrum import BANDS
from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.measured import MEASURES
from manifests.metadata.pictures import without_pictures
from manifests.publish.evaluation import read_evaluation, refuse_not_passed
from ray_jobs.errors import JobError
from ray_jobs.evaluation.anatomy import STRUCTURES
from ray_jobs.evaluation.carried import EvaluatedRelease
from ray_jobs.evaluation.findings import reckon
from ray_jobs.evaluation.job import leave_open
from ray_jobs.evaluation.measuring.folds import LEAKS, Matched, PlantedLeaks
from ray_jobs.evaluation.measuring.head_size import in_the_cohorts_convention
from ray_jobs.evaluation.measuring.instruments import PEOPLE, REGION, VOLUMES
from ray_jobs.evaluation.measuring.latent_space import LATENTS, Shown
from ray_jobs.evaluation.measuring.measured import TRAIN, Measured
from ray_jobs.evaluation.report.cautions import cautioned
from ray_jobs.evaluation.report.documents import write_report
from ray_jobs.evaluation.sources import REAL
from ray_jobs.evaluation.sweeps import MEASURE_OF, Sweep, middle

SHAPE = (10, 12, 10)
RELEASE = EvaluatedRelease(
    label="made", fingerprint="f" * 64, samples=62, images=60, model="e" * 64, sampling={}
)
WIDTH = 24
KIND_NAMES = [kind.name for kind in KINDS]


def people(count: int, seed: int, *, group: bool = False) -> pd.DataFrame:
    """Rows of volumes that show what was asked of them, but for a little noise."""
    rng = np.random.default_rng(seed)
    age, sex = rng.uniform(20, 80, count), rng.choice(["F", "M"], count)
    ventricles = 5000 + 400 * (age - 20) + rng.normal(0, 2000, count).clip(-4000)
    brain = 1.35e6 - 2000 * (age - 20) + rng.normal(0, 2e4, count)
    rows = pd.DataFrame(
        {
            "name": [f"sub-{i:06d}" for i in range(count)],
            "group": np.where(np.arange(count) % 5 == 0, "validation", "train") if group else "",
            "sex": sex,
            "age": age,
            "ventricular_volume": ventricles,
            "brain_volume": brain,
            "error": "",
        }
    )
    for name in (*VOLUMES, *PEOPLE):
        rows[f"measured_{name}"] = rng.normal(1e5, 1e4, count)
    for region in REGIONS:  # each loses its number in tenths of a per cent a decade
        ageing = 1 - 0.001 * region.kind * (age - 50) / 10
        rows[f"{REGION}{region.key}"] = 5000 * ageing * rng.normal(1, 0.005, count)
    rows["measured_ventricular_volume"] = ventricles * 1.02 + rng.normal(0, 300, count)
    rows["measured_normalised_brain_volume"] = 1.3 * brain
    rows["measured_age"] = age + rng.normal(0, 8, count)
    rows["measured_male"] = np.where(sex == "M", 0.8, 0.3)
    features = rng.normal(size=(count, WIDTH))
    features[:, 0] += (age - 50) / 20
    rows["features"] = [f.astype("<f4").tobytes() for f in features]
    spectra = rng.normal(0.6, 0.1, (count, 2 * len(BANDS)))
    rows["spectrum"] = [one.astype("<f4").tobytes() for one in spectra]
    for name in ("image", "mirrored"):
        rows[name] = [rng.normal(size=40).astype("<f4").tobytes() for _ in range(count)]
    tissue = rng.integers(1, 6, (count, VOXELS, 1)) * np.ones(FEATURES + 1)
    rows["tissue"] = [one.astype("<f2").tobytes() for one in tissue]
    return rows.assign(medicalnet=None)


def pairs(count: int) -> pd.DataFrame:
    drawn = np.random.default_rng(0).integers(count, size=(30, 2))
    return pd.DataFrame(
        {
            "first": drawn[:, 0],
            "second": (drawn[:, 1] + 1) % count,
            "ms_ssim": 0.6,
            "four_g_r_ssim": 0.4,
        }
    )


class Pictured:
    """A source whose volumes are blobs."""

    def __init__(self, count: int) -> None:
        names = [f"sub-{i:06d}" for i in range(count)]
        self.items: list[dict[str, Any]] = [
            {"name": name, "sha256": sha256(name.encode()), "group": TRAIN} for name in names
        ]

    def read(self, item: dict[str, Any]) -> np.ndarray:
        volume = np.zeros(SHAPE, np.float32)
        volume[2:8, 2:10, 2:8] = 0.5 + 0.004 * int(item["name"].removeprefix("sub-"))
        return volume


def measured(release: pd.DataFrame, count: int = 75) -> dict[str, Measured]:
    return {
        REAL: Measured(rows=people(count, 0, group=True), pairs=pairs(count)),
        "made": Measured(rows=release, pairs=pairs(len(release))),
    }


def matched(rows: dict[str, Measured], *, near: float = 0.1, twice: bool = False) -> Matched:
    """Folds of volumes that are as far from everybody as people are from each other.

    Args:
        near: how far planted leaks are from the two people they were made of.
        twice: the first two real people are one.
    """
    rng = np.random.default_rng(2)
    count = len(rows[REAL].rows)

    def table(distances: np.ndarray) -> pd.DataFrame:
        found = pd.DataFrame({"distances": [d.astype("<f4").tobytes() for d in distances]})
        people = np.arange(len(rows[REAL].whole)).astype("<i4").tobytes()
        return found.assign(people=people, row=np.arange(len(found)))

    def strangers(number: int) -> np.ndarray:
        return rng.normal(0.3, 0.01, (number, len(rows[REAL].whole)))

    leaks = PlantedLeaks(
        real=Pictured(count),  # type: ignore[arg-type]
        spacing=2.5,
        items=[
            {"make": make, "key": key, "of": (key + 1, key + 2)}
            for make in MAKES
            for key in range(EACH)
        ],
    )
    planted, real = strangers(len(leaks.items)), strangers(count)
    for one, item in zip(planted, leaks.items, strict=True):
        one[list(item["of"])] = near, near + 0.01
    if twice:
        real[0, 1] = real[1, 0] = 0.05
    tables = {label: table(strangers(len(found.rows))) for label, found in rows.items()}
    return Matched(tables={**tables, REAL: table(real), LEAKS: table(planted)}, leaks=leaks)


def test_what_shows_what_was_asked_is_told_with_interval_and_number(tmp_path: Path) -> None:
    release = people(60, 1)
    release.loc[3, "error"] = "no brain"
    rows = measured(release)
    folds = matched(rows)
    findings = reckon(rows, folds, PAPER_SCHEMA, "brainpress evaluate made", seed=0)
    assert findings["volumes"] == {
        "real": {"measured": 75, "refused": 0},
        "made": {"measured": 59, "refused": 1},
    }
    made = findings["conditioning"]["made"]
    assert made["ventricular_volume"]["r"]["value"] > 0.99
    assert made["ventricular_volume"]["slope"]["value"] == pytest.approx(1.02, abs=0.02)
    assert findings["head_size_factor"] == pytest.approx(1 / 1.3)
    assert made["brain_volume"]["slope"]["value"] == pytest.approx(1)
    assert made["sex"]["accuracy"]["value"] == 1
    assert findings["conditioning"][REAL]["age"]["n"] == 15  # of the held-out alone
    assert findings["transfer"]["made"]["synthetic"]["value"] < 15
    assert findings["tissue"]["made"]["synthetic"]["value"] == 1.0  # each voxel says what it is
    assert (findings["privacy"]["made"]["verdict"], findings["privacy"]["made"]["reasons"]) == (
        "passed",
        [],
    )
    assert set(findings["morphometry"]["made"]["regions"]) == {*STRUCTURES, *KIND_NAMES}
    ageing = findings["effects"]["made"]
    assert set(ageing["regions"]) == set(KIND_NAMES)
    last = ageing["regions"][KIND_NAMES[-1]]["age"]
    assert last["synthetic"]["value"] == pytest.approx(-0.1 * (len(KINDS) - 1), abs=0.15)
    assert (last["synthetic"]["n"], last["real"]["n"]) == (59, 75)
    assert ageing["agreement"]["age"]["value"] > 0.95
    sweep = Sweep(
        covariate="ventricular_volume",
        asked=(5000.0, 9000.0),
        measured=(5100.0, float("nan")),
        extrapolated=(False, True),
        volumes=np.stack([Pictured(1).read({"name": "sub-000000"})] * 2),
    )
    findings["sweeps"] = [sweep.to_json()]
    sources: Any = {REAL: Pictured(75), "made": Pictured(60)}
    report = write_report(tmp_path, findings, rows, sources, PAPER_SCHEMA, [sweep], RELEASE, folds)
    assert report.passed
    assert "ventricular_volume measured against asked: r 0.99" in report.summary
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert {**written, **json.loads(json.dumps(cautioned(findings)))} == written
    told = (tmp_path / "report.md").read_text()
    assert "What age and sex change" in told
    assert "hippocampus" in told
    assert (tmp_path / "effects-made.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "report.md").read_text()
    too_few_for_their_figures(written, text, (tmp_path / "report.html").read_text(), report.summary)
    for name in ("volumes", "conditioning", "sweep-ventricular_volume", "privacy"):
        assert f"]({name}.png)" in text
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "Pinaya et al. 2022 | FID" in text
    ties = next(line for line in text.splitlines() if line.startswith("| age, brain_volume |"))
    assert all(-1 < float(cell.split()[0]) < -0.5 for cell in ties.strip("| ").split(" | ")[1:])
    assert "| sex | made | 0.0" in text
    assert "9\\* -> no brain" not in text  # inside the picture alone
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 7
    what_a_release_carries(tmp_path, release)


def too_few_for_their_figures(written: dict[str, Any], text: str, page: str, summary: str) -> None:
    """59 volumes and 75 people, 15 of them held out: in JSON, in the report, on the terminal."""
    row = written["table_1"]["made"]
    assert (
        row["fid_segmenter"]["caution"]
        == f"biased: 59 for {row['fid_segmenter']['dimensions']} features"
    )
    assert row["halves_segmenter"]["real"]["caution"].startswith("biased: ")
    assert not row["halves_segmenter"]["ratio"].get("caution", "").startswith("biased")
    assert written["conditioning"][REAL]["age"]["r"]["caution"] == "few: 15"
    assert "caution" not in written["conditioning"]["made"]["age"]["r"]
    for shown in (text, page):
        assert f"; {row['fid_segmenter']['caution']})" in shown
        assert "; few: 15)" in shown
        assert MEANINGS["biased"] in shown
    first, *_ = summary.splitlines()
    assert "; biased: " in first
    assert f"note: biased: {MEANINGS['biased']}" in summary.splitlines()


def test_a_sweep_of_brain_volumes_is_told_in_the_cohorts_convention() -> None:
    sweep = Sweep(
        covariate="brain_volume",
        asked=(1.1e6, 1.3e6),
        measured=(1.5e6, float("nan")),
        extrapolated=(False, False),
        volumes=np.zeros((2, *SHAPE), np.float32),
    )
    assert sweep.normalised(0.8).to_json()["measured"] == [1.2e6, None]
    assert sweep.normalised(None) is sweep
    ventricles = replace(sweep, covariate="ventricular_volume")
    assert ventricles.normalised(0.8) is ventricles


def what_a_release_carries(out: Path, release: pd.DataFrame) -> None:
    carried = read_evaluation(out)
    told, table = carried.evaluation, carried.measured.to_pandas()
    assert (carried.fingerprint, told.passed) == ("f" * 64, True)
    assert (told.samples, told.images, told.measured, told.refused) == (62, 60, 59, 1)
    assert told.reference == 75
    names = {figure.name: figure for figure in told.figures}
    slope = names["ventricular_volume, measured against asked: slope"]
    assert slope.value == pytest.approx(1.02, abs=0.02)
    assert slope.low is not None
    assert slope.n == 59
    assert list(table["index"]) == list(range(60))
    assert table["error"][3] == "no brain"
    assert table.loc[3].filter(like="measured_").isna().all()
    rest = table.drop(index=3)
    asked = release.drop(index=3)
    assert list(rest["measured_age"]) == pytest.approx(asked["measured_age"], abs=0.005)
    # In the cohort's convention, so that it can be held against what was asked.
    normalised = rest["measured_normalised_brain_volume"]
    assert list(normalised) == pytest.approx(asked["brain_volume"], rel=1e-6)
    page = carried.files["evaluation/report.html"].decode()
    assert "Real people and" not in page
    assert carried.files["evaluation/volumes.png"] != (out / "volumes.png").read_bytes()
    assert b"closest" not in carried.files["evaluation/evaluation.json"]
    assert b"closest" in (out / "evaluation.json").read_bytes()
    # Whom each picture shows, so that who is withdrawn later takes it along.
    about = json.loads(carried.files["evaluation/evaluation.json"])
    pictures = {name for name in carried.files if name.endswith(".png")}
    assert {f"evaluation/{name}" for name in about["pictured"]} == pictures
    assert about["pictured"]["volumes.png"] == [f"sub-{i:06d}" for i in (0, 11, 23, 35, 47, 59)]
    assert not any(about["pictured"][name] for name in about["pictured"] if name != "volumes.png")
    files = {name.removeprefix("evaluation/"): data for name, data in carried.files.items()}
    assert without_pictures({**files}, [7])[1] == set()


def test_the_table_has_every_figure_that_is_measured() -> None:
    assert {measure.name for measure in MEASURES} == {*VOLUMES, *PEOPLE}
    for name, measured_as in MEASURE_OF.items():
        (found,) = [measure for measure in MEASURES if measure.shows == name]
        assert found.name == measured_as


def test_copies_of_training_subjects_fail_the_audit(tmp_path: Path) -> None:
    release = people(60, 1)
    real = people(75, 0, group=True)
    trained = real[real["group"] == "train"].reset_index(drop=True)
    for name in ("image", "mirrored", "features"):
        release.loc[:9, name] = trained.loc[:9, name]
    found = measured(release)
    findings = reckon(found, None, PAPER_SCHEMA, "brainpress evaluate made", seed=0)
    findings["sweeps"] = []
    sources: Any = {REAL: Pictured(75), "made": Pictured(60)}
    report = write_report(tmp_path, findings, found, sources, PAPER_SCHEMA, [], RELEASE, None)
    assert not report.passed
    assert "privacy audit: FAILED: features: 10 of 60" in report.summary
    assert "near-copies" in report.summary
    told = (tmp_path / "report.md").read_text()
    for place in range(10):  # who was copied, to withdraw it
        name = trained["name"][place]
        assert f"| images | sub-{place:06d} | {name} | " in told
    with pytest.raises(
        ReleaseError, match=r"privacy audit failed: features: 10 of 60 .*near-copies"
    ):
        refuse_not_passed(read_evaluation(tmp_path))


def audited(out: Path, folds: Matched | None = None, **changes: Any) -> tuple[Any, str]:
    """Evaluate volumes of nobody: what publish reads of it, and what a terminal is told."""
    rows = measured(people(60, 1))
    findings = {**reckon(rows, folds, PAPER_SCHEMA, "", seed=0), "sweeps": []}
    findings["privacy"]["made"] |= changes
    sources: Any = {REAL: Pictured(75), "made": Pictured(60)}
    report = write_report(out, findings, rows, sources, PAPER_SCHEMA, [], RELEASE, folds)
    assert report.passed == (findings["privacy"]["made"]["verdict"] == "passed")
    return read_evaluation(out), report.summary


def test_the_copies_that_training_was_shown_are_in_the_report(tmp_path: Path) -> None:
    rng, width = np.random.default_rng(3), 40

    def encoded(rows: pd.DataFrame) -> pd.DataFrame:
        drawn = rng.normal(size=(len(LATENTS), len(rows), width)).astype("<f4")
        columns = zip(LATENTS, drawn, strict=True)
        return rows.assign(**{name: [one.tobytes() for one in each] for name, each in columns})

    rows = {
        label: Measured(rows=encoded(found.rows), pairs=found.pairs)
        for label, found in measured(people(60, 1)).items()
    }
    trained = rows[REAL].of(TRAIN)["name"]
    shown = Shown(
        vectors=rng.normal(size=(3 * len(trained), width)).astype("<f4"),
        names=tuple(name for name in trained for _ in range(3)),
    )
    folds = matched(rows)
    findings = {**reckon(rows, folds, PAPER_SCHEMA, "", seed=0, shown=shown), "sweeps": []}
    audited = findings["privacy"]["made"]["spaces"]
    assert [space["name"] for space in audited] == ["features", "images", "latents", "folds"]
    assert {near["subject"] for near in audited[2]["closest"]} <= set(trained)
    sources: Any = {REAL: Pictured(75), "made": Pictured(60)}
    write_report(tmp_path, findings, rows, sources, PAPER_SCHEMA, [], RELEASE, folds, shown)
    assert "| made | latents |" in (tmp_path / "report.md").read_text()
    assert (tmp_path / "privacy.png").exists()


def test_without_planted_leaks_nothing_is_told_of_privacy(tmp_path: Path) -> None:
    carried, summary = audited(tmp_path)
    assert carried.evaluation.verdict == "inconclusive"
    assert f"privacy audit: INCONCLUSIVE: {NOT_PLANTED}" in summary
    with pytest.raises(ReleaseError, match="privacy audit was inconclusive: no leaks were planted"):
        refuse_not_passed(carried)


def test_leaks_that_would_have_passed_leave_the_verdict_open(tmp_path: Path) -> None:
    carried, summary = audited(tmp_path, matched(measured(people(60, 1)), near=0.3))
    assert carried.evaluation.verdict == "inconclusive"
    assert len(carried.evaluation.reasons) == len(MAKES)
    assert "INCONCLUSIVE: 3 leaks among 60 volumes (moved) would be caught in" in summary


def test_leaks_that_would_have_been_caught_are_told_with_shares_and_source(tmp_path: Path) -> None:
    carried, _ = audited(tmp_path, matched(measured(people(60, 1))))
    assert carried.evaluation.verdict == "passed"
    for text in (tmp_path / "report.md", tmp_path / "public" / "report.md"):
        told = text.read_text()
        assert "| planted leaks | 1% | 2% | 5% | 20% | 100% | source found |" in told
        for make in MAKES:
            assert f"| {make} | 100% | 100% | 100% | 100% | 100% | 100% |" in told
    public = json.loads((tmp_path / "public" / "evaluation.json").read_text())
    assert set(public["privacy"]["made"]["power"]["caught"]) == set(MAKES)


def test_images_that_were_not_looked_at_leave_the_verdict_open_and_clear_no_failed_one() -> None:
    passed: dict[str, Any] = {"passed": True, "verdict": "passed", "reasons": []}
    failed: dict[str, Any] = {"passed": False, "verdict": "failed", "reasons": ["a copy"]}
    for audit in (passed, failed):
        leave_open(audit, "9 FLAIR images are neither measured nor audited")
    why = "9 FLAIR images are neither measured nor audited"
    assert passed == {"passed": False, "verdict": "inconclusive", "reasons": [why]}
    assert failed == {"passed": False, "verdict": "failed", "reasons": ["a copy", why]}


def test_nobody_of_the_cohort_is_named_to_everyone(tmp_path: Path) -> None:
    """Not who was nearest to which volume, nor who seems to be there under two names."""
    audited(tmp_path, matched(measured(people(60, 1)), twice=True))
    own = json.loads((tmp_path / "evaluation.json").read_text())["privacy"]["made"]
    (pair,) = own["alike"]
    assert {pair["one"], pair["other"]} == {"sub-000000", "sub-000001"}
    (near,) = (space["closest"][0] for space in own["spaces"] if space["name"] == "folds")
    assert (near["volume"], near["subject"]) == (
        f"sub-{near['synthetic']:06d}",
        f"sub-{near['training']:06d}",
    )
    report = unescaped((tmp_path / "report.md").read_text())
    assert f"| {pair['one']} | {pair['other']} | 0.1" in report
    assert f"| folds | {near['volume']} | {near['subject']} | {near['relative']:.3g} | no" in report
    public = json.loads((tmp_path / "public" / "evaluation.json").read_text())["privacy"]["made"]
    assert public["alike"] == 1
    assert not any("closest" in space for space in public["spaces"])
    for name in ("report.md", "report.html"):
        told = unescaped((tmp_path / "public" / name).read_text())
        assert "have the folds of another" in told
        assert "sub-0" not in told


def unescaped(text: str) -> str:
    return text.replace("\\", "")


def test_volumes_that_nobody_can_measure_are_told() -> None:
    release = people(60, 1).assign(error="the image is empty")
    with pytest.raises(JobError, match=r"made: 0 of 60 volumes could be measured \(the image is e"):
        reckon(measured(release), None, PAPER_SCHEMA, "", seed=0)


def test_a_model_without_covariates_has_no_conditioning() -> None:
    release = people(60, 1).drop(columns=["age", "sex", "ventricular_volume", "brain_volume"])
    findings = reckon(measured(release), None, PAPER_SCHEMA, "", seed=0)
    assert findings["conditioning"]["made"] == {}
    assert findings["transfer"] == {}
    assert findings["morphometry"]["made"]["adjusted"] == []
    assert findings["effects"]["made"] is None
    assert findings["covariates"]["made"] == {"margins": {}, "ties": []}


def test_subjects_who_lack_a_covariate_count_in_all_that_does_not_need_it() -> None:
    found = measured(people(60, 1))
    real = people(75, 0, group=True)
    real.loc[[1, 5], "age"] = np.nan  # of the training subjects one, and one held out
    real.loc[2, "sex"] = None
    real.loc[3, "brain_volume"] = np.nan
    found[REAL] = Measured(rows=real, pairs=pairs(75))
    findings = reckon(found, None, PAPER_SCHEMA, "", seed=0)
    assert findings["volumes"][REAL] == {"measured": 75, "refused": 0}
    assert findings["head_size_factor"] == pytest.approx(1 / 1.3)
    assert findings["conditioning"][REAL]["age"]["n"] == 14
    assert findings["conditioning"][REAL]["ventricular_volume"]["n"] == 15
    assert set(findings["covariates"]["made"]["margins"]) == set(PAPER_SCHEMA.names)
    assert findings["transfer"]["made"]
    assert findings["effects"]["made"]["regions"]["insula"]["age"]["real"]["n"] == 72
    assert findings["morphometry"]["made"]["adjusted"] == []  # not all have age and sex
    person = middle(PAPER_SCHEMA, real[list(PAPER_SCHEMA.names)].to_dict("records"))
    assert person["age"] == pytest.approx(float(real["age"].median()), abs=1e-3)


def test_what_levels_move_is_told_against_the_first(tmp_path: Path) -> None:
    dx = Covariate(name="dx", kind="categorical", levels=("CN", "MCI", "AD"), coding="one-hot")
    schema = CovariateSchema((*PAPER_SCHEMA.covariates, dx))
    rows = {
        label: people(count, seed, group=label == REAL).assign(
            dx=[dx.levels[i % 7 % 3] for i in range(count)]
        )
        for label, count, seed in ((REAL, 150, 0), ("made", 120, 1))
    }
    rows["made"].loc[rows["made"]["dx"] == "AD", "measured_ventricular_volume"] += 9_000
    found = {label: Measured(rows=table, pairs=pairs(len(table))) for label, table in rows.items()}
    findings = reckon(found, None, schema, "", seed=0)
    effects = findings["responses"]["made"]["ventricular_volume"]["effects"]
    assert list(effects) == [*PAPER_SCHEMA.names, "dx=MCI", "dx=AD"]
    assert effects["dx=AD"]["value"] == pytest.approx(9_000, abs=300)
    assert effects["dx=MCI"]["low"] < 0 < effects["dx=MCI"]["high"]
    sources: Any = {label: Pictured(len(table)) for label, table in rows.items()}
    whole = replace(RELEASE, samples=120, images=120)
    write_report(tmp_path, {**findings, "sweeps": []}, found, sources, schema, [], whole, None)
    report = (tmp_path / "report.md").read_text()
    assert "asked dx, CN to MCI | asked dx, CN to AD | scatter about it" in report


@pytest.mark.parametrize("normalised", [True, False])
def test_brain_volumes_are_told_as_the_cohort_s_are(normalised: bool) -> None:
    rng = np.random.default_rng(4)

    def of(count: int, seed: int, **options: Any) -> pd.DataFrame:
        rows = people(count, seed, **options)
        head = rng.normal(1, 0.1, count)
        asked = rows["brain_volume"] * (1 if normalised else head)
        raw = 1.02 * rows["brain_volume"] * head
        return rows.assign(
            brain_volume=asked,
            measured_brain_volume=raw,
            measured_normalised_brain_volume=1.3 * raw / head,
        )

    found = {
        REAL: Measured(rows=of(75, 0, group=True), pairs=pairs(75)),
        "made": Measured(rows=of(60, 1), pairs=pairs(60)),
    }
    convention = in_the_cohorts_convention(found)
    assert convention is not None
    assert convention.normalised is normalised
    assert convention.factor == pytest.approx(1 / (1.3 * 1.02) if normalised else 1.0)
    for source in found.values():
        told, asked = source.whole["measured_normalised_brain_volume"], source.whole["brain_volume"]
        np.testing.assert_allclose(told, asked * (1 if normalised else 1.02), rtol=1e-6)
