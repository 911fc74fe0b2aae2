"""How many whole heads are told from brains, and how many brains are taken for heads.

    python -m tests.benchmarks.heads --heads HEADS --brains IXI DS002748

HEADS and the others are BIDS folders of whole heads and of brains alone. Every head is looked at in
18 ways of being stored, the first ten brains of each folder in ten ways of being spoilt, the rest
as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.processing import resample_to_output
from scipy import ndimage

from ldm.measuring.box import whole_head

Image = tuple[np.ndarray, np.ndarray]
Way = Callable[[Image], Image]
SPOILT = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=Path, nargs="*", default=[])
    parser.add_argument("--brains", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    for folder in args.heads:
        ways = (way(image) for image in read(folder) for _, way in WAYS)
        tell(f"heads of {folder.name} in {len(WAYS)} ways", ways)
    for folder in args.brains:
        tell(f"brains of {folder.name}", read(folder))
        first = islice(read(folder), SPOILT)
        ways = (way(image) for image in first for way in SPOILING.values())
        tell(f"brains of {folder.name}, {SPOILT} of them in {len(SPOILING)} ways", ways)


def read(folder: Path) -> Iterator[Image]:
    for path in sorted(folder.glob("sub-*/**/*_T1w.nii*")):
        image = nib.as_closest_canonical(nib.load(path))
        yield np.asarray(image.dataobj, dtype=np.float32), image.affine


def tell(what: str, images: Iterable[Image]) -> None:
    whys = [whole_head(*image) for image in images]
    print(f"{what}: {sum(map(bool, whys))} of {len(whys)} taken for heads", flush=True)
    for why in sorted({why for why in whys if why}) if what.startswith("brains") else ():
        print(f"  {why}")


def sized(image: Image, side: float) -> Image:
    found = resample_to_output(nib.Nifti1Image(*image), side, order=1)
    return np.asarray(found.dataobj), found.affine


def below(image: Image, millimetres: float) -> Image:
    """Without so much of it at the bottom, which is then black."""
    data, affine = image
    kept = data.copy()
    kept[:, :, : int(millimetres / np.linalg.norm(affine[:3, 2]))] = data.min()
    return kept, affine


def padded(image: Image, voxels: int) -> Image:
    data, affine = image
    moved = affine.copy()
    moved[:3, 3] -= affine[:3, :3] @ np.full(3, float(voxels))
    return np.pad(data, voxels, constant_values=data.min()), moved


def biased(image: Image, axis: int) -> Image:
    data, affine = image
    shape = [-1 if place == axis else 1 for place in range(3)]
    return data * np.linspace(0.5, 1.5, data.shape[axis]).reshape(shape), affine


STORED: dict[str, Way] = {
    "as it is": lambda image: image,
    "cut 40 mm up": lambda image: below(image, 40),
    "dim": lambda image: (np.sqrt(np.maximum(image[0], 0)), image[1]),
    "bright": lambda image: (image[0] ** 1.5, image[1]),
    "biased": lambda image: biased(image, 1),
    "padded": lambda image: padded(image, 12),
}
WAYS: list[tuple[str, Way]] = [
    (f"{name}, {side} mm", lambda image, way=way, side=side: way(sized(image, side)))  # type: ignore[misc]
    for (name, way), side in product(STORED.items(), (1.0, 2.0, 3.0))
]


def noisy(image: Image) -> Image:
    """Within the brain: what is cut away around one is black."""
    data, affine = image
    level = 0.05 * float(np.percentile(data, 99.5))
    noise = level * np.random.default_rng(0).standard_normal(data.shape)
    return np.where(data > 0, np.abs(data + noise), 0), affine


def tilted(image: Image, degrees: float) -> Image:
    turned = ndimage.rotate(image[0], degrees, axes=(1, 2), reshape=True, order=1)
    return turned, image[1]


SPOILING: dict[str, Way] = {
    "noise": noisy,
    "bias, back to front": lambda image: biased(image, 1),
    "bias, down to up": lambda image: biased(image, 2),
    "gamma 0.5": lambda image: (np.sqrt(np.maximum(image[0], 0)), image[1]),
    "gamma 2": lambda image: (image[0] ** 2, image[1]),
    "3 mm": lambda image: sized(image, 3.0),
    "blurred": lambda image: (ndimage.gaussian_filter(image[0], 1.0), image[1]),
    "tilted 30 degrees": lambda image: tilted(image, 30),
    "tilted -30 degrees": lambda image: tilted(image, -30),
    "padded": lambda image: padded(image, 12),
}


if __name__ == "__main__":
    main()
