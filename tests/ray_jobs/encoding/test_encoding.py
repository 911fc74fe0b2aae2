"""Encoding a cohort, without Ray: latents, their statistics, what is kept, wrong inputs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ldm.anatomy import labels
from ldm.anatomy.copies import SPLINE
from ldm.anatomy.deformed import CHANGED
from ldm.errors import LdmError
from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.networks import Autoencoder
from ldm.volumes.conversion import read_volume
from ldm.volumes.grid import Grid
from ldm.volumes.quality import FIGURES
from ray_jobs.encoding import copier
from ray_jobs.encoding.autoencoder_folder import TrainedAutoencoder, open_autoencoder, open_run
from ray_jobs.encoding.encoder import CopyMaker, Encoder
from ray_jobs.encoding.job import collect
from ray_jobs.encoding.latents import CUBIC, EncodedCohort, factor_column, identity
from ray_jobs.errors import JobError
from ray_jobs.files import read_json
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training.conditions import conditions
from ray_jobs.work_folder import WorkFolder
from tests.ldm.tiny_gan import tiny_gan
from tests.ray_jobs.line import (
    PRESET,
    ended,
    refused,
    without_ray,
    write_autoencoder,
    write_latents,
    write_prepared,
)

LATENT = (2, 4, 6, 4)


@pytest.fixture(autouse=True)
def _no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    without_ray(monkeypatch)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cohort, an autoencoder and latents; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("line")
    cohort = write_prepared(folder / "prepared")
    write_autoencoder(folder / "autoencoder")
    write_latents(folder / "latents", cohort, folder / "autoencoder")
    return folder


@pytest.fixture
def copied(line: Path, tmp_path: Path) -> Path:
    return shutil.copytree(line, tmp_path / "line")


def cohort(line: Path) -> PreparedCohort:
    return PreparedCohort.open(line / "prepared")


def trained(line: Path) -> TrainedAutoencoder:
    return open_run(line / "autoencoder")


def command(line: Path, *words: object) -> list[object]:
    return [
        *("encode-latents", "--preset", "tiny", "--cohort", line / "prepared"),
        *("--autoencoder", line / "autoencoder", "--out", line / "latents", *words),
    ]


# ------------------------------------------------------------------------------------- latents


def test_a_latent_holds_mean_and_log_variance_of_the_volume_and_its_copies(line: Path) -> None:
    encoded = EncodedCohort.open(line / "latents")
    network = trained(line).network()
    paths = encoded.paths("train")
    for path, volume in zip(paths, cohort(line).volumes("train"), strict=True):
        stored = np.load(path)
        assert (stored.shape, stored.dtype) == ((PRESET.latent_copies, 2, *LATENT), np.float32)
        inputs = read_volume(volume)
        for copy, seen in enumerate((inputs, inputs[::-1].copy())):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=False):
                mean, std = network.encode(torch.from_numpy(seen)[None, None])
            np.testing.assert_allclose(stored[copy, 0], mean[0], atol=0.05)
            np.testing.assert_allclose(np.exp(0.5 * stored[copy, 1]), std[0], atol=0.05)


def test_statistics_are_of_the_training_subjects_whatever_order_they_come_in(line: Path) -> None:
    encoded = EncodedCohort.open(line / "latents")
    stored = np.stack([np.load(path)[0] for path in encoded.paths("train")]).astype(float)
    means = stored[:, 0].swapaxes(0, 1).reshape(2, -1)
    np.testing.assert_allclose(encoded.latent_mean, means.mean(axis=1), rtol=1e-5)
    noise = np.exp(stored[:, 1]).swapaxes(0, 1).reshape(2, -1).mean(axis=1)
    np.testing.assert_allclose(encoded.latent_std, np.sqrt(means.var(axis=1) + noise), rtol=1e-5)
    assert set(encoded.bounds) == set(FIGURES)

    table = cohort(line).table.assign(latent="")
    encoder = Encoder(WorkFolder(str(line / "latents")), str(line / "prepared"), 2, gpu=False)
    rows = {
        row["participant_id"]: encoder({**row, "latent": f"latents/{row['participant_id']}.npy"})
        for row in reversed(table.to_dict(orient="records"))
    }
    again = collect(rows, table, cohort(line), 2, WorkFolder(str(line / "latents")), "")
    assert (again.latent_mean, again.latent_std) == (encoded.latent_mean, encoded.latent_std)
    assert again.bounds == encoded.bounds


def test_with_one_scale_for_all_the_channels_keep_their_strength(line: Path) -> None:
    own = EncodedCohort.open(line / "latents")
    table = cohort(line).table
    encoder = Encoder(WorkFolder(str(line / "latents")), str(line / "prepared"), 2, gpu=False)
    rows = {
        row["participant_id"]: encoder({**row, "latent": f"latents/{row['participant_id']}.npy"})
        for row in table.to_dict(orient="records")
    }
    told = table.assign(latent=[f"latents/{name}.npy" for name in table["participant_id"]])
    one = collect(rows, told, cohort(line), 2, WorkFolder(str(line / "one")), "", scale="one")
    assert one.latent_mean == own.latent_mean
    (std,) = set(one.latent_std)
    assert std == pytest.approx(np.sqrt(np.mean(np.square(own.latent_std))))
    assert one.latent_std != own.latent_std
    shutil.copytree(line / "latents", line / "one")
    one.write()
    again = EncodedCohort.open(line / "one")
    assert (again.latent_std, again.scale) == (one.latent_std, "one")
    assert again.fingerprint != own.fingerprint
    assert identity("c", 2, "a", False) == {"cohort": "c", "copies": 2, "autoencoder": "a"}
    assert "latent_scale" not in json.loads((line / "latents" / "latents.json").read_text())


def test_copies_interpolated_otherwise_are_other_latents() -> None:
    known = {"cohort": "c", "copies": 3, "autoencoder": "a"}
    assert identity("c", 3, "a", False) == {**known, "spline": SPLINE}
    assert identity("c", 3, "a", False, spline=CUBIC) == known


def test_latents_come_back_with_the_cohort_and_the_autoencoder_that_made_them(line: Path) -> None:
    encoded = EncodedCohort.open(line / "latents")
    assert encoded.schema == cohort(line).schema
    assert encoded.cohort == cohort(line).fingerprint
    assert encoded.autoencoder.sha256 == trained(line).sha256
    for split in ("train", "validation"):
        names = list(encoded.split(split)["participant_id"])
        assert names == list(cohort(line).split(split)["participant_id"])
        assert [path.stem for path in encoded.paths(split)] == names


def test_a_latent_that_is_there_is_kept_and_one_cut_short_is_encoded_again(copied: Path) -> None:
    encoder = Encoder(WorkFolder(str(copied / "latents")), str(copied / "prepared"), 2, gpu=False)
    row = {
        "participant_id": "sub-01",
        "volume": "volumes/sub-01.npy",
        "sha256": "",
        "latent": "latents/sub-01.npy",
    }
    path = copied / "latents" / "latents" / "sub-01.npy"
    whole, made = path.read_bytes(), path.stat().st_mtime_ns
    first = encoder(row)
    assert path.stat().st_mtime_ns == made
    for damage in (lambda: os.truncate(path, 500), lambda: os.truncate(path, 0), path.unlink):
        damage()
        again = encoder(row)
        assert path.read_bytes() == whole
        np.testing.assert_array_equal(again["sums"], first["sums"])


@pytest.mark.parametrize("deform", [False, True])
def test_copies_made_ahead_on_a_cpu_are_encoded_to_the_same_latents(
    copied: Path, deform: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where encoders hold GPUs; and of latents that are there no copy is made."""
    out, row = copied / "latents", cohort(copied).table.iloc[0].to_dict()
    row["latent"] = f"latents/{row['participant_id']}.npy"
    path = out / row["latent"]
    about = (WorkFolder(str(out)), str(copied / "prepared"), 4)
    path.unlink()
    told = Encoder(*about, gpu=False, deform=deform)(row)
    alone, factors = path.read_bytes(), read_json(path.with_suffix(".json"))
    assert bool(factors) == deform
    path.unlink()
    path.with_suffix(".json").unlink(missing_ok=True)
    ahead, encoder = CopyMaker(*about, deform), Encoder(*about, gpu=False, deform=deform)
    with monkeypatch.context() as patch:
        patch.setattr(encoder, "_copier", None)  # which it is not to need
        again = encoder(ahead(row))
        assert path.read_bytes() == alone
        assert read_json(path.with_suffix(".json")) == factors
        np.testing.assert_array_equal(again["sums"], told["sums"])
        assert ahead(row)["copies"] == b""
        assert encoder(ahead(row)).keys() == told.keys()


