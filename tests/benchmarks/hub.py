"""What Hugging Face's `datasets` makes of a release, and of its shards: images with covariates.

    pip install datasets        # 4.4 or newer: it is none of brainpress's own
    python -m tests.benchmarks.hub --n 1000

A release of tiny images is made and published in a folder of its own, loaded by
`datasets.load_dataset` (its features, an image against nibabel's, a row against the manifest), and
so are its shards, whole and streamed. Printed are the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np

from manifests.publish.plan import PublishOptions
from manifests.publish.publication import publish
from manifests.query.release import Release
from manifests.volumes.shards import write_shards
from tests.manifests.releases import make_release


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    print(f"{what:<44} {time.perf_counter() - began:8.1f} s", flush=True)


def check(found: dict[str, Any], image: str, row: dict[str, Any], folder: Path) -> None:
    """One sample of `datasets` against nibabel and the manifest."""
    expected = nib.load(folder / row["path"])
    assert np.array_equal(found[image].get_fdata(), expected.get_fdata())
    assert np.array_equal(found[image].affine, expected.affine)
    told = found.get("json", found)
    for name in ("participant_id", "sex", "age", "ventricular_volume", "extrapolated"):
        assert told[name] == row[name], name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=1000, help="images (default: 1000)")
    parser.add_argument("--folder", type=Path, help="where (default: a temporary folder)")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="brainpress-hub-") as folder:
        run(args.n, args.folder or Path(folder))


def run(n: int, folder: Path) -> None:
    import datasets

    print(f"datasets {datasets.__version__}, {n:,} images")
    place, shards = folder / "release", folder / "shards"
    with timed("make and publish the release"):
        make_release(place, n, shard_size=max(4, n // 50))
        options = PublishOptions(license="CC-BY-4.0", date="2026-11-23", authors=("A Lab",))
        publish(Release.open(place), options)
    rows = Release.open(place).query()
    with timed("load_dataset of the release"):
        found = datasets.load_dataset(str(place), split="train", cache_dir=str(folder / "cache"))
    assert found.num_rows == n, found
    assert type(found.features["nifti"]).__name__ == "Nifti", found.features
    for index in (0, n // 2, n - 1):
        check(found[index], "nifti", rows.slice(index, 1).to_pylist()[0], place)
    with timed("first image of the release, streamed"):
        streamed = datasets.load_dataset(str(place), split="train", streaming=True)
        check(next(iter(streamed)), "nifti", rows.slice(0, 1).to_pylist()[0], place)
    with timed("make the shards"):
        write_shards(Release.open(place), shards, size=2 * 10**7)
    with timed("load_dataset of the shards"):
        found = datasets.load_dataset(str(shards), split="train", cache_dir=str(folder / "cache"))
    assert found.num_rows == n, found
    assert type(found.features["nii.gz"]).__name__ == "Nifti", found.features
    for index in (0, n - 1):
        sample = found[index]
        check(sample, "nii.gz", rows.slice(sample["json"]["index"], 1).to_pylist()[0], place)
    with timed("first image of the shards, streamed"):
        streamed = datasets.load_dataset(str(shards), split="train", streaming=True)
        sample = next(iter(streamed))
    check(sample, "nii.gz", rows.slice(sample["json"]["index"], 1).to_pylist()[0], place)
    print("every image and covariate that was compared is the manifest's")


if __name__ == "__main__":
    main()
