"""How alike two volumes are: multi-scale SSIM and four-component gradient r-SSIM (Table 1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ldm import noise
from ldm.errors import LdmError
from ldm.evaluation.statistics.windows import gradient_magnitude, moments

Volumes = np.ndarray | Tensor

# Wang, Simoncelli & Bovik 2003 (Asilomar), section 3.2: exponents of the five scales.
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2  # Wang et al. 2004, eq. 7, for intensities 0..1

# Li & Bovik 2010: edges and smooth regions, as shares of the reference's largest gradient.
EDGE, SMOOTH = 0.12, 0.06
COMPONENTS = ("preserved edges", "changed edges", "textures", "smooth regions")
R_KERNEL = 11  # Wang et al. 2004: the window of SSIM, kept by Rouse & Hemami and by Li & Bovik
# A standard deviation below one level of a 12-bit volume is none.
_FLAT = (1 / 4095) ** 2


def scales_that_fit(shape: tuple[int, ...], kernel: int = 7) -> int:
    """How many of the five scales a grid has room for; 0 where the kernel itself does not fit.

    By MONAI's rule, side // (S - 1)^2 at least the kernel at S scales, which at four and five is
    stricter than the coarsest grid, side // 2^(S - 1): 112 voxels for five scales of kernel 7.
    """
    side = min(shape)
    coarsest = {s: side // max(2 ** (s - 1), (s - 1) ** 2) for s in range(1, 6)}
    return max((s for s, voxels in coarsest.items() if voxels >= kernel), default=0)


def ms_ssim(a: Volumes, b: Volumes, *, kernel: int = 7) -> float:
    """Multi-scale SSIM of two volumes (X, Y, Z) of intensities 0..1; see `ms_ssim_batch`."""
    return float(ms_ssim_batch(_one(a), _one(b), kernel=kernel)[0])


def ms_ssim_batch(a: Volumes, b: Volumes, *, kernel: int = 7) -> Tensor:
    """Multi-scale SSIM of pairs of volumes, as MONAI's `MultiScaleSSIMMetric` computes it.

    Source: Wang, Simoncelli & Bovik 2003, eq. 7, in 3D: contrast-structure at each scale and, at
    the coarsest, luminance too; means over the volume, negative ones as 0; scales by averages of
    2 x 2 x 2. Window: Gaussian, standard deviation 1.5 voxels, K = 0.01 and 0.03, range 1, which
    are MONAI's defaults. The paper's author used kernel 7; whether the rest was left at its
    default is not established.

    A grid without room for five scales (`scales_that_fit`) gets fewer, their weights divided by
    their sum: on 64 x 80 x 64 four. Such a figure compares only with others on the same grid,
    never with the paper's.

    Args:
        a, b: (B, X, Y, Z), intensities 0..1.
        kernel: odd side of the window, voxels.

    Returns:
        (B,) float32, 0..1, on the volumes' device.

    Raises:
        LdmError: shapes that differ or are no volumes, values that are not finite, an even
            kernel, or a grid smaller than it.
    """
    one, other = _pairs(a, b, kernel)
    scales = scales_that_fit(tuple(one.shape[1:]), kernel)
    weights = np.array(SCALE_WEIGHTS[:scales]) / sum(SCALE_WEIGHTS[:scales])
    result = torch.ones(len(one), device=one.device)
    for scale, weight in enumerate(weights):
        if scale:
            one, other = (F.avg_pool3d(x[:, None], 2)[:, 0] for x in (one, other))
        m = moments(one, other, kernel)
        found = (2 * m.covariance + _C2) / (m.variance_a + m.variance_b + _C2)
        if scale == scales - 1:
            found = found * (2 * m.mean_a * m.mean_b + _C1)
            found = found / (m.mean_a**2 + m.mean_b**2 + _C1)
        result = result * found.mean((1, 2, 3)).clamp(min=0) ** float(weight)
    return result


def four_g_r_ssim(reference: Volumes, other: Volumes, *, kernel: int = R_KERNEL) -> float:
    """4-G-R-SSIM of two volumes (X, Y, Z) of intensities 0..1; see `four_g_r_ssim_batch`."""
    return float(four_g_r_ssim_batch(_one(reference), _one(other), kernel=kernel)[0])


def four_g_r_ssim_batch(reference: Volumes, other: Volumes, *, kernel: int = R_KERNEL) -> Tensor:
    """Four-component, gradient-based, structural similarity of pairs of volumes.

    The index 4-G-r* of the family of Renieblas et al. 2017 (J. Med. Imaging 4:035501), made of:

    - G: both volumes are replaced by their gradient magnitudes (Chen, Yang & Xie 2006, ICIP), by
      Sobel's operator, here in 3D.
    - r*: at every voxel the structure term alone and with no constants (Rouse & Hemami 2008,
      ICIP), s = cov(p, q) / sqrt(var p var q) in a Gaussian window (side `kernel`, standard
      deviation 1.5); 1 where both variances are zero, 0 where one is. It may be negative.
    - 4: the mean of s within each of four regions (Li & Bovik 2010, Signal Process. Image Commun.
      25:517), by the gradients p of the reference and q of the other and g = max p of the
      reference: preserved edges (p and q above 0.12 g), changed edges (one of them above), smooth
      regions (p below 0.06 g, q not above 0.12 g), textures (the rest). Weights 0.25 each.

    Ours, where the sources are silent or 2D: a variance below one level of a 12-bit volume,
    (1 / 4095)^2, counts as zero; the means take only voxels at which the window fits; a region
    without voxels is left out and the others weigh alike (a volume against itself has no changed
    edges, and gives 1). Not symmetric: g and the regions are the reference's. Which window the
    paper's authors used, and in 2D or 3D, is not established; compare with their figures through
    real against real only.

    Args:
        reference, other: (B, X, Y, Z), intensities 0..1.
        kernel: odd side of the window, voxels.

    Returns:
        (B,) float32, -1..1, on the volumes' device.

    Raises:
        LdmError: as `ms_ssim_batch`.
    """
    regions, s = _regions_and_structure(reference, other, kernel)
    inside = s.flatten(1)
    total, present = torch.zeros(len(s), device=s.device), torch.zeros(len(s), device=s.device)
    for region in regions:
        mask = region.flatten(1)
        count = mask.sum(1)
        total += (inside * mask).sum(1) / count.clamp(min=1)
        present += (count > 0).float()
    return total / present


def components(
    reference: Volumes, other: Volumes, *, kernel: int = R_KERNEL
) -> dict[str, tuple[float, float]]:
    """Of one pair (X, Y, Z): by region its mean r* (NaN where empty) and its share of voxels."""
    regions, s = _regions_and_structure(_one(reference), _one(other), kernel)
    return {
        name: (float(s[mask].mean()), float(mask.float().mean()))
        for name, mask in zip(COMPONENTS, regions, strict=True)
    }


def _regions_and_structure(
    reference: Volumes, other: Volumes, kernel: int
) -> tuple[tuple[Tensor, ...], Tensor]:
    a, b = _pairs(reference, other, kernel + 2)
    p, q = gradient_magnitude(a), gradient_magnitude(b)
    m = moments(p, q, kernel)
    flat_p, flat_q = m.variance_a < _FLAT, m.variance_b < _FLAT
    spread = (m.variance_a.clamp(min=_FLAT) * m.variance_b.clamp(min=_FLAT)).sqrt()
    s = (m.covariance / spread).clamp(-1, 1)
    s = torch.where(flat_p | flat_q, (flat_p & flat_q).to(s), s)

    largest = p.flatten(1).amax(1).view(-1, 1, 1, 1)
    cut = (slice(None), *[slice(kernel // 2, side - kernel // 2) for side in p.shape[1:]])
    p, q = p[cut], q[cut]
    edge_p, edge_q = p > EDGE * largest, q > EDGE * largest
    smooth = (p < SMOOTH * largest) & ~edge_q
    preserved, changed = edge_p & edge_q, edge_p ^ edge_q
    return (preserved, changed, ~(preserved | changed | smooth), smooth), s


def draw_pairs(n: int, count: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """`count` different pairs (i, j), i != j, of `n` volumes, or all n (n - 1) / 2 where fewer.

    Each unordered pair occurs once, in an order drawn by chance; the paper's figures are means
    over 1,000 pairs. A larger `count` begins with the same pairs.

    Raises:
        LdmError: fewer than two volumes, or no pair asked for.
    """
    if n < 2 or count < 1:
        raise LdmError(f"{count} pairs of {n} volumes: expected 1 or more, of at least 2")
    rng = noise.generator(noise.EVALUATION, seed, n)
    everything = n * (n - 1) // 2
    if count >= everything or everything <= 4 * count:
        chosen = rng.permutation(everything)[:count].tolist()
    else:
        seen: dict[int, None] = {}
        while len(seen) < count:
            seen.setdefault(int(rng.integers(everything)))
        chosen = list(seen)
    turned = noise.generator(noise.EVALUATION, seed, n, 1).integers(2, size=len(chosen))
    pairs = (_pair(rank) for rank in chosen)
    return [(j, i) if turn else (i, j) for (i, j), turn in zip(pairs, turned, strict=True)]


def _pair(rank: int) -> tuple[int, int]:
    """The pair i < j of that rank, counted (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    j = int((1 + np.sqrt(1 + 8 * rank)) // 2)
    return rank - j * (j - 1) // 2, j


def _one(volume: Volumes) -> Tensor:
    found = torch.as_tensor(volume)
    if found.ndim != 3:
        raise LdmError(f"volume of shape {tuple(found.shape)}: expected (X, Y, Z)")
    return found[None]


def _pairs(a: Volumes, b: Volumes, window: int) -> tuple[Tensor, Tensor]:
    one, other = (torch.as_tensor(x).to(torch.float32) for x in (a, b))
    if one.shape != other.shape or one.ndim != 4:
        raise LdmError(
            f"volumes of shapes {tuple(one.shape)} and {tuple(other.shape)}: "
            "expected both (B, X, Y, Z), on one grid"
        )
    if window % 2 == 0 or window < 3 or min(one.shape[1:]) < window:
        raise LdmError(
            f"grid {tuple(one.shape[1:])} under a window of {window}: expected an odd window of "
            "3 or more, no larger than the grid"
        )
    for name, found in (("first", one), ("second", other)):
        if not bool(torch.isfinite(found).all()):
            raise LdmError(f"{name} volume: voxels that are not finite numbers")
    return one, other
