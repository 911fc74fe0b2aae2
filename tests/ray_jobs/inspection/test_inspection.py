"""What `info` and `status` tell of what is no release."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from manifests.storage import open_store
from ray_jobs import cli
from ray_jobs.inspection.kinds import Kind, is_model_name, kind_at
from ray_jobs.inspection.run import read_run, told_status
from tests import ROOT
from tests.ldm.tiny_model import working_model
from tests.ray_jobs.line import ended, write_autoencoder, write_latents, write_prepared

HELD_OUT = {"validation loss": 0.25, "validation psnr": 31.0, "validation power_0.26_0.30": 1.0}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"kind": "diffusion", "training": {}}))
    return folder


def log(folder: Path, *lines: dict[str, Any], torn: str = "") -> None:
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines) + torn)


def step(number: int, rate: float | None = 2.0, **values: float) -> dict[str, Any]:
    return {"step": number, "steps": 1000, "rate": rate, "values": values or {"loss": 0.5}}


@pytest.mark.parametrize(
    ("mark", "content", "kind"),
    [
        ("release.json", {}, Kind.RELEASE),
        ("manifest/plan.json", {}, Kind.RELEASE),
        ("model.json", {}, Kind.MODEL),
        ("cohort.json", {}, Kind.COHORT),
        ("latents.json", {}, Kind.LATENTS),
        ("evaluation.json", {}, Kind.REPORT),
        ("run.json", {"kind": "lsgan"}, Kind.TRAINING),
        ("run.json", {"cohort": "bids", "grid": {}}, Kind.COHORT),
        ("run.json", {"cohort": "1f", "autoencoder": "2e"}, Kind.LATENTS),
        ("run.json", {"sources": {}}, Kind.REPORT),
    ],
)
def test_what_lies_at_a_place_is_told_by_its_mark(
    mark: str, content: dict[str, Any], kind: Kind, tmp_path: Path
) -> None:
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).write_text(json.dumps(content))
    assert kind_at(str(tmp_path), open_store(tmp_path)) is kind


def test_a_folder_comes_before_a_model_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_model_name("demo")
    assert is_model_name("monai:bundle")
    (tmp_path / "demo").mkdir()
    assert not is_model_name("demo")


def test_a_run_tells_how_far_it_is_and_what_was_found(run_folder: Path) -> None:
    log(run_folder, step(100), step(200, 4.0), step(200, None, **HELD_OUT), torn='{"step": 2')
    store = open_store(run_folder)
    run = read_run(store)
    assert (run.step, run.steps, run.rate, run.seconds_left) == (200, 1000, 3.0, 800 / 3)
    assert run.looks == [{"step": 200.0, "loss": 0.25, "psnr": 31.0}]
    told = told_status(run)
    assert told[1:5] == [
        "steps     200 of 1,000",
        "rate      3.0 steps/s",
        "left      4 min at that rate",
        "held out  loss 0.25, psnr 31 at step 200",
    ]
    assert told[-1] == "finished  no, it is being trained"
    later = read_run(store, now=time.time() + 3600)
    assert (later.at_work, later.rate) == (False, None)
    assert "nothing was told for 1 h 00 min: run the same command again" in told_status(later)[-1]


def test_status_of_a_run_ends_with_0_when_it_is_finished(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", str(run_folder)]) == 1
    log(run_folder, step(1000), step(1000, None, **HELD_OUT))
    (run_folder / "finished.json").write_text(json.dumps({"steps": 1000, "card": None}))
    assert cli.main(["status", str(run_folder)]) == 0
    assert "finished  yes" in capsys.readouterr().out
    assert cli.main(["status", str(run_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 1000
    assert cli.main(["status", str(run_folder), "--shards"]) == 2
    assert "--shards: of releases; " in capsys.readouterr().err
    assert cli.main(["info", str(run_folder)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "step  loss  psnr" in rows
    assert "1000  0.25    31" in rows


def test_info_of_a_model_tells_of_whom_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    working_model(tmp_path / "my model")
    assert cli.main(["info", str(tmp_path / "my model")]) == 0
    told = capsys.readouterr().out
    assert "model        working" in told
    assert "ventricular_volume  " in told
    assert told.rstrip().splitlines()[-1].startswith("  next  brainpress generate --model '")
    assert cli.main(["status", str(tmp_path / "my model")]) == 0
    assert cli.main(["info", str(tmp_path / "my model"), "--release-version", "1.0.0"]) == 2
    assert cli.main(["info", "demo", "--json"]) == 0
    capsys.readouterr()
    assert cli.main(["info", "demo"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "131 subjects of IXI" in told
    assert "drawn as those of all 148 are spread" in told


def test_what_was_begun_and_not_finished_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"cohort": "bids", "grid": {}}))
    for verb in ("info", "status"):
        assert cli.main([verb, str(tmp_path)]) == 1
        told = capsys.readouterr().err
        assert told.count("\n") == 1
        assert "prepare was begun there and is not finished (no cohort.json)" in told


def test_a_run_of_strangers_does_not_act_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"kind": "x\x1b[31m\ny"}))
    (tmp_path / "finished.json").write_text(json.dumps({"steps": "all"}))
    log(tmp_path, {"step": "many", "steps": []}, {"values": 3, "step": 1, "steps": 2})
    assert cli.main(["status", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert len(said.out.splitlines()) == 3


def test_status_of_a_run_needs_only_the_light_install(run_folder: Path) -> None:
    log(run_folder, step(10))
    program = (
        f"import sys; from ray_jobs.cli import main; main(['status', {str(run_folder)!r}]);"
        " print('HEAVY', *sorted({'torch', 'ray', 'scipy', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.splitlines()[-1] == "HEAVY"


def test_info_of_a_cohort_and_of_latents_names_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_prepared(tmp_path / "prepared")
    write_autoencoder(tmp_path / "autoencoder")
    write_latents(tmp_path / "latents", cohort, tmp_path / "autoencoder")
    for name, told, following in (
        ("prepared", "to train on, ", "train-autoencoder --cohort"),
        ("latents", "of each subject", "train-diffusion --latents"),
    ):
        code, said, _ = ended(capsys, "info", tmp_path / name)
        assert code == 0
        assert told in said
        assert "ventricular_volume  " in said
        assert said.splitlines()[-1].startswith(f"  next  brainpress {following} {tmp_path / name}")
        assert ended(capsys, "status", tmp_path / name)[:2] == (
            0,
            f"{kind_at('', open_store(tmp_path / name))}: {tmp_path / name}\nfinished  yes\n",
        )


def test_info_of_a_report_has_its_figures_and_the_verdict(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, said, _ = ended(capsys, "info", ROOT / "docs" / "evaluation")
    assert code == 0
    assert "demo: 208 volumes against 148 real people" in said
    assert "privacy      passed" in said
    assert "ventricular_volume, measured against asked: correlation" in said
