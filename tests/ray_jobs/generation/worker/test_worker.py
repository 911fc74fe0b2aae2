"""The worker with a real, tiny model and real stores, without Ray."""

from __future__ import annotations

import math
import pickle
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ldm.diffusion.config import Sampling
from ldm.loading import describe
from ldm.models.description import ModelDescription
from ldm.volumes.brain_size import BrainSize
from ldm.volumes.quality import Strictness, check
from manifests.errors import ReleaseError
from manifests.format.layout import part_key
from manifests.format.parquet import parquet_bytes, table_from_bytes
from manifests.format.tombstones import bury
from manifests.ledger import Ledger, ShardPlan
from manifests.storage import open_store
from ray_jobs.generation.covariates import covariate_source
from ray_jobs.generation.recipe import Recipe
from ray_jobs.generation.worker.assignment import Assignment
from ray_jobs.generation.worker.environment import ONE_THREAD
from ray_jobs.generation.worker.rejected import NothingPassedError
from ray_jobs.generation.worker.worker import Worker
from tests.e2e.running import files, tiny_model

LOOSE = {"foreground_fraction": (0.0, 1.0), "mean_intensity": (0.0, 1.0)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _threads_of_this_process_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "1")


def assignment(model: Path, out: Path | str, *, n: int = 10, **changes: Any) -> Assignment:
    description: ModelDescription = describe(model)
    source = covariate_source(
        "cohort", (), n=n, schema=description.schema, distribution=description.distribution
    )
    drawn: dict[str, Any] = {
        "seed": 3,
        "sampling": Sampling(steps=2),
        "attempts": 2,
        "batch_size": 2,
        "source": source,
        "quality": Strictness.MODEL,
    }
    recipe = {name: changes.pop(name, value) for name, value in drawn.items()}
    told: dict[str, Any] = {
        "out": str(out),
        "model": str(model),
        "model_fingerprint": description.fingerprint,
        "device": "cpu",
        "precision": "fp32",
        "recipe": Recipe(**recipe),
        "shards": ShardPlan(n, 4),
        "writers": 2,
    }
    return Assignment(**{**told, **changes})


def loaded(assignment: Assignment) -> Worker:
    worker = Worker(assignment, {})
    assert worker.load() is None
    return worker


def begun_by_another(model: Path, out: Path) -> None:
    """Commit the second shard, so that the first is not all that there is."""
    loaded(assignment(model, out, quality=Strictness.OFF)).print_shard(1)


def rows(out: Path | str, shard: int) -> list[dict[str, Any]]:
    key = part_key(shard)
    found: list[dict[str, Any]] = table_from_bytes(open_store(out).get(key), key).to_pylist()
    return found


def test_a_release_is_the_same_whatever_the_order_of_its_shards_and_their_number(
    model: Path, tmp_path: Path
) -> None:
    few, many = (
        loaded(assignment(model, tmp_path / "few")),
        loaded(assignment(model, tmp_path / "many", n=12)),
    )
    for shard in (0, 1, 2):
        few.print_shard(shard)
    for shard in (2, 0, 1):
        many.print_shard(shard)
    made, larger = files(tmp_path / "few"), files(tmp_path / "many")
    last = part_key(2)  # has ten of twelve rows
    assert len(made) == 10 + 3
    assert {k: v for k, v in made.items() if k != last}.items() <= larger.items()
    assert rows(tmp_path / "few", 2) == rows(tmp_path / "many", 2)[:2]


def test_a_row_tells_what_was_asked_and_what_was_stored(model: Path, tmp_path: Path) -> None:
    here = assignment(model, tmp_path)
    report = loaded(here).print_shard(1)
    assert (report.shard, report.rows, report.failed) == (1, 4, 0)
    row = rows(tmp_path, 1)[1]
    data = (tmp_path / "sub-000005/anat/sub-000005_T1w.nii.gz").read_bytes()
    assert (row["index"], row["bytes"], row["seed"], row["attempt"]) == (5, len(data), 3, 0)
    asked = here.recipe.source.draw(3, 5)
    assert {name: row[name] for name in asked} == asked
    assert row["sex_scaled"] in (0.0, 1.0)


