"""`--from` and `--perceptual`: where a run's weights and its perceptual network come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ldm.covariates import PAPER_SCHEMA, Covariate, CovariateSchema
from ldm.covariates.distribution import CohortDistribution
from ldm.diffusion.schedule import Schedule
from ldm.errors import LdmError
from ldm.models.latent_diffusion import save
from ldm.networks import Denoiser, DenoiserConfig
from ldm.networks.denoiser import with_inputs
from ldm.networks.weights import load_weights
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.errors import JobError
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training import diffusion_job, features_job
from ray_jobs.training.starting.carrying import carry
from ray_jobs.training.starting.start import Start, autoencoder_start, begin, denoiser_start
from ray_jobs.work_folder import WorkFolder
from tests.ldm.tiny_model import BRANCHED, networks, working_model
from tests.ray_jobs.line import (
    PRESET,
    ended,
    refused,
    without_ray,
    write_line,
)

OFFERED = {
    **{covariate.name: covariate for covariate in PAPER_SCHEMA.covariates},
    "site": Covariate(
        name="site", kind="categorical", levels=("Guys", "HH", "IOP"), coding="one-hot"
    ),
    "diagnosis": Covariate(name="diagnosis", kind="categorical", levels=("HC", "MDD")),
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, an autoencoder, latents and a model."""
    folder = write_line(tmp_path_factory.mktemp("line"))
    working_model(folder / "diffusion" / "model", seed=4)
    return folder


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


def begun_from(source: Path, line: Path) -> tuple[Start, DenoiserConfig]:
    latents = EncodedCohort.open(line / "latents")
    return denoiser_start(str(source), PRESET.denoiser, PRESET.schedule, latents)


def one_for(schema: CovariateSchema) -> DenoiserConfig:
    return replace(PRESET.denoiser, conditions=len(schema.inputs))


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
        "U-Net": begun_from(line / "diffusion", line)[0],
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
    latents = EncodedCohort.open(line / "latents")
    with pytest.raises(JobError, match=r"its schedule has prediction v, the run has flow"):
        denoiser_start(
            str(line / "diffusion"), PRESET.denoiser, Schedule(prediction="flow"), latents
        )


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
    carried = carry(base, config, schema, config)
    assert carried.is_whole
    (new_mean,), (new_std,) = carried.mean, carried.std
    before = ((value - old[0]) / (old[1] - old[0]) - mean) / std
    after = ((value - new[0]) / (new[1] - new[0]) - new_mean) / new_std
    assert after == pytest.approx(before, rel=1e-6, abs=1e-6)


kinds = st.sampled_from(["sex", "age", "ventricular_volume", "site", "diagnosis"])


some = st.lists(kinds, unique=True, min_size=1)


