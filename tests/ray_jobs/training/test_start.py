"""`--from` and `--perceptual`: where a run's weights and its perceptual network come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA, CovariateSchema
from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.models.latent_diffusion import save
from ldm.networks import Denoiser
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training import diffusion_job, features_job
from ray_jobs.training.start import autoencoder_start, begin, carried_conditions, denoiser_start
from ray_jobs.work_folder import WorkFolder
from tests.ldm.tiny_model import networks, working_model
from tests.ray_jobs.line import (
    PRESET,
    ended,
    refused,
    without_ray,
    write_line,
)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, an autoencoder, latents and a model."""
    folder = write_line(tmp_path_factory.mktemp("line"))
    working_model(folder / "diffusion" / "model", seed=4)
    return folder


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


def command(verb: str, line: Path, out: Path, *words: object) -> list[object]:
    source = {"train-autoencoder": ["--cohort", line / "prepared"]}
    given = source.get(verb, ["--latents", line / "latents"])
    return [verb, *given, "--preset", "tiny", "--out", out, *words]


# --------------------------------------------------------------------------------------- --from


def test_the_weights_of_a_run_or_a_model_are_those_the_new_run_begins_with(
    line: Path, tmp_path: Path
) -> None:
    autoencoder, denoiser = networks(seed=4)
    wanted = {"from a model": autoencoder, "U-Net": denoiser}
    found = {
        "from a model": autoencoder_start(str(line / "diffusion" / "model"), PRESET.autoencoder),
        "U-Net": denoiser_start(str(line / "diffusion"), PRESET.denoiser, PRESET.schedule),
    }
    for name, start in found.items():
        (tmp_path / name).mkdir()
        start.put(WorkFolder(str(tmp_path / name)))
        fresh = networks(seed=9)[name == "U-Net"]
        begin(fresh, WorkFolder(str(tmp_path / name)), True)
        kept = {k: v.half().float() for k, v in wanted[name].state_dict().items()}
        torch.testing.assert_close(fresh.state_dict(), kept, rtol=0, atol=0)
    assert found["U-Net"].name == "diffusion"
    run = autoencoder_start(str(line / "autoencoder"), PRESET.autoencoder)
    assert run.told()["sha256"] != found["from a model"].told()["sha256"]
    untouched = networks(seed=9)[0]
    begin(untouched, WorkFolder(str(tmp_path)), False)
    torch.testing.assert_close(untouched.state_dict(), networks(seed=9)[0].state_dict())


