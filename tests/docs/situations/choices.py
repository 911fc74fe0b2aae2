"""Which image of a participant is used: several of them, sessions, and names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.docs.situations.making import Make, nifti, persons, save, scanned
from tests.docs.situations.situation import Group, Situation
from tests.ray_jobs.line import image_path, people, write_participants


def _of(*names: str, **written: Callable[[], Any]) -> Make:
    """Images of sub-01 by what stands between `sub-01_` and `T1w`; `written` makes odd ones."""

    def make(folder: Path) -> None:
        persons(folder)
        for name in names:
            session = name.partition("_")[0] if name.startswith("ses-") else ""
            path = folder / "sub-01" / session / "anat" / f"sub-01_{name}T1w.nii.gz"
            save(path, written.get(name.partition("_")[0].replace("-", ""), nifti)())

    return make


def _slab() -> Any:
    """12 slices of 6 mm: 72 mm of the head."""
    return _thick().slicer[:, :, 18:30]


def _thick() -> Any:
    """Every third slice: 6 mm thick."""
    return nifti().slicer[:, :, ::3]


def _broken_first(folder: Path) -> None:
    _of("run-1_", "run-2_")(folder)
    (folder / "sub-01" / "anat" / "sub-01_run-1_T1w.nii.gz").write_bytes(b"")


def _sessions(folder: Path) -> None:
    _of("ses-01_", "ses-02_")(folder)
    row = people(1)["sub-01"]
    later = f"{row['age'] + 2:g}"
    (folder / "sub-01" / "sub-01_sessions.tsv").write_text(
        f"session_id\tage\nses-01\t{row['age']:g}\nses-02\t{later}\n"
    )


def _rows_by_session(folder: Path) -> None:
    _of("ses-01_", "ses-02_")(folder)
    row = people(1)["sub-01"]
    header = "\t".join(["participant_id", "session_id", *row])
    later = {**row, "age": row["age"] + 2}
    lines = [
        "\t".join(["sub-01", session, *map(str, cells.values())])
        for session, cells in (("ses-01", row), ("ses-02", later))
    ]
    (folder / "participants.tsv").write_text("\n".join([header, *lines, ""]))


def _named(folder_name: str, *in_table: str) -> Make:
    """One participant whose folder is called otherwise than in the table."""

    def make(folder: Path) -> None:
        write_participants(folder, {name: people(1)["sub-01"] for name in in_table})
        save(image_path(folder, folder_name))

    return make


def _strangers(folder: Path) -> None:
    persons(folder)
    scanned(folder, "sub-01", "sub-02")


def _absent(folder: Path) -> None:
    persons(folder, 2)
    scanned(folder, "sub-01")


def _only(name: str) -> Make:
    """One image of sub-01, of this name."""

    def make(folder: Path) -> None:
        persons(folder)
        save(folder / "sub-01" / "anat" / name)

    return make


GROUP = Group(
    title="Which image of a participant",
    about="The rule is in [which-image.md](which-image.md).",
    situations=(
        Situation(
            what="12 slices of an FSE before the whole head",
            make=_of("acq-fse_", "acq-mprage_", acqfse=_slab),
        ),
        Situation(what="thick slices before thin ones", make=_of("run-1_", "run-2_", run1=_thick)),
        Situation(what="contrast-enhanced before plain", make=_of("ce-gad_run-1_", "run-2_")),
        Situation(what="contrast-enhanced alone", make=_of("ce-gad_")),
        Situation(what="one inversion alone", make=_of("inv-1_")),
        Situation(what="in MNI space and native", make=_of("", "space-MNI152_")),
        Situation(
            what="in MNI space and native, affine",
            make=_of("", "space-MNI152_"),
            options=("--placement", "affine"),
        ),
        Situation(what="the first of two runs empty", make=_broken_first),
        Situation(what="two sessions", make=_sessions),
        Situation(what="two sessions, all", make=_sessions, options=("--session", "all")),
        Situation(what="two sessions, the second", make=_sessions, options=("--session", "02")),
        Situation(what="two sessions, the third", make=_sessions, options=("--session", "03")),
        Situation(what="two sessions, a row each in participants.tsv", make=_rows_by_session),
        Situation(
            what="two sessions, a row each, the second",
            make=_rows_by_session,
            options=("--session", "02"),
        ),
        Situation(
            what="a pattern that fits no image", make=_of(""), options=("--image", "*_acq-x_*")
        ),
        Situation(what="the suffix in capitals, `_T1W`", make=_only("sub-01_T1W.nii.gz")),
        Situation(what="T2w only", make=_only("sub-01_T2w.nii.gz")),
        Situation(what="named after another participant", make=_only("sub-02_T1w.nii.gz")),
        Situation(what="an id with a space", make=_named("sub-01 a", "sub-01 a")),
        Situation(what="sub-ab on disk, sub-AB in the table", make=_named("sub-ab", "sub-AB")),
        Situation(what="ids without `sub-` in the table", make=_named("sub-01", "01")),
        Situation(what="ids `1` in the table, `sub-01` on disk", make=_named("sub-01", "1")),
        Situation(
            what="ids `1` and `001` in the table, `sub-01` on disk",
            make=_named("sub-01", "1", "001"),
        ),
        Situation(
            what="ids `NDAR_INV7` in the table, `sub-NDARINV7` on disk",
            make=_named("sub-NDARINV7", "NDAR_INV7"),
        ),
        Situation(what="a folder that the table does not know", make=_strangers),
        Situation(what="a participant without a folder", make=_absent),
    ),
)