@given(some, some, st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_network_for_other_covariates_hears_those_it_knows_as_before_and_no_new_one(
    before: list[str], after: list[str], seed: int
) -> None:
    torch.manual_seed(seed)
    base, schema = (
        CovariateSchema(covariates=tuple(OFFERED[n] for n in s)) for s in (before, after)
    )
    old, wanted = (
        replace(
            PRESET.denoiser,
            conditions=len(s.inputs),
            condition_mean=tuple(torch.rand(len(s.inputs)).tolist()),
            condition_std=tuple((0.5 + torch.rand(len(s.inputs))).tolist()),
        )
        for s in (base, schema)
    )
    carried = carry(base, old, schema, wanted)
    assert set(carried.anew) == set(after) - set(before)
    assert set(carried.left) == set(before) - set(after)
    known, new = (
        Denoiser(old).eval(),
        Denoiser(replace(wanted, condition_mean=carried.mean, condition_std=carried.std)).eval(),
    )
    for parameter in known.parameters():  # some begin at zero, by which nothing would be seen
        torch.nn.init.normal_(parameter, std=0.1)
    new.load_state_dict(with_inputs(known.state_dict(), old, carried.places))
    latent = torch.randn(1, old.latent_channels, 4, 4, 4)
    time = torch.tensor([300])
    told = torch.rand(1, len(schema.inputs))
    # What only the earlier network has reads zero, which is what is usual.
    heard = torch.tensor([old.condition_mean])
    for here, place in enumerate(carried.places):
        if place is not None:
            heard[0, place] = told[0, here]
    with torch.no_grad():
        one, other = known(latent, time, heard), new(latent, time, told)
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_level_more_makes_it_another_covariate() -> None:
    base = CovariateSchema(covariates=(OFFERED["site"],))
    more = replace(OFFERED["site"], levels=("Guys", "HH", "IOP", "Turku"))
    carried = carry(base, one_for(base), CovariateSchema(covariates=(more,)), one_for(base))
    assert carried.anew == carried.left == ("site",)
    assert carried.places == (None,) * 4


def test_a_model_of_another_grid_contrast_and_schema_is_begun_with_and_what_differs_is_told(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = working_model(tmp_path / "base")
    autoencoder, denoiser = networks()
    schema = CovariateSchema(covariates=(*PAPER_SCHEMA.covariates[1:], OFFERED["diagnosis"]))
    other = Denoiser(replace(denoiser.config, conditions=len(schema.inputs)))
    known = replace(
        description,
        schema=schema,
        grid=replace(description.grid, shape=(32, 48, 32), spacing=4.0),
        suffixes=("T2w",),
        denoiser=other.config.to_json(),
        distribution=CohortDistribution.of_nothing(),
    )
    save(tmp_path / "known", known, autoencoder, other)
    words = command("train-diffusion", line, tmp_path / "run", "--from", tmp_path / "known")
    with pytest.raises(AssertionError, match="Ray was started"):
        ended(capsys, *words)
    told = capsys.readouterr().err.splitlines()
    assert [note.split(": ", 1)[1] for note in told if note.startswith("--from known")] == [
        "new to it: sex, whose weights begin at zero",
        "left out: diagnosis, which these latents do not have",
        "it drew 32 x 48 x 32 voxels of 4 mm, these latents are of 16 x 24 x 16 voxels of 10 mm",
        "it drew T2w, these latents are of T1w",
    ]


def test_a_branch_begins_beside_a_u_net_that_has_none_and_changes_nothing_yet(line: Path) -> None:
    latents = EncodedCohort.open(line / "latents")
    source = str(line / "diffusion")
    start, config = denoiser_start(source, BRANCHED, PRESET.schedule, latents)
    assert start.notes[0] == "it has no branch: one begins here that adds nothing yet"
    known, grown = begun_from(line / "diffusion", line), Denoiser(config)
    plain = Denoiser(known[1])
    load_weights(plain, known[0].data, "from")
    load_weights(grown, start.data, "from")
    asked = torch.randn(1, 2, 4, 6, 4), torch.tensor([300]), torch.rand(1, 4)
    with torch.no_grad():
        torch.testing.assert_close(grown(*asked), plain(*asked), rtol=0, atol=0)


def test_a_branch_of_another_width_or_for_a_preset_without_one_is_one_line(
    line: Path, tmp_path: Path
) -> None:
    described = working_model(tmp_path / "plain")
    grown = replace(described, denoiser=BRANCHED.to_json())
    save(tmp_path / "grown", grown, networks()[0], Denoiser(BRANCHED))
    latents, source = EncodedCohort.open(line / "latents"), str(tmp_path / "grown")
    for width in (0, 16):
        wanted = replace(BRANCHED, branch_channels=width)
        told = f"its branch has branch_channels 8, the run has {width}; use the preset"
        with pytest.raises(JobError, match=told):
            denoiser_start(source, wanted, PRESET.schedule, latents)
    start, _ = denoiser_start(source, BRANCHED, PRESET.schedule, latents)
    assert not any("branch" in note for note in start.notes)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--part", "branch"], "beside a U-Net that stays: give --from, a model with a U-Net"),
        (["--part", "branch", "--from", "here"], "give a preset that has a branch"),
        (["--part", "twig"], "--part twig: expected all or branch"),
    ],
)
def test_a_branch_alone_wants_a_u_net_and_a_branch(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    here = [line / "diffusion" if word == "here" else word for word in words]
    assert told in refused(capsys, *command("train-diffusion", line, tmp_path / "run", *here))
    assert not (tmp_path / "run").exists()


def test_latents_of_another_autoencoder_are_told(line: Path, tmp_path: Path) -> None:
    assert (
        begun_from(line / "diffusion", line)[0]
        .notes[0]
        .startswith("these latents are of another autoencoder than its own")
    )
    working_model(tmp_path / "base")
    assert begun_from(tmp_path / "base", line)[0].notes == ()


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
    for name, null in (("known", -2.5), ("base", -4.0)):
        _, config = denoiser_start(str(tmp_path / name), wanted, PRESET.schedule, latents)
        assert config.null_condition == null


@pytest.mark.parametrize("kind", ["epsilon", "v", "flow"])
def test_the_prediction_asked_for_is_the_schedule_s(kind: str) -> None:
    assert diffusion_job.with_prediction(PRESET, kind).schedule.prediction == kind
    assert diffusion_job.with_prediction(PRESET, None) == PRESET


def test_an_unknown_prediction_is_one_line(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command("train-diffusion", line, tmp_path / "run", "--prediction", "noise")
    assert "prediction 'noise': expected one of" in refused(capsys, *words)
