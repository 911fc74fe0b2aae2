"""A finished release: valid BIDS, complete, the same bytes however it was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manifests.digests import sha256
from manifests.errors import ReleaseError
from manifests.format.layout import image_path, participant_id
from manifests.format.release_json import read_release
from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.storage import open_store
from manifests.storage.base import Store
from tests.manifests.releases import begin, document, image_bytes, make_release, write_shard


def everything(store: Store) -> dict[str, bytes]:
    return {entry.key: store.get(entry.key) for entry in store.list()}


def bids_errors(folder: str) -> str:
    """What the official validator finds wrong with a folder; "" where it is valid."""
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [validator, "--max-rows", "-1", "--ignoreWarnings", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_names_have_a_seventh_digit_from_a_million_on() -> None:
    assert participant_id(42) == "sub-000042"
    assert participant_id(1_234_567) == "sub-1234567"
    assert image_path(0) == "sub-000000/anat/sub-000000_T1w.nii.gz"


def test_a_finished_release_is_valid_bids(tmp_path: Path) -> None:
    store = make_release(tmp_path / "release", 6, failed=[2])
    assert bids_errors(store.uri) == ""


def test_release_json_tells_how_it_was_made_and_the_digest_of_everything(place: str) -> None:
    store = make_release(place, 10, failed=[3])
    release = read_release(store)
    assert release["counts"] == {
        "samples": 10,
        "ok": 9,
        "failed": 1,
        "image_bytes": sum(len(image_bytes(index)) for index in range(10) if index != 3),
    }
    assert release["demonstration"] is True
    assert release["model"]["name"] == "tiny"
    for key, digest in release["files"].items():
        assert sha256(store.get(key)) == digest
    assert [(part["key"], part["rows"]) for part in release["parts"]] == [
        ("manifest/part-00000.parquet", 4),
        ("manifest/part-00001.parquet", 4),
        ("manifest/part-00002.parquet", 2),
    ]
    for part in release["parts"]:
        assert sha256(store.get(part["key"])) == part["sha256"]


def test_a_demonstration_says_so_and_another_release_does_not(tmp_path: Path) -> None:
    store, plan = make_release(tmp_path / "demo", 2), ShardPlan(2, 4)
    serious = open_store(tmp_path / "serious")
    about = document(model={"name": "large", "demo": False})
    begin(serious, plan)
    write_shard(serious, plan, 0)
    finalise(serious, plan, about)
    for key in ("README.md", "dataset_description.json", "release.json"):
        assert b"emonstration" in store.get(key)
    for key in ("README.md", "dataset_description.json"):
        assert b"emonstration" not in serious.get(key)
    assert read_release(serious)["demonstration"] is False


def test_only_samples_with_an_image_are_participants(tmp_path: Path) -> None:
    store = make_release(tmp_path, 4, failed=[1])
    lines = store.get("participants.tsv").decode().splitlines()
    assert lines[0] == "participant_id\tsex\tage\tventricular_volume\textrapolated"
    assert [line.split("\t")[0] for line in lines[1:]] == ["sub-000000", "sub-000002", "sub-000003"]
    described = json.loads(store.get("participants.json"))
    assert described["sex"]["Levels"] == {"F": "female", "M": "male"}
    assert described["ventricular_volume"]["Units"] == "mm3"
    assert "1 samples failed" in store.get("README.md").decode()


def test_finishing_again_changes_no_byte(place: str) -> None:
    store = make_release(place, 6)
    before = everything(store)
    make_release(place, 6)
    assert everything(store) == before


def test_a_release_that_grew_has_the_bytes_of_one_made_at_once(tmp_path: Path) -> None:
    for n in (3, 4, 9):
        grown = make_release(tmp_path / "grown", n)
    assert everything(grown) == everything(make_release(tmp_path / "at-once", 9))


def test_asking_for_fewer_leaves_the_larger_release_as_it_is(tmp_path: Path) -> None:
    store = make_release(tmp_path, 9)
    before = everything(store)
    make_release(tmp_path, 5)
    assert everything(store) == before
    assert read_release(store)["counts"]["samples"] == 9


def test_the_parts_of_a_larger_release_that_was_never_finished_serve_a_smaller_one(
    tmp_path: Path,
) -> None:
    store, larger = open_store(tmp_path), ShardPlan(12, 4)
    begin(store, larger)
    for shard in (0, 1):
        write_shard(store, larger, shard)
    finalise(store, ShardPlan(6, 4), document())
    assert read_release(store)["counts"]["samples"] == 6


def test_a_release_with_a_shard_missing_is_not_finished(place: str) -> None:
    store, plan = open_store(place), ShardPlan(10, 4)
    begin(store, plan)
    write_shard(store, plan, 1)
    with pytest.raises(ReleaseError, match="2 of 3 shards are not done") as caught:
        finalise(store, plan, document())
    assert caught.value.exit_code == 1
    assert "release.json" not in everything(store)
    with pytest.raises(ReleaseError, match="is not finished"):
        read_release(store)


def test_parts_of_another_kind_are_refused(tmp_path: Path) -> None:
    store, plan = open_store(tmp_path), ShardPlan(2, 4)
    write_shard(store, plan, 0)
    with pytest.raises(ReleaseError, match="its columns are not those of this release"):
        finalise(store, plan, document(quality=()))


def test_another_release_is_not_written_over(tmp_path: Path) -> None:
    store = make_release(tmp_path, 2)
    with pytest.raises(ReleaseError, match="holds a release with fingerprint ffff"):
        finalise(store, ShardPlan(2, 4), document(fingerprint="e" * 64))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "no release there, it is empty or does not exist"),
        (b"{cut", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"format": "another"}', "not of a brainpress release"),
        (b'{"format": "brainpress-release", "version": 99}', "install a newer one"),
    ],
)
def test_what_is_no_release_is_told_in_one_line(
    place: str, content: bytes | None, line: str
) -> None:
    store = open_store(place)
    if content is not None:
        store.put("release.json", content)
    with pytest.raises(ReleaseError, match=line):
        read_release(store)


def test_a_document_survives_release_json(tmp_path: Path) -> None:
    about = document(date="2030-01-31", authors=("A", "B: C"), image={"SkullStripped": True})
    store, plan = open_store(tmp_path), ShardPlan(1, 4)
    write_shard(store, plan, 0)
    release = finalise(store, plan, about)
    assert type(about).from_json(release) == about
    assert store.get("CHANGES").startswith(b"1.0.0 2030-01-31\n")
    assert b'  - name: "B: C"\n' in store.get("CITATION.cff")
    assert json.loads(store.get("T1w.json"))["SkullStripped"] is True
    assert bids_errors(store.uri) == ""


@pytest.mark.parametrize("empty", ["name", "license", "fingerprint", "software_version"])
def test_a_document_is_checked_at_birth(empty: str) -> None:
    with pytest.raises(ReleaseError, match=f"{empty} is empty"):
        document(**{empty: ""})


def test_a_date_is_a_day() -> None:
    with pytest.raises(ReleaseError, match="expected YYYY-MM-DD"):
        document(date="yesterday")


def test_a_model_card_with_a_loss_that_is_not_finite_still_makes_json(tmp_path: Path) -> None:
    store, plan = open_store(tmp_path), ShardPlan(1, 4)
    write_shard(store, plan, 0)
    finalise(store, plan, document(model={"name": "m", "losses": [1.0, float("nan")]}))
    assert read_release(store)["model"]["losses"] == [1.0, None]
    assert b"NaN" not in store.get("release.json")


def test_extra_files_are_listed_for_the_bids_validator_to_pass_over(tmp_path: Path) -> None:
    store = make_release(tmp_path, 1)
    assert b"previews\n" in store.get(".bidsignore")
    assert Ledger(store).pending(ShardPlan(1, 4)) == []
