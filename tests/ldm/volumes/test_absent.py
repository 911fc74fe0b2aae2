"""Files that stand for an image that is elsewhere: what they are, and how to get it."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ldm.errors import LdmError
from ldm.volumes.absent import why_absent
from ldm.volumes.nifti import open_nifti

NAME = "sub-01/anat/sub-01_T1w.nii.gz"
KEY = "MD5E-s1234--0123456789abcdef.nii.gz"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Where the image of a dataset under git lies."""
    (tmp_path / ".git").mkdir()
    path = tmp_path / NAME
    path.parent.mkdir(parents=True)
    return path


def why(path: Path) -> str:
    """Why a file cannot be opened, which is what `why_absent` says."""
    with pytest.raises(LdmError) as caught:
        open_nifti(path)
    told = why_absent(path)
    assert told is not None
    assert str(caught.value) == f"unreadable image ({told})"
    assert "\n" not in told
    return told


def test_a_link_into_git_annex_names_the_commands_that_get_it(image: Path, tmp_path: Path) -> None:
    image.symlink_to(f"../../.git/annex/objects/xx/yy/{KEY}/{KEY}")
    assert why(image) == (
        f"its content is not here but in git-annex: datalad get {NAME}, or git annex get {NAME}, "
        f"in {tmp_path}"
    )


@pytest.mark.parametrize(
    "text",
    [
        f"/annex/objects/{KEY}\n",  # unlocked
        f"../../.git/annex/objects/xx/yy/{KEY}/{KEY}",  # a link where there are no links
        f"..\\..\\.git\\annex\\objects\\xx\\yy\\{KEY}\\{KEY}",
    ],
)
def test_so_does_a_pointer_file(image: Path, text: str) -> None:
    image.write_text(text)
    assert f"git-annex: datalad get {NAME}, or git annex get {NAME}, in " in why(image)


def test_names_that_a_shell_would_split_are_quoted(tmp_path: Path) -> None:
    (tmp_path / "my data" / ".datalad").mkdir(parents=True)
    path = tmp_path / "my data" / "a b.nii.gz"
    path.symlink_to(f".git/annex/objects/{KEY}")
    assert "datalad get 'a b.nii.gz', or" in why(path)


def test_of_nested_datasets_the_one_that_has_the_file_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "sub-01"
    for place in (tmp_path, inner):
        (place / ".git").mkdir(parents=True)
    path = inner / "anat" / "sub-01_T1w.nii.gz"
    path.parent.mkdir()
    for up, root in (("../../", tmp_path), ("../", inner)):
        path.symlink_to(f"{up}.git/annex/objects/{KEY}")
        assert why(path).endswith(f"git annex get {path.relative_to(root)}, in {root}")
        path.unlink()


def test_a_git_lfs_pointer_names_its_command(image: Path, tmp_path: Path) -> None:
    image.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    assert why(image) == (
        f"a Git LFS pointer, its content is not here: git lfs pull --include {NAME}, in {tmp_path}"
    )


def test_empty_files_broken_links_and_loops_are_told(image: Path) -> None:
    image.touch()
    assert why(image) == "an empty file (0 bytes)"
    image.unlink()
    image.symlink_to("nowhere.nii.gz")
    assert why(image) == "a broken link (nothing is at nowhere.nii.gz)"
    image.unlink()
    image.symlink_to(image.name)
    assert why(image) == f"a link that leads to itself ({image.name})"


def test_an_image_is_read_by_its_content_not_its_name(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((8, 8, 8)).astype(np.float32)
    plain = nib.Nifti1Image(data, np.eye(4) * 12).to_bytes()
    for name, content in (
        ("packed.nii", gzip.compress(plain)),
        ("plain.nii.gz", plain),
        ("UPPER.NII.GZ", gzip.compress(plain)),
    ):
        (tmp_path / name).write_bytes(content)
        assert why_absent(tmp_path / name) is None
        np.testing.assert_array_equal(open_nifti(tmp_path / name).dataobj, data)