def test_a_row_tells_what_made_it_where_the_plan_does(model: Path, tmp_path: Path) -> None:
    worker = loaded(assignment(model, tmp_path / "new", tells_kind=True))
    worker.print_shard(0)
    assert {row["made_on"] for row in rows(tmp_path / "new", 0)} == {worker.kind()}
    assert re.fullmatch(r"\w+ \w+, torch \d+\.\d+\S*", worker.kind())
    loaded(assignment(model, tmp_path / "old")).print_shard(0)
    assert "made_on" not in rows(tmp_path / "old", 0)[0]
    images = [{k: v for k, v in files(tmp_path / o).items() if "sub" in k} for o in ("new", "old")]
    assert images[0] == images[1]


def test_growing_completes_the_last_part_and_rewrites_no_volume(
    model: Path, tmp_path: Path
) -> None:
    loaded(assignment(model, tmp_path, n=6)).print_shard(1)
    volume = tmp_path / "sub-000005/anat/sub-000005_T1w.nii.gz"
    before = volume.stat().st_ino
    assert len(rows(tmp_path, 1)) == 2
    loaded(assignment(model, tmp_path, n=7)).print_shard(1)
    loaded(assignment(model, tmp_path, n=12)).print_shard(1)
    assert [row["index"] for row in rows(tmp_path, 1)] == [4, 5, 6, 7]
    assert volume.stat().st_ino == before
    loaded(assignment(model, tmp_path / "at-once", n=12)).print_shard(1)
    assert rows(tmp_path / "at-once", 1) == rows(tmp_path, 1)


def test_growing_brings_no_withdrawn_sample_back(model: Path, tmp_path: Path) -> None:
    loaded(assignment(model, tmp_path, n=6)).print_shard(1)
    store, key = open_store(tmp_path), part_key(1)
    data, etag = store.get_with_etag(key)
    buried = bury(table_from_bytes(data, key), {5: "no cerebellum"})
    assert store.replace(key, parquet_bytes(buried), etag=etag)
    store.delete("sub-000005/anat/sub-000005_T1w.nii.gz")
    loaded(assignment(model, tmp_path, n=8)).print_shard(1)
    found = {row["index"]: (row["status"], row["error"]) for row in rows(tmp_path, 1)}
    assert found[5] == ("withdrawn", "no cerebellum")
    assert [found[index][0] for index in (4, 6, 7)] == ["ok"] * 3
    assert not (tmp_path / "sub-000005").exists()


