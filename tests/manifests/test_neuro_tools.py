"""A release in the tools that neuroimagers use: pybids indexes it, nilearn loads its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nilearn.image import load_img

from tests.manifests.releases import SHAPE, make_release, row

bids = pytest.importorskip("bids", reason="pybids is not installed")


def test_pybids_finds_images_metadata_and_covariates(tmp_path: Path) -> None:
    make_release(tmp_path, 5, failed=[3])
    layout = bids.BIDSLayout(tmp_path)
    images = layout.get(suffix="T1w", extension=".nii.gz")
    assert [image.entities["subject"] for image in images] == [
        "000000",
        "000001",
        "000002",
        "000004",
    ]
    assert all(image.get_metadata()["SyntheticData"] for image in images)
    (about,) = layout.get_collections(level="dataset")
    found = about.to_df().set_index("subject")
    for index in (0, 1, 2, 4):
        asked = row(index)
        told = found.loc[f"{index:06d}"]
        assert (told["sex"], told["age"]) == (asked["sex"], asked["age"])
    stack = load_img([image.path for image in images])
    assert stack.shape == (*SHAPE, 4)
    assert np.array_equal(stack.affine, np.diag([2.0, 2.0, 2.0, 1.0]))
