"""The training line on real Ray: prepare, train, encode, train, print."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

import ldm
from ldm.training.presets import tiny
from ray_jobs import cli
from ray_jobs.preparation.bids.subjects import in_validation
from ray_jobs.preparation.cohort import PreparedCohort
from tests.e2e.running import ROOT, RayHead, files, job
from tests.e2e.training import PRESET, TRAIN, document, on
from tests.ray_jobs.line import head as head_image
from tests.ray_jobs.line import image_path, people, write_bids, write_image, write_participants

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REAL_COHORT = ROOT.parent / "shared" / "data" / "ixi"
SUBJECTS = 12
LATERAL_VENTRICLE = 4  # in the virtual cohort's label maps


@dataclass(frozen=True, kw_only=True)
class Line:
    """The line, run once: its folders, and what every job said."""

    folder: Path
    words: dict[str, list[object]]
    said: dict[str, subprocess.CompletedProcess[str]]

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A run of train-decoder: where it is, its options, and what it said."""

    out: Path
    words: list[object]
    said: subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def line(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Line:
    """All four jobs on the virtual cohort: the first on a Ray of its own, the others on `head`."""
    folder = tmp_path_factory.mktemp("line")
    words: dict[str, list[object]] = {
        "prepare": [
            *("--cohort", "virtual", "--n", SUBJECTS, "--seed", 5, "--validation", 0.25, *PRESET),
            *("--out", folder / "prepared"),
        ],
        "train-autoencoder": [
            *("--cohort", folder / "prepared", *TRAIN, "--out", folder / "autoencoder")
        ],
        "encode-latents": [
            *("--cohort", folder / "prepared", "--autoencoder", folder / "autoencoder", *PRESET),
            *("--workers", 1, "--out", folder / "latents"),
        ],
        "train-diffusion": [
            *("--latents", folder / "latents", *PRESET, "--name", "small", "--license", "CC0-1.0"),
            *("--steps", 100, "--save-every", 50, "--learning-rate", 4e-3, "--cpus-per-worker", 1),
            *("--out", folder / "diffusion"),
        ],
    }
    said = {}
    for verb, given in words.items():
        extra = None if verb == "prepare" else on(head)
        said[verb] = job(verb, *given, extra=extra)
        assert said[verb].returncode == 0, said[verb].stderr
    return Line(folder=folder, words=words, said=said)


# ------------------------------------------------------------------------------------ the line


def test_a_public_model_is_tuned_on_people_privately(
    line: Line, head: RayHead, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    public = line / "diffusion"
    words = ["--latents", line / "latents", "--from", public, "--epsilon", 9, "--steps", 6]
    words += ["--save-every", 3, "--cpus-per-worker", 1, "--name", "hidden"]
    words += ["--out", tmp_path / "private"]
    said = job("train-private", *words, extra=on(head))
    assert said.returncode == 0, said.stderr
    assert "epsilon 9 at delta" in said.stdout
    before, after = (
        document(run / "model" / "model.json") for run in (public, tmp_path / "private")
    )
    own = ("card", "name", "files")
    assert {k: v for k, v in after.items() if k not in own} == {
        k: v for k, v in before.items() if k not in own
    }
    changed = {f for f in after["files"] if after["files"][f] != before["files"].get(f)}
    assert changed == {"denoiser.safetensors", "README.md"}
    promise = after["card"]["privacy"]
    assert (promise["epsilon"], promise["steps"], promise["people"]) == (9.0, 6, 10)
    row = {"age": 50.0, "sex": "F", "ventricular_volume": 30_000.0, "brain_volume": 1_250_000.0}
    drawn = [
        ldm.load(run / "model").generate([row], [(0,)], steps=3)
        for run in (public, tmp_path / "private")
    ]
    assert not np.array_equal(*drawn)
    assert cli.main(["train-private", *map(str, words)]) == 0
    assert "already trained for 6 steps" in capsys.readouterr().out
    assert cli.main(["train-private", *map(str, words), "--epsilon", "3"]) != 0
    assert "privacy.epsilon 9" in capsys.readouterr().err


@pytest.fixture(scope="module")
def decoder(line: Line, head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """A refiner trained on what the line's model leaves."""
    out = tmp_path_factory.mktemp("refined") / "decoder"
    words = ["--model", line / "diffusion" / "model", "--cohort", line / "prepared", *PRESET]
    words += ["--truncation", 300, "--cpus-per-worker", 1, "--name", "refined"]
    words += ["--out", out]
    return Decoder(out=out, words=words, said=job("train-decoder", *words, extra=on(head)))


def test_a_refiner_is_trained_on_what_the_model_leaves_and_prints(
    line: Line, decoder: Decoder
) -> None:
    assert decoder.said.returncode == 0, decoder.said.stderr
    assert "volumes that it draws have" in decoder.said.stdout
    before, model = (ldm.load(run / "model") for run in (line / "diffusion", decoder.out))
    assert (model.schedule.truncation, before.schedule.truncation) == (300, 0)
    row = {"age": 50.0, "sex": "F", "ventricular_volume": 30_000.0, "brain_volume": 1_250_000.0}
    drawn = [each.generate([row], [(0,)], steps=3) for each in (model, model, before)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert model.autoencoder.config.refiner == tiny().refiner
    told = document(decoder.out / "model" / "model.json")["card"]["training"]
    assert told["decoder"]["history"][-1]["step"] == told["decoder"]["steps"] == 10
    assert told["commands"][-1].startswith("brainpress train-decoder --model model --cohort")


def test_a_decoder_trained_already_is_left_alone_and_another_truncation_is_told(
    decoder: Decoder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # Ray is not even asked for
    words = ["train-decoder", *map(str, decoder.words)]
    assert cli.main(words) == 0
    assert "already trained for 10 steps; nothing left to do" in capsys.readouterr().out
    assert cli.main([*words, "--truncation", "200"]) != 0
    assert "truncation 300 -> 200" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_decoder_is_trained_further_where_its_model_stops_sampling(
    line: Line, decoder: Decoder, head: RayHead, tmp_path: Path
) -> None:
    further = ["--model", decoder.out / "model", "--cohort", line / "prepared", *PRESET]
    further += [
        "--from",
        decoder.out,
        "--steps",
        2,
        "--cpus-per-worker",
        1,
        "--out",
        tmp_path / "further",
    ]
    done = job("train-decoder", *further, extra=on(head))
    assert done.returncode == 0, done.stderr
    before, after = (ldm.load(run / "model") for run in (decoder.out, tmp_path / "further"))
    assert after.schedule.truncation == 300
    assert after.card["training"]["decoder"]["from"]["name"] == "model"
    first, begun = (one.autoencoder.refiner.first.weight for one in (before, after))
    torch.testing.assert_close(begun, first, rtol=0, atol=0.01)


def test_a_decoder_begins_with_no_refiner_where_a_model_has_none(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", line / "diffusion" / "model", "--cohort", line / "prepared", *PRESET]
    words += ["--from", line / "diffusion", "--out", tmp_path / "begun"]
    assert cli.main(["train-decoder", *map(str, words)]) == 2
    assert "a model without a refiner; expected one of train-decoder" in capsys.readouterr().err
    assert not (tmp_path / "begun").exists()


def test_the_line_ends_with_a_model_that_samples_images(line: Line) -> None:
    model = ldm.load(line / "diffusion" / "model")
    image: Any = model.sample(age=70, sex="F", seed=1, steps=3)
    assert image.shape == tiny().grid.shape
    np.testing.assert_array_equal(image.affine, tiny().grid.affine)
    assert 0 <= image.get_fdata().min() < image.get_fdata().max() <= 1


def test_the_model_card_says_what_it_was_trained_on_and_how(line: Line) -> None:
    model = ldm.load(line / "diffusion" / "model")
    assert model.name == "small"
    assert (model.card["license"], model.card["demo"]) == ("CC0-1.0", False)
    trained = model.card["training"]
    assert trained["commands"] == [
        "brainpress prepare --preset tiny --validation 0.25 --cohort virtual --n 12 --seed 5 "
        "--out prepared",
        "brainpress train-autoencoder --cohort prepared --preset tiny --steps 60 --save-every 15 "
        "--out autoencoder",
        "brainpress encode-latents --cohort prepared --autoencoder autoencoder --preset tiny "
        "--out latents",
        "brainpress train-diffusion --latents latents --preset tiny --name small "
        "--license CC0-1.0 --steps 100 --learning-rate 0.004 --save-every 50 --out diffusion",
    ]
    assert trained["cohort"]["kind"] == "virtual"
    assert (trained["subjects"], trained["held_out"]) == (10, 2)
    assert trained["diffusion"]["config"]["seed"] == 0
    assert [entry["step"] for entry in trained["diffusion"]["history"]] == [50, 100]
    assert [entry["step"] for entry in trained["autoencoder"]["history"]] == [15, 30, 45, 60]
    first, *_, last = trained["autoencoder"]["history"]
    assert last["psnr"] > first["psnr"]
    assert last["train_loss"] < first["train_loss"]
    assert str(line.folder) not in (line / "diffusion/model/model.json").read_text()


def test_the_model_carries_no_subjects_row(line: Line) -> None:
    table = PreparedCohort.open(line / "prepared").table
    text = (line / "diffusion/model/model.json").read_text()
    text += (line / "diffusion/model/covariates.json").read_text()
    for participant, age in zip(table["participant_id"], table["age"], strict=True):
        assert participant not in text
        assert f"{age}" not in text


def test_a_run_leaves_curves_and_pictures_and_says_how_it_goes(line: Line) -> None:
    for name, steps in (("autoencoder", (15, 30, 45, 60)), ("diffusion", (50, 100))):
        pictures = sorted(path.name for path in (line / name / "previews").iterdir())
        assert pictures == [f"step-{step:06d}.png" for step in steps]
        assert all(
            path.read_bytes().startswith(b"\x89PNG") for path in (line / name).glob("previews/*")
        )
        assert list((line / name / "tensorboard").glob("events.out.tfevents.*"))
        told = line.said[f"train-{name}"].stderr
        assert f"held out at {steps[-1]}: " in told
        assert told.partition("Z  ")[2].startswith(f"training: {name}, ")
        assert "Traceback" not in told
    assert "held-out subjects reconstruct with PSNR " in line.said["train-autoencoder"].stdout
    assert "12 subjects, 2 copies each: 12 encoded now" in line.said["encode-latents"].stdout
    assert "  next      brainpress generate --model " in line.said["train-diffusion"].stdout


def test_a_release_printed_with_the_model_verifies(
    head: RayHead, line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "release"
    words = ["--model", line / "diffusion" / "model", "--n", 4, "--steps", 5, "--out", out]
    done = job("generate", *words, extra=on(head))
    assert done.returncode == 0, done.stderr
    assert cli.main(["verify", str(out)]) == 0, capsys.readouterr()
    assert document(out / "release.json")["model"]["name"] == "small"


def test_every_job_run_again_says_that_nothing_is_left_to_do_and_writes_nothing(
    line: Line, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # Ray is not even asked for
    before = {path: path.stat().st_mtime_ns for path in line.folder.rglob("*") if path.is_file()}
    for verb, words in line.words.items():
        assert cli.main([verb, *map(str, words)]) == 0, capsys.readouterr()
        said = capsys.readouterr()
        assert "; nothing left to do\n" in said.out
        assert said.err == ""
    written = {
        str(path.relative_to(line.folder))
        for path in line.folder.rglob("*")
        if path.is_file() and before.get(path) != path.stat().st_mtime_ns
    }
    assert {name for name in written if "prepared/virtual/" not in name} == set()


def test_the_table_has_the_virtual_cohorts_true_volumes_and_a_split_by_id(line: Line) -> None:
    table = PreparedCohort.open(line / "prepared").table.set_index("participant_id")
    truth = line / "prepared" / "virtual" / "derivatives" / "truth"
    assert len(table) == SUBJECTS
    for name, row in table.iterrows():
        labels: Any = nib.load(truth / f"{name}/anat/{name}_dseg.nii.gz")
        counted = int((np.asarray(labels.dataobj) == LATERAL_VENTRICLE).sum())
        assert row["ventricular_volume"] == counted * tiny().grid.voxel_volume
        assert (row["split"] == "validation") == in_validation(str(name), 0.25)
    volumes = np.stack([np.load(line / "prepared" / path) for path in table["volume"]])
    assert volumes.shape == (SUBJECTS, *tiny().grid.shape)


# ----------------------------------------------------------------------------------- run again


def test_prepare_makes_only_what_is_missing_or_changed(
    head: RayHead, line: Line, tmp_path: Path
) -> None:
    out = tmp_path / "prepared"
    shutil.copytree(line / "prepared", out)
    before = files(out / "volumes")
    times = {path: path.stat().st_mtime_ns for path in (out / "volumes").iterdir()}
    (out / "volumes" / "sub-V0003.npy").unlink()
    anatomy = out / "virtual"
    shutil.copyfile(image_path(anatomy, "sub-V0007"), image_path(anatomy, "sub-V0004"))
    done = job("prepare", *line.words["prepare"][:-1], out, extra=on(head))
    assert done.returncode == 0, done.stderr
    assert "12 subjects: 2 prepared now, 10 already there" in done.stdout
    after = files(out / "volumes")
    assert {name for name in after if after[name] != before[name]} == {
        "sub-V0004.npy",
        "sub-V0004.json",
    }
    assert after["sub-V0004.npy"] == after["sub-V0007.npy"]
    for path, made in times.items():
        if path.stem not in ("sub-V0003", "sub-V0004"):
            assert path.stat().st_mtime_ns == made
    changed, same = PreparedCohort.open(out), PreparedCohort.open(line / "prepared")
    assert changed.fingerprint != same.fingerprint


def test_encode_latents_encodes_only_what_is_missing_and_ends_the_same(
    head: RayHead, line: Line, tmp_path: Path
) -> None:
    out = tmp_path / "latents"
    shutil.copytree(line / "latents", out)
    for name in ("latents.json", "latents/sub-V0002.npy"):
        (out / name).unlink()
    os.truncate(out / "latents" / "sub-V0008.npy", 700)  # a disk that was full
    kept = (out / "latents" / "sub-V0001.npy").stat().st_mtime_ns
    done = job("encode-latents", *line.words["encode-latents"][:-1], out, extra=on(head))
    assert done.returncode == 0, done.stderr
    assert "encoded now" in done.stdout
    assert files(out) == files(line / "latents")
    assert (out / "latents" / "sub-V0001.npy").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_the_unusable_are_listed_counted_and_stop_the_run_only_past_the_limit(
    head: RayHead, tmp_path: Path
) -> None:
    bids, out = write_bids(tmp_path / "bids", 10), tmp_path / "out"
    rows = people(10)
    rows["sub-01"]["age"] = None
    del rows["sub-02"]
    write_participants(bids, rows)
    image_path(bids, "sub-03").unlink()
    write_image(image_path(bids, "sub-04"), np.stack([head_image(4)] * 2, axis=-1))
    os.truncate(image_path(bids, "sub-05"), 900)
    write_image(image_path(bids, "sub-06"), np.zeros((18, 22, 18), np.uint8))
    reasons = {
        "sub-01": "age is 'n/a': expected a finite number in year",
        "sub-02": "not in participants.tsv",
        "sub-03": "no T1w image",
        "sub-04": "a 4-D image (18 x 22 x 18 x 2), expected 3-D",
        "sub-05": "unreadable image (",
        "sub-06": "empty volume: every voxel has the same value",
    }
    words = [bids, *PRESET, "--placement", "centre", "--validation", 0.25, "--out", out]

    stopped = job("prepare", *words, "--max-unusable", 5, extra=on(head))
    assert stopped.returncode == 1
    told = stopped.stderr.splitlines()
    told = [line for line in told if not line.startswith("note: ")]  # balls are no heads
    assert len(told) == 7, stopped.stderr
    for line, (name, reason) in zip(told, reasons.items(), strict=False):
        assert line.startswith(f"unusable: {name}: {reason}")
    assert told[-1] == (
        "brainpress prepare: 6 of 10 subjects cannot be used, more than --max-unusable 5; "
        "mend them or raise the limit"
    )
    assert not (out / "cohort.json").exists()

    done = job("prepare", *words, "--max-unusable", "60%", extra=on(head))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "10 subjects: 0 prepared now, 4 already there"
    assert done.stdout.endswith(" held out, 6 unusable\n")
    listed = document(out / "cohort.json")["unusable"]
    assert [entry["participant_id"] for entry in listed] == list(reasons)
    assert list(PreparedCohort.open(out).table["participant_id"]) == [
        "sub-07",
        "sub-08",
        "sub-09",
        "sub-10",
    ]


@pytest.mark.skipif(not REAL_COHORT.is_dir(), reason=f"no real cohort at {REAL_COHORT}")
def test_real_scans_are_prepared(head: RayHead, tmp_path: Path) -> None:
    table = pd.read_csv(REAL_COHORT / "participants.tsv", sep="\t", dtype=str).head(5)
    bids = tmp_path / "bids"
    bids.mkdir()
    table.to_csv(bids / "participants.tsv", sep="\t", index=False)
    shutil.copy(REAL_COHORT / "dataset_description.json", bids)
    for name in table["participant_id"]:
        (bids / name).symlink_to(REAL_COHORT / name)
    out = tmp_path / "out"
    done = job("prepare", bids, *PRESET, "--out", out, extra=on(head))
    assert done.returncode == 0, done.stderr
    cohort = PreparedCohort.open(out)
    assert cohort.source["attribution"] == "IXI dataset, brain-development.org"
    assert list(cohort.table["participant_id"]) == list(table["participant_id"])
    assert list(cohort.table["age"]) == [float(age) for age in table["age"]]
    for path in cohort.table["volume"]:
        volume = np.load(out / path) / 4095
        assert 0.15 < (volume > 0.1).mean() < 0.75  # a head that fills the grid, and air around it
        centre = np.argwhere(volume > 0.1).mean(axis=0) / volume.shape
        np.testing.assert_allclose(centre, 0.5, atol=0.12)