def test_what_is_stored_of_a_begun_shard_is_kept_found_again_and_not_drawn_twice(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = assignment(model, tmp_path / "whole"), tmp_path / "kept"
    loaded(whole).print_shard(1)
    worker, ledger = loaded(assignment(model, out)), Ledger(open_store(out))
    ledger.begin({"fingerprint": "f" * 64, "shard_size": 4}, n=10)
    second, drew = threading.Event(), worker._draw

    def stops_before_the_second_batch(*args: Any) -> Iterator[Any]:
        for number, draw in enumerate(drew(*args)):
            if number == 2:
                while worker.progress() != {1: 2}:
                    time.sleep(0.01)
                second.set()
                raise OSError("the machine goes")
            yield draw

    assert worker.keep() == {}
    monkeypatch.setattr(worker, "_draw", stops_before_the_second_batch)
    monkeypatch.setattr(second, "set", lambda: kept.update(worker.keep()))
    kept: dict[int, int] = {}
    with pytest.raises(OSError, match="goes"):
        worker.print_shard(1)
    assert kept == {1: 2}
    assert ledger.pending(ShardPlan(10, 4)) == [0, 1, 2]
    assert [row["index"] for row in rows(out, 1)] == [4, 5]

    another = loaded(assignment(model, out))
    drawn: list[int] = []
    monkeypatch.setattr(another, "_put", lambda index, stored, data: drawn.append(index))
    another.print_shard(1)
    assert sorted(drawn) == [6, 7]
    assert Ledger(open_store(out)).pending(ShardPlan(10, 4)) == [0, 2]
    assert rows(out, 1) == rows(tmp_path / "whole", 1)


def test_a_shard_that_is_left_is_finished_by_another_worker(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = assignment(model, tmp_path / "whole"), tmp_path / "left"
    loaded(whole).print_shard(1)
    worker = loaded(assignment(model, out))
    generate = worker._model.generate  # type: ignore[union-attr]

    def told_meanwhile(*args: Any, **options: Any) -> Any:
        worker.leave(1)
        return generate(*args, **options)

    monkeypatch.setattr(worker._model, "generate", told_meanwhile)
    report = worker.print_shard(1)
    assert (report.rows, report.handed_back, report.tally.volumes) == (2, True, 2)
    rest = loaded(assignment(model, out)).print_shard(1)
    assert (rest.rows, rest.handed_back, rest.tally.volumes) == (4, False, 2)
    assert rows(out, 1) == rows(tmp_path / "whole", 1)
    monkeypatch.undo()
    assert not worker.print_shard(2).handed_back


def test_two_workers_on_one_shard_commit_it_once(model: Path, tmp_path: Path) -> None:
    first, second = loaded(assignment(model, tmp_path)), loaded(assignment(model, tmp_path))
    first.print_shard(0)
    etag = open_store(tmp_path).get_with_etag(part_key(0))[1]
    (tmp_path / part_key(0)).rename(tmp_path / "kept")
    second.print_shard(0)  # as if it had looked before the first was done
    assert (tmp_path / part_key(0)).read_bytes() == (tmp_path / "kept").read_bytes()
    (tmp_path / "kept").rename(tmp_path / part_key(0))
    assert second.print_shard(0).rows == 4
    assert open_store(tmp_path).get_with_etag(part_key(0))[1] == etag


def test_a_sample_that_fails_every_attempt_is_a_failed_row_without_a_file(
    tmp_path: Path,
) -> None:
    strict = tiny_model(tmp_path / "strict", bounds={**LOOSE, "mean_intensity": (0.9, 1.0)})
    begun_by_another(strict, tmp_path / "out")
    before = files(tmp_path / "out")
    report = loaded(assignment(strict, tmp_path / "out")).print_shard(0)
    assert (report.rows, report.failed) == (4, 4)
    row = rows(tmp_path / "out", 0)[0]
    assert (row["status"], row["attempt"], row["path"], row["sha256"]) == ("failed", 1, None, None)
    assert "mean_intensity" in row["error"]
    assert set(files(tmp_path / "out")) - set(before) == {part_key(0)}


def test_where_nothing_of_the_first_shard_passes_the_run_ends_with_reasons_and_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = tiny_model(tmp_path / "strict", bounds={**LOOSE, "mean_intensity": (0.9, 1.0)})
    worker = loaded(assignment(strict, tmp_path / "out"))
    refuse, kept = worker._refuse_hopeless, []

    def refuse_later(*told: Any) -> None:
        kept.append(worker.keep())
        refuse(*told)

    monkeypatch.setattr(worker, "_refuse_hopeless", refuse_later)
    with pytest.raises(NothingPassedError) as caught:
        worker.print_shard(0)
    line = str(caught.value)
    assert "all of the first 4 samples failed" in line
    assert "(4 x mean_intensity 0." in line
    assert "expected 0.9 to 1" in line
    assert "--quality loose" in line
    assert "\n" not in line
    assert str(pickle.loads(pickle.dumps(caught.value))) == line, "Ray carries it to the driver"
    assert list(files(tmp_path / "out")) == ["previews/rejected.png"]
    assert worker.progress() == {}
    assert kept == [{}], "a run that is stopped then would never say so"


def test_less_of_the_bounds_lets_more_through(tmp_path: Path) -> None:
    bounds = {**LOOSE, "mean_intensity": (0.9, 1.0)}
    strict = tiny_model(tmp_path / "strict", bounds=bounds)
    off = loaded(assignment(strict, tmp_path / "off", quality=Strictness.OFF)).print_shard(0)
    assert (off.rows, off.failed) == (4, 0)
    plain = loaded(assignment(tiny_model(tmp_path / "plain", bounds=LOOSE), tmp_path / "plain-out"))
    plain.print_shard(0)
    assert [row["sha256"] for row in rows(tmp_path / "off", 0)] == [
        row["sha256"] for row in rows(tmp_path / "plain-out", 0)
    ]


def test_a_brain_of_another_size_than_asked_for_is_drawn_again_unless_nobody_knows_that_size(
    tmp_path: Path,
) -> None:
    tenfold = BrainSize(intercept=math.log(1e7), bright=0.0, head=0.0)
    bounds = {**LOOSE, "brain_size_error": (-0.5, 0.5)}
    strict = tiny_model(tmp_path / "strict", bounds=bounds, brain_size=tenfold)
    begun_by_another(strict, tmp_path / "within")
    loaded(assignment(strict, tmp_path / "within")).print_shard(0)
    for row in rows(tmp_path / "within", 0):
        assert (row["status"], row["attempt"]) == ("failed", 1)
        assert row["error"].startswith("brain_size_error ")
        expected = math.log(1e7 / row["brain_volume"])
        assert row["quality_brain_size_error"] == pytest.approx(expected)
    beyond = replace(
        assignment(strict, tmp_path / "beyond").recipe.source, fixed={"brain_volume": 3e6}
    )
    loaded(assignment(strict, tmp_path / "beyond", source=beyond)).print_shard(0)
    for row in rows(tmp_path / "beyond", 0):
        assert (row["status"], row["extrapolated"]) == ("ok", True)
        assert row["quality_brain_size_error"] == pytest.approx(math.log(1e7 / 3e6))


def test_a_store_that_refuses_fails_the_shard_and_commits_nothing(
    model: Path, tmp_path: Path
) -> None:
    (tmp_path / "sub-000002").write_text("in the way")
    worker = loaded(assignment(model, tmp_path))
    with pytest.raises(ReleaseError, match="sub-000002"):
        worker.print_shard(0)
    assert Ledger(open_store(tmp_path)).done(ShardPlan(10, 4)) == set()
    assert worker.progress() == {}


def test_another_model_at_the_same_place_is_refused(model: Path, tmp_path: Path) -> None:
    worker = Worker(assignment(model, tmp_path, model_fingerprint="0" * 64), {})
    assert "another one lies there" in str(worker.load())


def test_a_model_damaged_under_way_is_refused_in_one_line(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    here = assignment(model, tmp_path / "out")
    weights = model / "denoiser.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    refusal = str(Worker(here, {}).load())
    assert "denoiser.safetensors" in refusal
    assert "\n" not in refusal


def test_a_batch_can_be_timed_without_writing_anything(model: Path, tmp_path: Path) -> None:
    seconds, size = loaded(assignment(model, tmp_path)).time_batch(1)
    assert seconds > 0
    assert size > 352  # a NIfTI header
    assert list(tmp_path.iterdir()) == []


def test_with_two_shards_in_hand_the_device_draws_while_volumes_are_checked(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = loaded(assignment(model, tmp_path / "both", n=8))
    drawing, at_once, checks = threading.Lock(), [], threading.Barrier(2, timeout=20)
    assert worker._model is not None
    generate = worker._model.generate

    def watched(*args: Any, **options: Any) -> Any:
        at_once.append(drawing.acquire(blocking=False))
        try:
            time.sleep(0.02)
            return generate(*args, **options)
        finally:
            drawing.release()

    def check_both(*args: Any, **options: Any) -> Any:
        checks.wait()  # until the other shard has volumes to check too
        return check(*args, **options)

    monkeypatch.setattr(worker._model, "generate", watched)
    monkeypatch.setattr("ray_jobs.generation.worker.drawing.check", check_both)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(worker.print_shard, (0, 1)))
    assert [report.rows for report in reports] == [4, 4]
    assert at_once == [True] * 4
    alone = loaded(assignment(model, tmp_path / "alone", n=8))
    monkeypatch.setattr("ray_jobs.generation.worker.drawing.check", check)
    for shard in (0, 1):
        alone.print_shard(shard)
    both, apart = files(tmp_path / "both"), files(tmp_path / "alone")
    assert [name for name in both.keys() | apart.keys() if both.get(name) != apart.get(name)] == []
