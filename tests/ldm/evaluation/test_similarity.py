"""MS-SSIM is MONAI's; 4-G-R-SSIM is its definitions', restated voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import MultiScaleSSIMMetric, SSIMMetric
from scipy.ndimage import gaussian_filter, sobel

from ldm.errors import LdmError
from ldm.evaluation import similarity
from ldm.evaluation.similarity import four_g_r_ssim, ms_ssim
from ldm.evaluation.statistics.windows import gaussian, gradient_magnitude

INDICES = [ms_ssim, four_g_r_ssim]


def blobs(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """A smooth random volume, 0..1 float32."""
    drawn = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 2)
    return ((drawn - drawn.min()) / np.ptp(drawn)).astype(np.float32)


def distorted(volume: np.ndarray, noise: float) -> np.ndarray:
    drawn = np.random.default_rng(9).standard_normal(volume.shape)
    return (volume + noise * drawn).astype(np.float32)


def test_ms_ssim_is_monais_where_monai_has_room_for_five_scales() -> None:
    a = blobs((48, 53, 50), 0)
    b = distorted(a, 0.1)
    metric = MultiScaleSSIMMetric(spatial_dims=3, kernel_size=3)
    wanted = float(metric(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]))
    assert similarity.scales_that_fit(a.shape, 3) == 5
    assert ms_ssim(a, b, kernel=3) == pytest.approx(wanted, abs=5e-5)
    assert 0.1 < wanted < 0.99


@pytest.mark.parametrize(
    ("shape", "scales"),
    [
        ((160, 224, 160), 5),
        ((112, 200, 200), 5),
        ((64, 80, 64), 4),
        ((14, 20, 20), 2),
        ((13, 20, 20), 1),
        ((6, 20, 20), 0),
    ],
)
def test_a_small_grid_gets_as_many_scales_as_monai_would_take(
    shape: tuple[int, ...], scales: int
) -> None:
    assert similarity.scales_that_fit(shape, 7) == scales


def test_on_a_small_grid_ms_ssim_is_monais_with_the_weights_that_are_left() -> None:
    a, b = blobs((64, 70, 66), 0), distorted(blobs((64, 70, 66), 0), 0.1)
    weights = np.array(similarity.SCALE_WEIGHTS[:4])
    metric = MultiScaleSSIMMetric(
        spatial_dims=3, kernel_size=7, weights=(weights / weights.sum()).tolist()
    )
    wanted = float(metric(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]))
    assert ms_ssim(a, b) == pytest.approx(wanted, abs=5e-5)


def test_on_a_grid_with_room_for_one_scale_it_is_plain_ssim() -> None:
    a = blobs((13, 15, 18), 0)
    b = distorted(a, 0.1)
    metric = SSIMMetric(spatial_dims=3, win_size=7)
    wanted = float(metric(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None]))
    assert similarity.scales_that_fit(a.shape) == 1
    assert ms_ssim(a, b) == pytest.approx(wanted, abs=5e-5)


def test_gradients_are_sobels_of_scipy_per_voxel_of_slope() -> None:
    volume = blobs((9, 10, 11), 3)
    wanted = np.sqrt(sum((sobel(volume.astype(float), axis) / 32) ** 2 for axis in range(3)))
    found = gradient_magnitude(torch.from_numpy(volume)[None])[0].numpy()
    np.testing.assert_allclose(found, wanted[1:-1, 1:-1, 1:-1], atol=1e-6)
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32) / 10, (8, 8, 8)).copy()
    np.testing.assert_allclose(gradient_magnitude(torch.from_numpy(ramp)[None]), 0.1, atol=1e-6)


def restated(reference: np.ndarray, other: np.ndarray, kernel: int = 5) -> float:
    """4-G-r*, from its definitions, one voxel after another, in float64."""
    p, q = (
        np.sqrt(sum((sobel(v.astype(float), axis) / 32) ** 2 for axis in range(3)))[
            1:-1, 1:-1, 1:-1
        ]
        for v in (reference, other)
    )
    taps = gaussian(kernel).double().numpy()
    window = taps[:, None, None] * taps[None, :, None] * taps[None, None, :]
    half, g = kernel // 2, p.max()
    found: dict[str, list[float]] = {}
    for x, y, z in np.ndindex(*(side - 2 * half for side in p.shape)):
        cube = (slice(x, x + kernel), slice(y, y + kernel), slice(z, z + kernel))
        mp, mq = (window * p[cube]).sum(), (window * q[cube]).sum()
        vp = (window * (p[cube] - mp) ** 2).sum()
        vq = (window * (q[cube] - mq) ** 2).sum()
        cov = (window * (p[cube] - mp) * (q[cube] - mq)).sum()
        flat = [v < (1 / 4095) ** 2 for v in (vp, vq)]
        s = float(all(flat)) if any(flat) else cov / np.sqrt(vp * vq)
        here, there = p[x + half, y + half, z + half], q[x + half, y + half, z + half]
        if here > 0.12 * g and there > 0.12 * g:
            region = "preserved"
        elif here > 0.12 * g or there > 0.12 * g:
            region = "changed"
        elif here < 0.06 * g:
            region = "smooth"
        else:
            region = "texture"
        found.setdefault(region, []).append(s)
    return float(np.mean([np.mean(values) for values in found.values()]))


def test_4_g_r_ssim_is_its_definition_restated_voxel_by_voxel() -> None:
    a, b = blobs((18, 17, 16), 0), blobs((18, 17, 16), 1)
    a[:, :, :7], b[:, :8, :7] = 0, 0  # flat in both, flat in one
    names = {name for name, (_, share) in similarity.components(a, b, kernel=5).items() if share}
    assert names == set(similarity.COMPONENTS)
    assert four_g_r_ssim(a, b, kernel=5) == pytest.approx(restated(a, b), abs=2e-4)
    assert four_g_r_ssim(b, a, kernel=5) == pytest.approx(restated(b, a), abs=2e-4)


@pytest.mark.parametrize("index", INDICES)
def test_a_volume_is_wholly_like_itself(index) -> None:  # type: ignore[no-untyped-def]
    a = blobs((32, 36, 30), 0)
    assert index(a, a) == pytest.approx(1, abs=1e-5)
    assert index(np.zeros_like(a), np.zeros_like(a)) == pytest.approx(1)


@pytest.mark.parametrize("index", INDICES)
def test_more_noise_is_less_alike(index) -> None:  # type: ignore[no-untyped-def]
    a = blobs((32, 36, 30), 0)
    found = [index(a, distorted(a, noise)) for noise in (0, 0.02, 0.05, 0.1, 0.2)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.8


@pytest.mark.parametrize("index", INDICES)
def test_more_blur_is_less_alike(index) -> None:  # type: ignore[no-untyped-def]
    a = distorted(blobs((32, 36, 30), 0), 0.1)
    found = [index(a, gaussian_filter(a, sigma)) for sigma in (0, 0.5, 0.8, 1.2, 2)]
    assert found == sorted(found, reverse=True)


def test_4_g_r_ssim_does_not_see_brightness_nor_contrast_of_the_other_volume() -> None:
    a, b = blobs((32, 36, 30), 0), distorted(blobs((32, 36, 30), 0), 0.05)
    regions = similarity.components(a, b)
    scaled = similarity.components(a, 0.9 * b + 0.08)
    brighter = similarity.components(a, b + 0.08)
    for name in similarity.COMPONENTS:
        assert brighter[name] == pytest.approx(regions[name], abs=1e-3, nan_ok=True)
    # contrast moves voxels between the regions, the structure term itself it does not see
    whole = [sum(v * s for v, s in r.values() if s) for r in (regions, scaled)]
    assert whole[0] == pytest.approx(whole[1], abs=1e-4)


def test_unrelated_noise_has_no_common_structure() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((32, 32, 32), dtype=np.float32) for _ in range(2))
    assert abs(four_g_r_ssim(a, b)) < 0.05


def test_a_batch_is_its_pairs_one_by_one() -> None:
    a = np.stack([blobs((30, 32, 28), seed) for seed in range(3)])
    b = np.stack([blobs((30, 32, 28), seed) for seed in (3, 4, 5)])
    b[0] = a[0]
    for batch, one in (
        (similarity.ms_ssim_batch, ms_ssim),
        (similarity.four_g_r_ssim_batch, four_g_r_ssim),
    ):
        found = batch(a, b).tolist()
        assert found == pytest.approx([one(x, y) for x, y in zip(a, b, strict=True)], abs=1e-5)


def test_pairs_are_different_and_a_longer_list_begins_with_the_shorter() -> None:
    pairs = similarity.draw_pairs(200, 1000, seed=4)
    assert len({frozenset(pair) for pair in pairs}) == 1000
    assert all(i != j and {i, j} <= set(range(200)) for i, j in pairs)
    assert similarity.draw_pairs(200, 100, seed=4) == pairs[:100]
    assert similarity.draw_pairs(200, 1000, seed=5) != pairs
    everyone = similarity.draw_pairs(6, 1000)
    assert {frozenset(pair) for pair in everyone} == {
        frozenset((i, j)) for i in range(6) for j in range(i)
    }


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((20, 20)), np.zeros((20, 20)), r"expected \(X, Y, Z\)"),
        (np.zeros((20, 20, 20)), np.zeros((20, 20, 21)), "on one grid"),
        (np.zeros((20, 20, 5)), np.zeros((20, 20, 5)), "no larger than the grid"),
        (np.zeros((20, 20, 20)), np.full((20, 20, 20), np.nan), "second volume: voxels"),
    ],
    ids=["flat", "grids", "small", "nan"],
)
def test_wrong_volumes_are_told_in_one_line(index, a, b, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(LdmError, match=message):
        index(a, b)
