"""A virtual subject: one open anatomy deformed by chance, age and sex, every true volume known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import nibabel as nib
import numpy as np

from ldm.anatomy.mni152 import Anatomy, load_anatomy
from ldm.anatomy.virtual.scanner import CSF_GREY, GREY_WHITE, scanned, smooth_field
from ldm.contrasts import SUFFIXES, T1W
from ldm.covariates import Row
from ldm.volumes.grid import Grid
from ldm.volumes.resampling import centred_axes, rotation

BACKGROUND, CSF, GREY, WHITE, VENTRICLE = range(5)

# Normalised brain volume is grey + white matter, over the intracranial one, times this (mm3).
MEAN_INTRACRANIAL = 1_431_000.0

# A real head is smaller than the template: it is shrunk towards this point (MNI mm), which keeps
# the brain within the paper's field of view.
_PIVOT = (0.0, -16.0, 25.0)
_WALL_REACH = 14.0  # mm over which the push on the ventricles' wall dies out


class Subject(NamedTuple):
    """A virtual subject.

    Attributes:
        images: by suffix, brain only, uint8 on the grid.
        covariates: sex, age (year), ventricular_volume and brain_volume (mm3).
        labels: uint8 on the grid: 0 background, 1 fluid, 2 grey, 3 white, 4 lateral ventricles.
    """

    images: Mapping[str, nib.Nifti1Image]
    covariates: Row
    labels: nib.Nifti1Image

    @property
    def image(self) -> nib.Nifti1Image:
        """The T1w image."""
        return self.images[T1W]


class Plan(NamedTuple):
    """What a subject is meant to be, before the anatomy: volumes in mm3."""

    sex: str
    age: float
    intracranial: float
    ventricles: float
    tissue_share: float


def plan_subject(rng: np.random.Generator) -> Plan:
    """A subject's age, sex and volumes, tied as in healthy adults.

    Source: linear models of 148 healthy adults of 20-80 years (IXI, brain-development.org): log
    ventricular volume and the tissue's share of the head on age, its square, sex and head size;
    the residuals of the two correlate at -0.53.
    """
    sex = "F" if rng.random() < 0.53 else "M"
    male = float(sex == "M")
    age = 20 + 62 * rng.beta(0.9, 1.1)
    z_head, z_ventricle, z_own = rng.standard_normal(3)
    z_tissue = -0.53 * z_ventricle + np.sqrt(1 - 0.53**2) * z_own
    years = age - 46
    head = np.log(0.928 + 0.147 * male) - 0.001 * years + 0.085 * np.clip(z_head, -2.5, 2.5)
    ventricle = 9.478 + 0.01784 * years + 4.31e-4 * years**2 - 0.0045 * male + 1.418 * head
    ventricle += 0.41 * np.clip(z_ventricle, -2.5, 3.5)
    share = 0.8956 - 0.001255 * years - 3.41e-5 * years**2 - 0.0067 * male - 0.0038 * head
    share += 0.0143 * np.clip(z_tissue, -2.5, 2.5)
    return Plan(
        sex=sex,
        age=round(float(age), 2),
        intracranial=float(MEAN_INTRACRANIAL * np.exp(head)),
        ventricles=float(np.exp(ventricle)),
        tissue_share=float(np.clip(share, 0.75, 0.93)),
    )


def make_subject(
    seed: int | Sequence[int], grid: Grid, suffixes: Sequence[str] = (T1W,)
) -> Subject:
    """The virtual subject of a seed: the same person at every grid, and in every contrast.

    Args:
        seed: any non-negative integer or integers.
        grid: where the image is sampled, MNI space.
        suffixes: the contrasts to scan it with; an image does not depend on the others.

    Raises:
        LdmError: nilearn, which holds the anatomy, is not installed.
    """
    rng = np.random.default_rng(seed)
    plan = plan_subject(rng)
    shape_rng, tissue_rng, *scanner_rngs = rng.spawn(2 + len(SUFFIXES))
    anatomy = load_anatomy(grid.spacing)
    inside, points = _deformed(anatomy, plan, grid, shape_rng)
    labels, contrast = _tissues(anatomy, plan, grid, inside, points, tissue_rng)
    scanners = dict(zip(SUFFIXES, scanner_rngs, strict=True))
    brain = labels != BACKGROUND
    return Subject(
        images={
            suffix: _on_grid(scanned(contrast, brain, grid, scanners[suffix], suffix), grid)
            for suffix in suffixes
        },
        covariates={"sex": plan.sex, "age": plan.age, **true_volumes(labels, grid.voxel_volume)},
        labels=_on_grid(labels, grid),
    )


def true_volumes(labels: np.ndarray, voxel_volume: float) -> dict[str, float]:
    """Volumes in mm3 counted in a label map: lateral ventricles, and head-normalised brain."""
    counts = np.bincount(labels.ravel(), minlength=5) * voxel_volume
    share = (counts[GREY] + counts[WHITE]) / max(counts[1:].sum(), voxel_volume)
    return {
        "ventricular_volume": float(counts[VENTRICLE]),
        "brain_volume": float(round(share * MEAN_INTRACRANIAL)),
    }


def _deformed(
    anatomy: Anatomy, plan: Plan, grid: Grid, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels are brain, (X, Y, Z) bool, and where in the template they lie, (3, N) mm."""
    size = (plan.intracranial / anatomy.brain_volume) ** (1 / 3)
    aspect = np.exp(0.03 * rng.standard_normal(3))
    scales = size * aspect / aspect.prod() ** (1 / 3)
    turn = rotation(np.deg2rad(1.5) * rng.standard_normal(3))
    shift = 1.0 * rng.standard_normal(3)
    axes = centred_axes(grid.shape, grid.spacing)
    wobble = np.stack(
        [smooth_field(rng, axes, 36, 3.0) + smooth_field(rng, axes, 16, 1.3) for _ in range(3)]
    )
    puff = 1 + smooth_field(rng, axes, 30, 0.18)

    pivot = np.array(_PIVOT)
    move = np.array(grid.centre) - pivot - shift
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)  # mm from the grid's centre
    points = wobble
    for k, (to_x, to_y, to_z) in enumerate(turn / scales[:, None]):
        points[k] += to_x * (x + move[0]) + to_y * (y + move[1]) + to_z * (z + move[2]) + pivot[k]
    inside = anatomy.sample(anatomy.edge, points.reshape(3, -1)).reshape(grid.shape) < 0
    points = points[:, inside]

    shift_of_wall = anatomy.offset_for(plan.ventricles * anatomy.brain_volume / plan.intracranial)
    push = shift_of_wall * puff[inside]
    distance = anatomy.sample(anatomy.ventricles, points)
    strength = push * np.exp(-np.maximum(distance - push, 0) / _WALL_REACH)
    strength = np.minimum(strength, np.maximum(distance + 1.5, 0))  # never out the other side
    outward = np.stack([anatomy.sample(component, points) for component in anatomy.outward])
    return inside, points - strength * outward


