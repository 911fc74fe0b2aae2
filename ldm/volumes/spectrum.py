"""How sharp a volume is and how it is textured: power and kurtosis by band of spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ldm.errors import LdmError

# Cycles a voxel, from the first on and below the second.
BANDS = ((0.10, 0.14), (0.14, 0.18), (0.18, 0.22), (0.22, 0.26), (0.26, 0.30), (0.30, 0.36),
         (0.36, 0.42), (0.42, 0.87))  # fmt: skip
# What power is told in units of: anatomy at large, without a coil's slow shading.
COARSE = (0.04, 0.10)
DIM = 0.2  # of the 99th percentile of intensities: what is darker is not the brain's outside
TAPER = 5.0  # voxels from the outline inwards over which the window rises from 0 to 1
INSIDE = 0.5  # of the window, from which on a voxel counts
_NOTHING = 1e-12  # of the coarse power: rounding


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Of one volume, by band of `BANDS`.

    Attributes:
        power: (B,) mean square of the intensities of the band, over that of `COARSE`.
        kurtosis: (B,) their excess kurtosis: 0 of Gaussian noise; above, fine structure lies in
            few places, such as along folds, and elsewhere is little.
    """

    power: np.ndarray
    kurtosis: np.ndarray


def names(figure: str) -> tuple[str, ...]:
    """`figure` in each band: `power_0.10_0.14`, ..."""
    return tuple(f"{figure}_{low:.2f}_{high:.2f}" for low, high in BANDS)


def spectrum(volume: np.ndarray, within: np.ndarray | None = None) -> Spectrum:
    """Power and excess kurtosis of band-passed intensities inside the brain.

    With w the window of `window` and m the mean of the volume v weighted by w, the Fourier
    transform of w (v - m) is kept where the distance from its origin, in cycles a voxel, lies in
    the band; y is what comes back. Power is the sum of y^2 over that of `COARSE`: a windowed
    periodogram, averaged over shells (Percival & Walden 1993, section 6.2). Kurtosis is that of the
    band's intensities y / w, where w is 1/2 or more: their fourth moment over the squared second,
    less 3, both about 0.

    The same for a v + b in place of v, a > 0 and b wherever the brain is, as long as the window
    stays; for mirror images; and for a brain elsewhere in the grid by whole voxels. Not for a
    change of anatomy's contrast at large: power tells fine structure for that much coarse one.

    Args:
        volume: (X, Y, Z), background dark; sides of any length.
        within: the window, of another volume of the same brain; by default the volume's own.

    Raises:
        LdmError: nothing in it, or not finite.
    """
    from scipy import fft

    seen = np.ascontiguousarray(volume, dtype=np.float32)
    weight = window(seen) if within is None else within
    inside = weight >= min(INSIDE, float(weight.max()))
    total = float(weight.sum(dtype=np.float64))
    middle = float((weight * seen).sum(dtype=np.float64)) / total
    transform = fft.rfftn(weight * (seen - np.float32(middle)))

    def moments(band: np.ndarray) -> tuple[float, float, float]:
        field = fft.irfftn(transform * band, s=seen.shape)
        square = np.square(field[inside] / weight[inside], dtype=np.float64)
        power = float(np.square(field).sum(dtype=np.float64))
        return power, float(square.mean()), float(np.square(square).mean())

    coarse, *bands = _bands(seen.shape)
    unit = max(moments(coarse)[0], _NOTHING)
    power, second, fourth = np.transpose([moments(band) for band in bands])
    least = _NOTHING * unit
    kurtosis = fourth / np.maximum(second, least / seen.size) ** 2 - 3
    return Spectrum(power=np.maximum(power, least) / unit, kurtosis=kurtosis)


def window(volume: np.ndarray) -> np.ndarray:
    """Where the brain is, (X, Y, Z) float32: 0 outside, 1 from `TAPER` voxels inside its outline
    on, sin^2 between, so that the outline leaves no fine structure of its own.

    The brain, or the head where it was not cut out of it, is the largest connected part brighter
    than `DIM` times the 99th percentile of intensities, with all that it encloses.

    Raises:
        LdmError: nothing in it, or not finite.
    """
    from scipy import ndimage

    if volume.ndim != 3 or not np.isfinite(volume).all():
        raise LdmError(f"a volume of shape {volume.shape}: expected three sides, finite numbers")
    bright = np.pad(volume > DIM * max(float(np.percentile(volume, 99)), 0.0), 1)
    parts, count = ndimage.label(bright)
    if count == 0:
        raise LdmError("an empty volume: no voxel is brighter than the rest")
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    around, _ = ndimage.label(parts != largest)
    depth = ndimage.distance_transform_edt(around != around[0, 0, 0])[1:-1, 1:-1, 1:-1]
    rise = np.sin(np.pi / 2 * np.clip(depth / TAPER, 0, 1)) ** 2
    return np.asarray(rise, dtype=np.float32)


@lru_cache(maxsize=2)
def _bands(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Which frequencies of a real transform lie in `COARSE`, and in each of `BANDS`."""
    axes = [np.fft.fftfreq(side) for side in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    return tuple((radius >= low) & (radius < high) for low, high in (COARSE, *BANDS))