@pytest.mark.parametrize(
    ("verb", "source", "words"),
    [
        (
            "train-autoencoder",
            "nowhere",
            "nowhere: neither a finished run of train-autoencoder nor",
        ),
        ("train-diffusion", "autoencoder", "neither a finished run of train-diffusion nor a model"),
        ("train-autoencoder", "demo", "--from demo does not fit: its autoencoder has channels (32"),
        ("train-diffusion", "demo", "--from demo does not fit: its U-Net has channels (128, 128)"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(
    line: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    source: str,
    words: str,
) -> None:
    source = source if source == "demo" else str(line / source)
    told = refused(capsys, *command(verb, line, tmp_path / "run", "--from", source))
    assert words in told
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_u_net_trained_to_say_something_else_is_refused(line: Path) -> None:
    with pytest.raises(JobError, match=r"its schedule has prediction v, the run has flow"):
        denoiser_start(str(line / "diffusion"), PRESET.denoiser, Schedule(prediction="flow"))


def test_the_weights_a_run_began_with_are_part_of_what_it_is(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = command("train-autoencoder", line, out)
    with pytest.raises(AssertionError, match="Ray was started"):
        ended(capsys, *words, "--from", line / "autoencoder")
    assert (out / "from.safetensors").exists()
    assert "holds another run: from.name 'autoencoder' -> none" in refused(capsys, *words)


ranges = st.tuples(st.floats(-50, 50), st.floats(1, 100)).map(lambda r: (r[0], r[0] + r[1]))


@given(ranges, ranges, st.floats(-1, 1), st.floats(0.1, 3), st.floats(-100, 200))
def test_a_value_in_physical_units_reads_as_before_under_another_cohort_s_range(
    old: tuple[float, float], new: tuple[float, float], mean: float, std: float, value: float
) -> None:
    base, schema = (
        CovariateSchema(covariates=(replace(PAPER_SCHEMA["age"], minimum=a, maximum=b),))
        for a, b in (old, new)
    )
    config = replace(PRESET.denoiser, conditions=1, condition_mean=(mean,), condition_std=(std,))
    (new_mean,), (new_std,) = carried_conditions(base, config, schema)
    before = ((value - old[0]) / (old[1] - old[0]) - mean) / std
    after = ((value - new[0]) / (new[1] - new[0]) - new_mean) / new_std
    assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


def test_other_covariates_are_refused(line: Path) -> None:
    fewer = CovariateSchema(covariates=PAPER_SCHEMA.covariates[:3])
    with pytest.raises(JobError, match="--from was trained with covariates sex, age, ventric"):
        carried_conditions(PAPER_SCHEMA, PRESET.denoiser, fewer)


# ---------------------------------------------------------------------------------- --perceptual


def test_where_the_perceptual_network_comes_from() -> None:
    config = replace(PRESET.train_autoencoder, perceptual_weight=0.5)
    assert features_job.choose(PRESET, config, None) == (config, "cohort")
    assert features_job.choose(PRESET, config, "monai:vgg") == (config, "monai:vgg")
    assert features_job.choose(PRESET, config, "p") == (config, str(Path("p").absolute()))
    without = replace(config, perceptual_weight=0.0)
    assert features_job.choose(PRESET, config, "off") == (without, "off")
    assert features_job.choose(PRESET, without, None) == (without, "off")
    with pytest.raises(JobError, match="--perceptual cohort with weight 0: the preset leaves"):
        features_job.choose(PRESET, without, "cohort")


def test_the_perceptual_network_is_part_of_what_a_run_is(line: Path, tmp_path: Path) -> None:
    cohort = PreparedCohort.open(line / "prepared")
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"one")
    found = [
        features_job.identity(PRESET, source, cohort, seed)
        for source, seed in (
            ("off", 0),
            ("cohort", 0),
            ("cohort", 1),
            ("monai", 0),
            (str(weights), 0),
        )
    ]
    assert found[0] == {}
    assert found[3] == {"perceptual": "monai:squeeze"}
    weights.write_bytes(b"another")
    found.append(features_job.identity(PRESET, str(weights), cohort, 0))
    assert all(one != other for i, one in enumerate(found) for other in found[:i])
    with pytest.raises(LdmError, match="no weights there"):
        features_job.identity(PRESET, str(tmp_path / "absent"), cohort, 0)


# -------------------------------------------------------------------------- what the network reads


@pytest.mark.parametrize(("standardised", "null"), [(True, -4.0), (False, -1.0)])
def test_a_dropped_condition_reads_a_value_that_no_subject_has(
    line: Path, standardised: bool, null: float
) -> None:
    latents = EncodedCohort.open(line / "latents")
    chosen = replace(PRESET, standardise_conditions=standardised)
    training = replace(PRESET.train_diffusion, condition_dropout=0.1)
    config = diffusion_job.denoiser_config(chosen, latents, training)
    assert config.null_condition == null
    network = Denoiser(config)
    scaled = torch.from_numpy(diffusion_job.conditions(latents, "train"))
    read = (scaled - network.condition_mean) / network.condition_std
    assert float(read.min()) > null + 0.5
    plain = diffusion_job.denoiser_config(chosen, latents, PRESET.train_diffusion)
    assert plain.null_condition is None


def test_fine_tuning_keeps_what_a_dropped_condition_reads(line: Path, tmp_path: Path) -> None:
    latents = EncodedCohort.open(line / "latents")
    description = working_model(tmp_path / "base")
    autoencoder, denoiser = networks()
    denoiser.config = replace(denoiser.config, null_condition=-2.5)
    known = replace(description, denoiser=denoiser.config.to_json())
    save(tmp_path / "known", known, autoencoder, denoiser)
    wanted = diffusion_job.denoiser_config(
        PRESET, latents, replace(PRESET.train_diffusion, condition_dropout=0.1)
    )
    start = denoiser_start(str(tmp_path / "known"), wanted, PRESET.schedule)
    assert diffusion_job.carried(wanted, start, latents.schema).null_condition == -2.5
    start = denoiser_start(str(tmp_path / "base"), wanted, PRESET.schedule)
    assert diffusion_job.carried(wanted, start, latents.schema).null_condition == -4.0


@pytest.mark.parametrize("kind", ["epsilon", "v", "flow"])
def test_the_prediction_asked_for_is_the_schedule_s(kind: str) -> None:
    assert diffusion_job.with_prediction(PRESET, kind).schedule.prediction == kind
    assert diffusion_job.with_prediction(PRESET, None) == PRESET


def test_an_unknown_prediction_is_one_line(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-diffusion", line, tmp_path / "run", "--prediction", "noise")
    assert "prediction 'noise': expected one of" in refused(capsys, *words)
