"""Which of a participant's images is used, and what is said about the choice."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_jobs.preparation.bids.images import find_images, natural, ranked, why_first
from tests.ray_jobs.line import head, write_image

Spec = tuple[tuple[int, int, int], tuple[float, float, float]]
WHOLE: Spec = ((18, 22, 18), (9.0, 9.0, 9.0))
FINE: Spec = ((36, 44, 36), (4.5, 4.5, 4.5))
SLAB: Spec = ((60, 60, 12), (3.0, 3.0, 5.5))  # 12 slices, of finer voxels than WHOLE's
THICK: Spec = ((80, 80, 30), (2.0, 2.0, 6.0))


def person(folder: Path, files: Mapping[str, Spec | bytes | str]) -> Path:
    """A participant's folder: images by shape and voxel size, files by content, links by target."""
    for name, made in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(made, bytes):
            path.write_bytes(made)
        elif isinstance(made, str):
            path.symlink_to(made)
        else:
            shape, sides = made
            image = nib.Nifti1Image(head(1, shape), np.diag([*sides, 1.0]))
            path.write_bytes(gzip.compress(image.to_bytes(), 1, mtime=0))
    return folder


def chosen(folder: Path, placement: str = "centre", pattern: str | None = None) -> tuple[str, str]:
    """The name of the image to use, and why it comes before the next."""
    ordered = ranked(find_images(folder, pattern).images, placement)
    return ordered[0].path.name, why_first(ordered, placement)


@pytest.mark.parametrize(
    ("best", "best_is", "other", "other_is", "why"),
    [
        ("acq-highres", WHOLE, "acq-fse", SLAB, "a whole head before a slab"),
        ("run-2", FINE, "ce-gadolinium_run-1", FINE, "plain before contrast-enhanced"),
        ("run-2", WHOLE, "ce-gd", FINE, "plain before contrast-enhanced"),
        ("run-2", WHOLE, "acq-postcontrast", FINE, "plain before contrast-enhanced"),
        ("ce-gadolinium", WHOLE, "acq-tse", SLAB, "a whole head before a slab"),
        ("run-2", WHOLE, "desc-preproc", FINE, "raw before desc-"),
        ("run-2", WHOLE, "space-MNI152NLin6Asym", FINE, "native space"),
        ("rec-RMS", WHOLE, "acq-me_echo-1", WHOLE, "combined before a single echo or inversion"),
        ("run-2", WHOLE, "inv-1", FINE, "combined before a single echo or inversion"),
        ("run-2", WHOLE, "part-phase", FINE, "combined before a single echo or inversion"),
        ("run-2", WHOLE, "acq-axial", THICK, "thin slices before thick ones"),
        ("acq-z", FINE, "acq-a", WHOLE, "higher resolution"),
        ("run-2", WHOLE, "acq-a_rec-b", WHOLE, "fewer entities in its name"),
        ("run-2", WHOLE, "run-10", WHOLE, "the first run"),
        ("run-02", WHOLE, "run-3", WHOLE, "the first run"),
        ("acq-a", WHOLE, "rec-a", WHOLE, "the first name"),
        ("acq-mprage9", WHOLE, "acq-mprage10", WHOLE, "the first name"),
    ],
)
def test_each_line_of_the_rule_decides(
    tmp_path: Path, best: str, best_is: Spec, other: str, other_is: Spec, why: str
) -> None:
    names = {f"sub-01_{kind}_T1w.nii.gz": is_ for kind, is_ in ((best, best_is), (other, other_is))}
    folder = person(tmp_path / "sub-01", {f"anat/{name}": is_ for name, is_ in names.items()})
    assert chosen(folder) == (f"sub-01_{best}_T1w.nii.gz", why)


def test_the_plainest_name_comes_first(tmp_path: Path) -> None:
    files = {f"anat/sub-01_{kind}T1w.nii.gz": WHOLE for kind in ("acq-a_", "", "rec-norm_")}
    assert chosen(person(tmp_path / "sub-01", files))[0] == "sub-01_T1w.nii.gz"


