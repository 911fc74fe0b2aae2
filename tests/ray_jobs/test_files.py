"""The files of a job's --out: whole or not at all, and one run's only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ray_jobs.errors import JobError
from ray_jobs.files import (
    digest,
    output_folder,
    read_json,
    read_table,
    refuse_other_run,
    write_array,
    write_bytes,
    write_json,
    write_table,
)

FIELDS: dict[str, Any] = {
    "kind": "autoencoder",
    "cohort": "a" * 64,
    "training": {"seed": 0, "learning_rate": 1e-3},
}


def test_a_write_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    for name, write, old, new in (
        ("a.json", write_json, {"n": 1}, {"n": 2}),
        ("a.npy", write_array, np.zeros(3), np.ones(3)),
        ("a.bin", write_bytes, b"old", b"new"),
        ("a.parquet", write_table, pd.DataFrame({"n": [1]}), pd.DataFrame({"n": [2]})),
    ):
        path = tmp_path / name
        write(path, old)  # type: ignore[operator]
        before = path.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", fail)
            with pytest.raises(OSError, match="disk full"):
                write(path, new)  # type: ignore[operator]
        assert path.read_bytes() == before
        write(path, new)  # type: ignore[operator]
        assert path.read_bytes() != before


def test_json_comes_back_and_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"name": "Zürich", "n": 1})
    assert read_json(path) == {"name": "Zürich", "n": 1}
    assert "Zürich" in path.read_text()
    for damaged in (path.read_text()[:-3], "[1, 2]", "", "\udcff"):
        path.write_text(damaged, errors="surrogateescape")
        assert read_json(path) is None


def test_a_table_comes_back_and_a_damaged_one_names_the_job_to_run(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pd.DataFrame({"name": ["x", "y"], "age": [1.5, 0.1 + 0.2]})
    write_table(path, table)
    pd.testing.assert_frame_equal(read_table(path, made_by="brainpress prepare"), table)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(JobError, match=r"a\.parquet is missing or damaged; run brainpress prepare"):
        read_table(path, made_by="brainpress prepare")
    path.unlink()
    with pytest.raises(JobError, match="missing or damaged"):
        read_table(path, made_by="brainpress prepare")


def test_a_digest_knows_values_and_not_the_order_of_names() -> None:
    assert digest({"a": 1, "b": [1.5, "x"]}) == digest({"b": [1.5, "x"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_an_output_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    folder = output_folder(str(tmp_path / "a" / "b"), what="a run")
    assert folder == tmp_path / "a" / "b"
    assert folder.is_dir()
    assert output_folder(str(folder), what="a run") == folder


def test_an_output_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JobError, match="--out s3://b/x: a run goes to a folder, not to a bucket"):
        output_folder("s3://b/x", what="a run")
    with pytest.raises(JobError, match=r"file is a file; expected a folder"):
        output_folder(str(tmp_path / "file"), what="a run")
    with pytest.raises(JobError, match=r"cannot be made: Not a directory"):
        output_folder(str(tmp_path / "file" / "under"), what="a run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_nobody_can_write_to_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JobError, match="cannot be written to; choose another folder"):
        output_folder(str(tmp_path), what="a run")
    with pytest.raises(JobError, match="cannot be made: Permission denied"):
        output_folder(str(tmp_path / "new"), what="a run")


def test_the_same_run_may_go_on_and_another_is_refused_by_its_field(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    refuse_other_run(path, FIELDS)
    refuse_other_run(path, {**FIELDS, "training": dict(reversed(FIELDS["training"].items()))})
    other = {**FIELDS, "training": {"seed": 7, "learning_rate": 1e-3}}
    with pytest.raises(JobError) as error:
        refuse_other_run(path, other)
    assert str(error.value) == (
        f"{tmp_path} holds another run: training.seed 0 -> 7. "
        "Use its options again, or another --out"
    )
    assert error.value.exit_code == 2
    assert read_json(path) == FIELDS


def test_all_fields_that_differ_are_named_and_a_digest_by_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    refuse_other_run(path, {**FIELDS, "old": True})
    with pytest.raises(JobError) as error:
        refuse_other_run(path, {**FIELDS, "cohort": "b" * 64, "new": [1]})
    assert "cohort aaaaaaaaaaaa... -> bbbbbbbbbbbb...; new none -> [1]; old True -> none." in str(
        error.value
    )


def test_tuples_and_lists_are_the_same_run(tmp_path: Path) -> None:
    refuse_other_run(tmp_path / "run.json", {"shape": (1, 2)})
    refuse_other_run(tmp_path / "run.json", {"shape": [1, 2]})


def test_a_folder_whose_name_is_not_utf_8_is_refused_in_one_line(tmp_path: Path) -> None:
    name = os.fsdecode("größe".encode("latin-1"))
    with pytest.raises(
        JobError, match=r"--out .*gr\\udcf6.*: its name is not UTF-8; rename it"
    ) as caught:
        output_folder(str(tmp_path / name), what="latents")
    str(caught.value).encode()
    assert not list(tmp_path.iterdir())
    assert output_folder(str(tmp_path / "größe 100%'🧠"), what="latents").is_dir()


def test_what_may_change_within_a_run_is_recorded_as_it_was_begun(tmp_path: Path) -> None:
    path, begun = tmp_path / "run.json", {"training": {"seed": 0, "micro_batch": 0}}
    assert refuse_other_run(path, begun, free=["training.micro_batch"]) == begun
    fewer = {"training": {"seed": 0, "micro_batch": 2}}
    assert refuse_other_run(path, fewer, free=["training.micro_batch"]) == begun
    with pytest.raises(JobError, match=r"training\.micro_batch 0 -> 2"):
        refuse_other_run(path, fewer)
    other = {"training": {"seed": 1, "micro_batch": 2}}
    with pytest.raises(JobError, match=r"training\.seed 0 -> 1\."):
        refuse_other_run(path, other, free=["training.micro_batch"])
