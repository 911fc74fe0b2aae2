"""The house: rooms that setuptools finds, that can be overlooked, and faces that import little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = ("ldm", "manifests", "ray_jobs")
MOST_MODULES = 12
# ldm/measuring: the cards of the shipped tools name its programs. ray_jobs: a script a verb.
LARGER = {"ldm/measuring": 13, "ray_jobs": 99}


def rooms() -> list[Path]:
    found = {path.parent for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    return sorted(found)


def name_of(room: Path) -> str:
    return room.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", rooms(), ids=name_of)
def test_a_room_is_a_package_and_can_be_overlooked(room: Path) -> None:
    modules = {path.name for path in room.glob("*.py")}
    assert "__init__.py" in modules, "setuptools leaves a folder without one out of the wheel"
    assert len(modules) - 1 <= LARGER.get(name_of(room), MOST_MODULES)


@pytest.mark.parametrize(
    ("statement", "left_out"),
    [
        ("import manifests", ("pyarrow", "boto3", "pandas", "nibabel")),
        ("import manifests.query, manifests.storage, manifests.volumes", ("pyarrow", "boto3")),
        ("from manifests import Release, Volumes, open_store", ("torch", "ray", "monai")),
        ("import ldm", ("torch", "monai", "scipy")),
        ("import ldm.volumes, ldm.diffusion", ("torch", "nibabel", "scipy")),
        ("from ldm.loading import describe; describe('demo')", ("torch", "monai")),
    ],
)
def test_a_face_imports_little(statement: str, left_out: tuple[str, ...]) -> None:
    program = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not set(left_out) & set(done.stdout.split())


def test_an_unknown_name_of_the_face_is_an_attribute_error() -> None:
    import manifests

    with pytest.raises(AttributeError, match="no attribute 'Realease'"):
        _ = manifests.Realease
    assert {"Release", "Volumes", "open_store", "ReleaseError"} <= set(dir(manifests))
