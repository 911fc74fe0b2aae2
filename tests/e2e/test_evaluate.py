"""`brainpress evaluate` on real Ray: a virtual cohort, a release of the demo model, and a death."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ldm.evaluation.privacy.planted import EACH, MAKES
from ldm.loading import describe
from manifests.publish.evaluation import read_evaluation
from tests.e2e.running import ROOT, RayHead, environment, generate

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
N = 24
SCHEMA = ("sex", "age", "ventricular_volume", "brain_volume")
SUBJECTS = 44


def words(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]


def images_seen(out: Path) -> int:
    """Of how many images the evaluation has the digests, as `publish` reads it."""
    return len(read_evaluation(out).images)


@pytest.fixture(scope="module")
def made(head: RayHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared virtual cohort, and a release of the demo model on its grid."""
    folder = tmp_path_factory.mktemp("evaluate")
    about = environment(head.environment() | {"PYTHONPATH": str(ROOT)})
    cohort = words("prepare", "--cohort", "virtual", "--n", SUBJECTS, "--validation", 0.3)
    cohort += ["--out", str(folder / "prepared")]
    done = subprocess.run(cohort, env=about, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    drawn = ("--n", N, "--sampler", "unipc", "--steps", 5, "--out", folder / "release")
    printed = generate(*drawn, extra=head.environment())
    assert printed.returncode == 0, printed.stderr
    return folder


def test_a_killed_evaluation_goes_on_and_ends_in_a_report(made: Path, head: RayHead) -> None:
    out = made / "report"
    command = words("evaluate", made / "release", "--real", made / "prepared", "--pairs", 20)
    command += ["--out", str(out)]
    about = environment(head.environment() | {"PYTHONPATH": str(ROOT)})
    killed = subprocess.Popen(command, env=about, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list(out.glob("parts/real-*.parquet")):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    there = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.parquet")}
    assert not (out / "evaluation.json").exists()
    done = subprocess.run(command, env=about, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    for what in ("measuring", "comparing"):  # stderr is no terminal: it is a log
        assert re.search(rf"^\d{{4}}-\d\d-\d\d [\d:]+Z  {what}  \d+/\d+  ", done.stderr, re.M)
    assert all(path.stat().st_mtime_ns == at for path, at in there.items())
    findings = json.loads((out / "evaluation.json").read_text())
    assert findings["volumes"]["release"] == {"measured": N, "refused": 0}
    assert findings["volumes"]["real"]["measured"] == SUBJECTS
    assert findings["table_1"]["release"]["ms_ssim"]["pairs"] == 20
    assert set(findings["conditioning"]["release"]) >= {"ventricular_volume", "sex"}
    assert set(findings["responses"]["release"]["brain_volume"]["effects"]) == set(SCHEMA)
    assert findings["release"]["model"] == describe("demo").fingerprint
    assert findings["release"]["sampling"]["steps"] == 5
    audit = findings["privacy"]["release"]
    assert audit["passed"] == (audit["verdict"] == "passed") == (done.returncode == 0)
    assert audit["passed"] is not bool(audit["reasons"])
    # All people of a virtual cohort are bends of one anatomy: leaks may be told, or not.
    assert [space["name"] for space in audit["spaces"]] == ["features", "images", "folds"]
    assert audit["spaces"][2]["n_training"] + audit["spaces"][2]["n_held_out"] == SUBJECTS
    assert set(audit["power"]["caught"]) == set(MAKES)
    assert audit["power"]["planted"] == EACH
    assert all(0 <= share <= 1 for found in audit["power"]["caught"].values() for share in found)
    page = (out / "report.html").read_text()
    assert "<th>planted leaks</th>" in page
    assert f"{EACH} leaks of each were made of training subjects" in page
    assert images_seen(out) == N
    assert page.count("data:image/png") >= 4
    assert "Pinaya et al. 2022" in page
    assert "report: " in done.stdout


def test_other_options_in_the_same_folder_are_refused(made: Path, head: RayHead) -> None:
    about = environment(head.environment() | {"PYTHONPATH": str(ROOT)})
    command = words("evaluate", made / "release", "--real", made / "prepared", "--pairs", 21)
    done = subprocess.run(
        [*command, "--out", str(made / "report")], env=about, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "holds another run: pairs 20 -> 21" in done.stderr