def test_latents_that_are_not_complete_are_refused(copied: Path) -> None:
    latents = copied / "latents"
    (latents / "latents" / "sub-03.npy").unlink()
    with pytest.raises(JobError, match=r"sub-03\.npy is missing; run brainpress encode-latents"):
        EncodedCohort.open(latents)
    (latents / "latents.parquet").write_bytes(b"damaged")
    with pytest.raises(JobError, match=r"latents\.parquet is missing or damaged; run brainpress"):
        EncodedCohort.open(latents)
    (latents / "latents.json").unlink()
    with pytest.raises(JobError, match=r"holds no complete latents \(no latents\.json\)"):
        EncodedCohort.open(latents)


# ------------------------------------------------------------------------- a trained autoencoder


def test_an_autoencoder_comes_back_with_its_weights(tmp_path: Path) -> None:
    written = write_autoencoder(tmp_path)
    again = open_run(tmp_path)
    assert (again.config, again.grid, again.sha256) == (
        PRESET.autoencoder,
        PRESET.grid,
        written.sha256,
    )
    torch.manual_seed(0)
    expected = Autoencoder(PRESET.autoencoder).state_dict()
    for name, tensor in again.network().state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_an_autoencoder_that_is_damaged_or_unfinished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no trained autoencoder"):
        open_run(tmp_path)
    write_autoencoder(tmp_path)
    weights = tmp_path / "autoencoder" / "autoencoder.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(JobError, match="is damaged; run train-autoencoder again"):
        open_run(tmp_path)
    weights.unlink()
    with pytest.raises(JobError, match="is missing; run train-autoencoder again"):
        open_run(tmp_path)


