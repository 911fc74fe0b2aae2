"""What the Hugging Face Hub reads: the head of README.md, and the table of the images.

That `datasets.load_dataset` takes both is tried by `python -m tests.benchmarks.hub`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from manifests.format.layout import HUB_TABLE_KEY
from manifests.metadata.hub import front_matter, hub_features, without_front_matter
from manifests.metadata.staging import write_release
from manifests.publish.withdrawal import withdraw
from manifests.query.release import Release
from manifests.storage import open_store
from manifests.storage.local import LocalStore
from tests.manifests.releases import COLUMNS, SCHEMA, document, make_release


def head_of(folder: Path) -> dict[str, Any]:
    _, head, _ = (folder / "README.md").read_text().split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def test_the_head_names_the_images_and_not_the_pictures_of_the_page(tmp_path: Path) -> None:
    make_release(tmp_path, 6, failed=[2])
    head = head_of(tmp_path)
    (config,) = head["configs"]
    ((split, patterns),) = [(files["split"], files["path"]) for files in config["data_files"]]
    assert (config["config_name"], split) == ("default", "train")
    found = sorted(path.relative_to(tmp_path) for one in patterns for path in tmp_path.glob(one))
    assert str(found[0]) == HUB_TABLE_KEY
    assert [str(path) for path in found[1:]] == images(tmp_path)
    assert (head["license"], head["size_categories"]) == ("cc-by-sa-3.0", ["n<1K"])


def images(folder: Path) -> list[str]:
    rows = Release.open(folder).query("status = 'ok'")
    return rows["path"].to_pylist()


def test_the_table_has_each_image_with_its_covariates_and_units(tmp_path: Path) -> None:
    make_release(tmp_path, 6, failed=[2])
    table = pq.read_table(tmp_path / HUB_TABLE_KEY)
    names = [column.name for column in COLUMNS]
    assert table.schema.names == ["file_name", "participant_id", *names, "extrapolated"]
    kept = Release.open(tmp_path).query("status = 'ok'")
    assert table["file_name"].to_pylist() == kept["path"].to_pylist()
    for name in ["participant_id", *names, "extrapolated"]:
        assert table[name].equals(kept[name])
    assert table.schema.field("age").metadata[b"unit"] == b"year"
    assert all((tmp_path / path).is_file() for path in table["file_name"].to_pylist())


def test_a_withdrawn_image_is_gone_from_it(place: str) -> None:
    make_release(place, 6)
    withdraw(Release.open(place), ["sub-000004"], "bad")
    store = open_store(place)
    with store.open(HUB_TABLE_KEY) as file:
        left = pq.read_table(file)["participant_id"].to_pylist()
    assert left == [f"sub-{index:06d}" for index in (0, 1, 2, 3, 5)]


def test_where_there_is_no_image_there_is_nothing_to_load(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 2, failed=[0, 1])
    assert "configs" not in head_of(tmp_path / "first")
    assert pq.read_table(tmp_path / "first" / HUB_TABLE_KEY).num_rows == 0


def test_an_unconditional_model_has_a_table_of_names(tmp_path: Path) -> None:
    make_release(tmp_path / "first", 2)
    about = document(columns=())
    rows = Release.open(tmp_path / "first").query(columns=about.schema.names)
    write_release(LocalStore(tmp_path / "b"), rows.cast(about.schema), about)
    assert pq.read_schema(tmp_path / "b" / HUB_TABLE_KEY).names == ["file_name", "participant_id"]


@pytest.mark.parametrize(
    ("license", "head"),
    [
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("ODbL-1.0", {"license": "odbl"}),
        (
            "LicenseRef-Lab",
            {"license": "other", "license_name": "licenseref-lab", "license_link": "LICENSE"},
        ),
        (
            "ODC-By-1.0",
            {"license": "odc-by"},
        ),
        (
            "CC-BY-SA-2.0",
            {
                "license": "other",
                "license_name": "cc-by-sa-2.0",
                "license_link": "https://spdx.org/licenses/CC-BY-SA-2.0.html",
            },
        ),
    ],
)
def test_a_licence_has_the_name_that_the_hub_knows(license: str, head: dict[str, str]) -> None:
    text = front_matter(document(license=license), images=1, files=["x"])
    found = yaml.safe_load(text.strip("-\n"))
    assert {name: value for name, value in found.items() if "license" in name} == head


def test_no_name_can_add_a_line_to_the_head_and_the_page_leaves_it_out() -> None:
    about = document(name='A: "b"\nlicense: mit')
    text = front_matter(about, images=200_000, files=["x"])
    found = yaml.safe_load(text.strip("-\n"))
    assert found["pretty_name"] == 'A: "b" license: mit'
    assert found["license"] == "cc-by-sa-3.0"
    assert found["size_categories"] == ["100K<n<1M"]
    assert without_front_matter(text + "# T\n\n---\nrest") == "# T\n\n---\nrest"
    assert without_front_matter("no head\n---\n") == "no head\n---\n"


def test_the_features_of_a_shard_are_the_columns_of_the_manifest() -> None:
    found = yaml.safe_load("\n".join(hub_features(SCHEMA)))["features"]
    assert found[0] == {"name": "nii.gz", "dtype": "nifti"}
    told = {field["name"]: field["dtype"] for field in found[1]["struct"]}
    assert list(told) == SCHEMA.names
    assert (told["age"], told["attempt"], told["extrapolated"]) == ("float64", "int32", "bool")