def _tissues(
    anatomy: Anatomy,
    plan: Plan,
    grid: Grid,
    inside: np.ndarray,
    points: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The label map, (X, Y, Z) uint8, and the template's contrast there, float32.

    Chance moves the borders of the tissues, so that folds differ between subjects; then the
    border of the fluid is set where the tissue has the share of the head that was planned.
    """
    axes = centred_axes(grid.shape, grid.spacing)
    folds = smooth_field(rng, axes, 9, 0.05) + smooth_field(rng, axes, 24, 0.02)
    t1 = anatomy.sample(anatomy.t1, points)
    ventricle = anatomy.sample(anatomy.ventricles, points) < 0
    t1 = np.where(ventricle, t1, t1 + folds[inside])
    rest = t1[~ventricle]
    fluid = 1 - plan.tissue_share * len(t1) / max(1, len(rest))
    border = np.quantile(rest, np.clip(fluid, 0, 1)) if len(rest) else CSF_GREY
    # Slide the fluid's border onto its place; white matter stays where it is.
    weight = np.clip((GREY_WHITE - t1) / (GREY_WHITE - border), 0, 1)
    t1 = t1 + (CSF_GREY - border) * weight
    kinds = np.where(t1 < CSF_GREY, CSF, np.where(t1 < GREY_WHITE, GREY, WHITE))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[inside] = np.where(ventricle, VENTRICLE, kinds)
    contrast = np.zeros(grid.shape, dtype=np.float32)
    contrast[inside] = t1
    return labels, contrast


def _on_grid(voxels: np.ndarray, grid: Grid) -> nib.Nifti1Image:
    image = nib.Nifti1Image(voxels, grid.affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(grid.affine, code="mni")
    image.set_qform(grid.affine, code="mni")
    return image