def test_placement_affine_wants_an_image_in_mni_space_and_the_others_a_native_one(
    tmp_path: Path,
) -> None:
    files = {
        f"anat/sub-01_{kind}T1w.nii.gz": WHOLE
        for kind in ("", "desc-preproc_", "space-MNI152NLin2009cAsym_desc-preproc_", "space-other_")
    }
    folder = person(tmp_path / "sub-01", files)
    mni = "sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w.nii.gz"
    assert chosen(folder, "affine") == (mni, "MNI space for --placement affine")
    for placement in ("centre", "register"):
        assert chosen(folder, placement)[0] == "sub-01_T1w.nii.gz"


def test_the_first_session_with_an_ordinary_image_is_used(tmp_path: Path) -> None:
    files: dict[str, Spec | bytes | str] = {
        f"ses-{label}/anat/sub-01_ses-{label}_T1w.nii.gz": spec
        for label, spec in (("10", FINE), ("2", WHOLE), ("1", SLAB), ("0", THICK))
    }
    folder = person(tmp_path / "sub-01", files)
    assert chosen(folder) == ("sub-01_ses-2_T1w.nii.gz", "the first session")


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("../../../.git/annex/objects/x/k.nii.gz", "its content is not here but in git-annex"),
        ("sub-01_ses-1_T1w.nii.gz", "a link that leads to itself"),
        ("nowhere", "a broken link (nothing is at nowhere)"),
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"/annex/objects/MD5E-s12--0.nii.gz\n", "its content is not here but in git-annex"),
        (b"an image, they said\n" * 40, "no NIfTI file"),
        (gzip.compress(np.random.default_rng(0).bytes(5000), mtime=0)[:40], "EOFError"),
    ],
)
def test_a_broken_session_does_not_lose_the_next_and_is_told(
    tmp_path: Path, broken: bytes | str, told: str
) -> None:
    files = {
        "ses-1/anat/sub-01_ses-1_T1w.nii.gz": broken,
        "ses-2/anat/sub-01_ses-2_T1w.nii.gz": WHOLE,
    }
    name, why = chosen(person(tmp_path / "sub-01", files))
    assert name == "sub-01_ses-2_T1w.nii.gz"
    assert why.startswith("what can be read; sub-01_ses-1_T1w.nii.gz: unreadable image (")
    assert told in why


def test_what_is_no_image_of_the_participant_is_passed_over(tmp_path: Path) -> None:
    folder = person(
        tmp_path / "sub-01",
        {
            "anat/._sub-01_T1w.nii.gz": b"\0\5\x16\7",
            "anat/.sub-01_T1w.nii.gz": WHOLE,
            "anat/sub-01_T1w.json": b"{}",
            "anat/sub-01_T2w.nii.gz": WHOLE,
            "anat/sub-02_T1w.nii.gz": WHOLE,
            "anat/derivatives/sub-01_T1w.nii.gz": WHOLE,
            "derivatives/anat/sub-01_T1w.nii.gz": WHOLE,
            "sourcedata/anat/sub-01_T1w.nii.gz": WHOLE,
            ".hidden/anat/sub-01_T1w.nii.gz": WHOLE,
            "func/sub-01_T1w.nii.gz": WHOLE,
            "ses-1/anat/sub-01_ses-2_T1w.nii.gz": WHOLE,
            "anat/sub-01_T1w.nii/inside.txt": b"",
            "anat/sub-01_UNIT1.nii.gz": WHOLE,
            "anat/sub-01_T1w_defaced.nii.gz": WHOLE,
        },
    )
    found = find_images(folder)
    assert found.images == ()
    assert found.instead == (
        "anat/sub-01_T1w.nii, a folder; anat/sub-01_T1w_defaced.nii.gz; anat/sub-01_UNIT1.nii.gz; "
        "anat/sub-02_T1w.nii.gz, named after sub-02; "
        "ses-1/anat/sub-01_ses-2_T1w.nii.gz, named after ses-2"
    )