# --------------------------------------------------------------------------------- the command


def test_all_latents_there_means_no_ray_and_nothing_left_to_do(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copied / "latents" / "latents.json").stat().st_mtime_ns
    code, said, told = ended(capsys, *command(copied))
    assert (code, told) == (0, "")
    made, then = said.splitlines()
    assert made == f"{copied / 'latents'}: 12 subjects already encoded; nothing left to do"
    assert then.startswith("  next  brainpress train-diffusion --latents ")
    assert (copied / "latents" / "latents.json").stat().st_mtime_ns == before
    (copied / "latents" / "latents" / "sub-03.npy").unlink()
    with pytest.raises(AssertionError, match="Ray was started"):
        ended(capsys, *command(copied))
    assert not (copied / "latents" / "latents.json").exists()


def test_latents_of_another_run_in_the_same_out_are_refused_by_the_field(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(capsys, *command(copied))
    before = read_json(copied / "latents" / "run.json")
    told = refused(capsys, *command(copied, "--copies", 1))
    assert "latents holds another run: copies 2 -> 1. Use its options again, or another" in told
    told = refused(capsys, *command(copied, "--latent-scale", "one"))
    assert "latents holds another run: latent_scale none -> 'one'" in told
    write_prepared(copied / "other", count=13)
    told = refused(capsys, *command(copied, "--cohort", copied / "other"))
    assert "latents holds another run: cohort " in told
    assert read_json(copied / "latents" / "run.json") == before
    assert EncodedCohort.open(copied / "latents").copies == 2


def test_an_unfinished_autoencoder_is_refused(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "autoencoder" / "autoencoder")
    (copied / "autoencoder" / "checkpoints").mkdir()
    told = refused(capsys, *command(copied))
    assert "autoencoder holds no trained autoencoder (no autoencoder/autoencoder.json); run" in told
    assert "until it ends" in told


def test_a_cohort_of_another_grid_is_refused(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid(shape=(24, 24, 24), spacing=9.0)
    write_autoencoder(copied / "elsewhere", grid=grid)
    told = refused(capsys, *command(copied, "--autoencoder", copied / "elsewhere"))
    assert "prepared is prepared at (16, 24, 16), 10 mm, the autoencoder was trained at" in told
    assert "(24, 24, 24), 9 mm; give the cohort it was trained on" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--latent-scale", "two"], "--latent-scale two: expected channel or one"),
        (["--copies", "0"], "--copies 0: expected at least 1"),
        (["--workers", "0"], "--workers 0: expected at least 1"),
        (["--copies", "2", "--deform"], "--deform: of 2 copies none is bent; expected --copies 3"),
        (["--preset", "small"], "preset 'small': expected one of demo, lab, paper, tiny"),
        (["--cohort", "nobody"], "holds no complete prepared cohort (no cohort.json)"),
        (["--autoencoder", "nobody"], "nobody: neither a finished run of train-autoencoder nor a"),
        (["--copy", "3"], "unknown option '--copy'; did you mean '--copies'?"),
    ],
)
def test_a_wrong_option_gets_one_line_and_exit_2(
    line: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in refused(capsys, *command(line, *words))


def test_channels_of_any_number_are_encoded(copied: Path) -> None:
    config = replace(PRESET.autoencoder, latent_channels=3)
    write_autoencoder(copied / "three", config=config)
    encoded = write_latents(copied / "out", cohort(copied), copied / "three")
    assert np.load(encoded.paths("train")[0]).shape == (2, 2, 3, *LATENT[1:])
    assert len(encoded.latent_mean) == len(encoded.latent_std) == 3


# ------------------------------------------------------------------------------- bent copies


def bent(copied: Path, monkeypatch: pytest.MonkeyPatch) -> EncodedCohort:
    """Latents of four copies, two of them bent; the segmenter stood in for, 10 mm being too coarse
    for it."""
    monkeypatch.setattr(copier, "load_segmenter", Halves)
    return write_latents(
        copied / "bent", cohort(copied), copied / "autoencoder", copies=4, deform=True
    )


class Halves:
    """Says that the inner half of the bright is ventricle, what lies around it fluid and grey."""

    def segment(self, volume: np.ndarray, affine: np.ndarray) -> Halves:
        self.volume = volume
        return self

    def shares_on(self, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
        shares = np.zeros((labels.COUNT, *shape), dtype=np.float32)
        shares[labels.GREY] = self.volume
        shares[:, 5:11, 8:16, 5:11] = 0
        shares[labels.CSF, 5:11, 8:16, 5:11] = 1
        shares[:, 6:10, 9:15, 6:10] = 0
        shares[labels.VENTRICLE, 6:10, 9:15, 6:10] = 1
        return shares


def test_bent_copies_come_with_covariates_of_their_own(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = bent(copied, monkeypatch)
    encoded = EncodedCohort.open(written.folder)
    assert (encoded.deformed, encoded.copies) == (True, 4)
    assert encoded.fingerprint == written.fingerprint
    plain = EncodedCohort.open(copied / "latents")
    assert encoded.fingerprint != replace(encoded, deformed=False).fingerprint
    for own, copies in zip(plain.rows("train"), encoded.rows("train"), strict=True):
        assert len(own) == 1
        assert copies[0] == copies[1] == own[0]
        for changed in copies[2:]:
            assert {name for name in changed if changed[name] != own[0][name]} == set(CHANGED)
            for name in CHANGED:
                assert changed[name] == pytest.approx(own[0][name], rel=0.9)
    subjects = len(plain.rows("train"))
    assert conditions(encoded, "train").shape == (subjects, 4, 4)
    assert conditions(plain, "train").shape == (subjects, 1, 4)
    np.testing.assert_array_equal(
        conditions(encoded, "train")[:, :1], conditions(plain, "train"), strict=True
    )


def test_what_the_copies_measure_is_kept_with_the_latents(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = bent(copied, monkeypatch)
    monkeypatch.setattr(copier, "load_segmenter", None)
    encoder = Encoder(written.folder, str(copied / "prepared"), 4, gpu=False, deform=True)
    row = {**written.split("train").iloc[0]}
    row |= {"volume": f"volumes/{row['participant_id']}.npy", "sha256": ""}
    again = encoder(row)
    (written.folder.path / row["latent"]).with_suffix(".json").unlink()
    monkeypatch.setattr(copier, "load_segmenter", Halves)
    assert encoder(row)[factor_column(CHANGED[0])] == again[factor_column(CHANGED[0])]
    for name in CHANGED:
        assert again[factor_column(name)] == row[factor_column(name)]
        assert again[factor_column(name)][:2] == [1, 1]
        assert len(set(again[factor_column(name)])) == 3


def test_a_head_with_its_skull_is_not_bent(copied: Path) -> None:
    encoder = Encoder(
        WorkFolder(str(copied / "latents")), str(copied / "prepared"), 3, gpu=False, deform=True
    )
    (copied / "latents" / "latents" / "sub-01.npy").unlink()
    whole = np.full(PRESET.grid.shape, 3000, dtype=np.uint16)
    whole[0] = 0
    np.save(copied / "prepared" / "volumes" / "sub-01.npy", whole)
    row = {"participant_id": "sub-01", "volume": "volumes/sub-01.npy", "sha256": ""}
    with pytest.raises(LdmError, match="is the skull still there"):
        encoder({**row, "latent": "latents/sub-01.npy"})


def test_other_sizes_among_the_covariates_refuse_bending(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = cohort(line)
    sized = replace(here.schema["age"], name="thickness", unit="mm")
    schema = replace(here.schema, covariates=(*here.schema.covariates, sized))
    table = here.table.assign(thickness=2.5)
    other = tmp_path / "prepared"
    shutil.copytree(here.folder, other)
    replace(here, folder=other, schema=schema, table=table).write([])
    told = refused(capsys, *command(line, "--cohort", other, "--copies", 3, "--deform"))
    assert "--deform: by how much 'thickness' (mm) changes in a bent copy is not known" in told
    assert "only ventricular_volume and brain_volume; leave --deform out" in told


def test_a_trained_autoencoder_is_open_to_whom_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for _ in range(2):
            write_autoencoder(tmp_path / "run")
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "run").rglob("*")}
    assert found == {
        "autoencoder": 0o750,
        "autoencoder.json": 0o640,
        "autoencoder.safetensors": 0o640,
    }


def test_the_autoencoder_may_be_a_model_s_without_its_refiner(tmp_path: Path) -> None:
    opened = open_autoencoder("demo")
    model = load("demo", device="cpu", precision="fp32")
    assert isinstance(model, Model)
    assert model.autoencoder.config.refiner.channels
    assert not opened.config.refiner.channels
    opened.write(tmp_path)
    again = open_run(tmp_path)
    assert (again.sha256, again.grid, again.config) == (opened.sha256, model.grid, opened.config)
    volume = torch.rand(1, 1, *model.grid.shape)
    with torch.inference_mode():
        found, wanted = (n.encode(volume)[0] for n in (again.network(), model.autoencoder))
    torch.testing.assert_close(found, wanted)


def test_a_baseline_has_no_autoencoder_to_encode_with(
    line: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_gan(tmp_path / "gan")
    told = refused(capsys, *command(line, "--autoencoder", tmp_path / "gan"))
    assert "a baseline has no autoencoder model" in told