def test_links_to_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    elsewhere = person(tmp_path / "store", {"anat/sub-01_ses-1_T1w.nii.gz": WHOLE})
    folder = tmp_path / "sub-01"
    folder.mkdir()
    (folder / "ses-1").symlink_to(elsewhere)
    (folder / "again").symlink_to(folder)
    (folder / "ses-2").symlink_to(tmp_path / "nowhere")
    [image] = find_images(folder).images
    assert (image.path.name, image.session) == ("sub-01_ses-1_T1w.nii.gz", "ses-1")


def test_a_name_may_be_in_capitals_and_a_dataset_lie_anywhere(tmp_path: Path) -> None:
    folder = person(
        tmp_path / "sub-99" / "ses-7" / "ds" / "sub-aB", {"anat/SUB-Ab_T1W.NII.GZ": WHOLE}
    )
    [image] = find_images(folder).images
    assert (image.path.name, image.session) == ("SUB-Ab_T1W.NII.GZ", None)


def test_nii_and_nii_gz_side_by_side_are_one_choice(tmp_path: Path) -> None:
    folder = person(tmp_path / "sub-01", {"anat/sub-01_T1w.nii.gz": WHOLE})
    write_image(folder / "anat" / "sub-01_T1w.nii", head(2))
    assert chosen(folder) == ("sub-01_T1w.nii", "the first name")


def test_a_pattern_leaves_out_other_names(tmp_path: Path) -> None:
    files = {f"anat/sub-01_{kind}_T1w.nii.gz": WHOLE for kind in ("acq-a", "acq-b", "rec-c")}
    folder = person(tmp_path / "sub-01", files)
    assert [i.path.name for i in find_images(folder, "*_rec-*").images] == [
        "sub-01_rec-c_T1w.nii.gz"
    ]
    found = find_images(folder, "*_acq-x_*")
    assert found.images == ()
    assert "anat/sub-01_acq-a_T1w.nii.gz, not *_acq-x_*" in found.instead


@pytest.mark.parametrize("name", ["T1w.img", "T1w.HDR", "T1w.mgz", "UNIT1.img.gz", "T1w.nrrd"])
def test_an_image_in_another_format_is_named_where_there_is_no_nifti(
    tmp_path: Path, name: str
) -> None:
    folder = person(tmp_path / "sub-01", {f"anat/sub-01_{name}": b"", "anat/sub-01_T1w.json": b""})
    found = find_images(folder)
    assert found.images == ()
    assert found.instead == f"anat/sub-01_{name}, expected .nii or .nii.gz"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_session_that_nobody_may_read_is_told_and_does_not_lose_the_next(tmp_path: Path) -> None:
    files = {f"ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz": WHOLE for n in (1, 2)}
    folder = person(tmp_path / "sub-01", files)
    (folder / "ses-1" / "anat").chmod(0)
    try:
        found = find_images(folder)
    finally:
        (folder / "ses-1" / "anat").chmod(0o755)
    assert [image.session for image in found.images] == ["ses-2"]
    assert found.instead == "sub-01/ses-1/anat: Permission denied"


def test_a_name_in_another_encoding_is_told(tmp_path: Path) -> None:
    folder = person(tmp_path / "sub-01", {"anat/sub-01_T1w.nii.gz": WHOLE})
    name = os.fsdecode("sub-01_acq-größe_T1w.nii.gz".encode("latin-1"))
    (folder / "anat" / name).write_bytes((folder / "anat" / "sub-01_T1w.nii.gz").read_bytes())
    found = find_images(folder)
    assert [image.path.name for image in found.images] == ["sub-01_T1w.nii.gz"]
    assert "not UTF-8" in found.instead
    found.instead.encode()


@given(
    label=st.text(st.characters(blacklist_categories=("Nd",))),
    one=st.integers(0, 10**6),
    other=st.integers(0, 10**6),
)
def test_numbers_in_names_count_as_numbers(label: str, one: int, other: int) -> None:
    names = (natural(f"{label}{one:03d}.nii"), natural(f"{label.upper()}{other}.nii"))
    if label.casefold() == label.upper().casefold():
        assert (names[0] < names[1]) == (one < other)
        assert (names[0] == names[1]) == (one == other)
