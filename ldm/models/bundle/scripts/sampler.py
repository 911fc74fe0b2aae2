"""Draws a volume with the two networks of this bundle: noise, conditioning, sampling, NIfTI.

MONAI has no component for the hybrid conditioning of Pinaya et al. 2022 (the covariates are both
constant input channels and the context of cross-attention). This file needs nothing of the program
that trained the networks, and gives the same volume as it does.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import Tensor, nn

LATENT, REFINE = 1, 8  # the first integer of a noise key: what the noise is for
MOST_SIGNAL = 0.2  # of the image, at the first call
LEVELS = 4095  # intensities 0..1 are stored as 12-bit integers


class Sampler:
    """Volumes of given covariates and seed.

    Args:
        autoencoder: MONAI's AutoencoderKL.
        denoiser: MONAI's DiffusionModelUNet.
        branch: of refiner.py beside this file, where the model has one: adds to what the denoiser
            says, on the latent's own voxels.
        refiner: of the same file, where the model has one: puts fine structure into the decoded
            volume, with `refiner_steps` calls.
        covariates: name, kind, minimum, maximum, levels and, where it is "one-hot", coding of
            each, in the network's order.
        schedule: steps, beta_start, beta_end, what the denoiser predicts: "epsilon", "v" or "x0" on
            the scaled-linear path, or "flow", and, where sampling ends early, at which step:
            truncation.
        latent_shape: channels and sides of the latent.
        affine: (4, 4), voxel indices to millimetres.
        latent_mean, latent_std: per channel; the denoiser sees (z - mean) / std.
        calibration: constant and weights, over all scaled covariates, of what the denoiser is told
            instead of what is asked; of those covariates where that differs.
        condition_mean, condition_std: the denoiser sees (c - mean) / std; empty: c itself.
        autoencoder_patch, denoiser_patch: sides of the space-to-depth steps around the networks.
        mirrored: whether the autoencoder's x axis runs from right to left.
        space: in which the millimetres are, as a NIfTI header says it: "mni", or "aligned" for
            heads that are centred and lie in no template's space.
        device: where to compute.
    """

    def __init__(
        self,
        *,
        autoencoder: nn.Module,
        denoiser: nn.Module,
        covariates: Sequence[Mapping[str, Any]],
        schedule: Mapping[str, Any],
        latent_shape: Sequence[int],
        affine: Sequence[Sequence[float]],
        latent_mean: Sequence[float],
        latent_std: Sequence[float],
        branch: nn.Module | None = None,
        refiner: nn.Module | None = None,
        refiner_steps: int = 1,
        calibration: Mapping[str, Mapping[str, Any]] | None = None,
        condition_mean: Sequence[float] = (),
        condition_std: Sequence[float] = (),
        autoencoder_patch: int = 1,
        denoiser_patch: int = 1,
        mirrored: bool = False,
        space: str = "mni",
        device: torch.device | str = "cpu",
    ) -> None:
        self.autoencoder: Any = _ready(autoencoder, device)
        self.denoiser: Any = _ready(denoiser, device)
        self.branch: Any = None if branch is None else _ready(branch, device)
        self.refiner: Any = None if refiner is None else _ready(refiner, device)
        self.refiner_steps = refiner_steps
        self.covariates = [dict(covariate) for covariate in covariates]
        self.schedule = dict(schedule)
        self.truncation = int(self.schedule.pop("truncation", 0))
        self.latent_shape = tuple(latent_shape)
        self.affine, self.space = np.array(affine), space
        self.latent_mean = _per_channel(latent_mean, device)
        self.latent_std = _per_channel(latent_std, device)
        self.calibration = dict(calibration or {})
        inputs = sum(len(inputs_of(covariate)) for covariate in self.covariates)
        self.condition_mean = torch.tensor(condition_mean or [0.0] * inputs)
        self.condition_std = torch.tensor(condition_std or [1.0] * inputs)
        self.autoencoder_patch = autoencoder_patch
        self.denoiser_patch = denoiser_patch
        self.mirrored = mirrored
        self.device = device

    def save(
        self, path: str | Path, values: Mapping[str, Any], key: Sequence[int], *, steps: int
    ) -> Path:
        """Draw one volume and write it as .nii.gz.

        Args:
            values: of every covariate, in its own unit.
            key: seed, index and attempt; all noise is a function of them.
            steps: calls of the denoiser.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        image = to_image(self.volume(values, key, steps=steps), self.affine, self.space)
        path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))
        print(f"wrote {path}")
        return path

    @torch.inference_mode()
    def volume(self, values: Mapping[str, Any], key: Sequence[int], *, steps: int) -> np.ndarray:
        """One volume (X, Y, Z) float32, RAS, not clipped."""
        latent = self.latent(values, key, steps=steps)
        latent = latent * self.latent_std + self.latent_mean
        volume = _from_cells(self.autoencoder.decode(latent), self.autoencoder_patch)
        if self.mirrored:
            volume, latent = volume.flip(2), latent.flip(2)
        if self.refiner is not None:
            shape = (8, *(side // 2 for side in volume.shape[2:]))
            drawn = torch.from_numpy(normal(shape, REFINE, *key))[None].to(self.device)
            volume = self.refiner.refine(volume, latent, drawn, self.refiner_steps)
        return np.asarray(volume[0, 0].float().cpu().numpy())

    @torch.inference_mode()
    def latent(self, values: Mapping[str, Any], key: Sequence[int], *, steps: int) -> Tensor:
        """The latent (1, C, x, y, z) that the denoiser arrives at, by DDIM without noise."""
        asked: dict[str, float] = {}
        for covariate in self.covariates:
            asked.update(coded(covariate, values[covariate["name"]]))
        conditions = torch.tensor([[self.told(name, asked) for name in asked]])
        conditions = ((conditions - self.condition_mean) / self.condition_std).to(self.device)
        signal, sigma = levels(**self.schedule)
        times = times_of(signal, steps, self.truncation)
        latent = torch.from_numpy(normal(self.latent_shape, LATENT, *key))[None].to(self.device)
        ends = [(float(signal[t]), float(sigma[t])) for t in times[1:]] + [(1.0, 0.0)]
        for t, (next_signal, next_sigma) in zip(times, ends, strict=True):
            predicted = self.predict(latent, t, conditions)
            here = float(signal[t]), float(sigma[t])
            image, noise = split(predicted, latent, *here, self.schedule["prediction"])
            latent = next_signal * image + next_sigma * noise  # Song et al. 2021 eq. 12, sigma 0
        return latent

    def told(self, name: str, asked: Mapping[str, float]) -> float:
        """What the denoiser is told at the input `name`, where `asked` is asked."""
        if name not in self.calibration:
            return asked[name]
        found = float(self.calibration[name]["constant"])
        for other, weight in self.calibration[name]["weights"].items():
            found += weight * asked[other]
        return found

    def predict(self, latent: Tensor, time: int, conditions: Tensor) -> Tensor:
        """What the denoiser says of a latent (1, C, x, y, z)."""
        cells = _to_cells(latent, self.denoiser_patch)
        maps = conditions[:, :, None, None, None].expand(-1, -1, *cells.shape[2:])
        inputs = torch.cat([cells, maps], dim=1).contiguous(memory_format=torch.channels_last_3d)
        times = torch.full((1,), time, dtype=torch.long, device=latent.device)
        output = self.denoiser(inputs, times, context=conditions[:, None, :])
        said = _from_cells(output, self.denoiser_patch)
        return said if self.branch is None else self.branch(latent, said, times)


def normal(shape: Sequence[int], *key: int) -> np.ndarray:
    """N(0, 1) of `shape`, float32, as a function of integers."""
    digest = hashlib.sha256(repr([int(k) for k in key]).encode()).digest()
    seeds = np.random.SeedSequence(int.from_bytes(digest))
    generator = np.random.Generator(np.random.Philox(seeds))
    return generator.standard_normal(tuple(shape), dtype=np.float32)


def levels(
    *, steps: int, beta_start: float, beta_end: float, prediction: str
) -> tuple[np.ndarray, np.ndarray]:
    """Signal and sigma of every training step: x_t = signal x_0 + sigma noise."""
    if prediction == "flow":
        time = (np.arange(steps) + 0.5) / steps
        return 1 - time, time
    betas = np.linspace(beta_start**0.5, beta_end**0.5, steps) ** 2
    kept = np.cumprod(1.0 - betas)
    return np.sqrt(kept), np.sqrt(1 - kept)


def times_of(signal: np.ndarray, steps: int, truncation: int) -> list[int]:
    """The time steps of so many calls, evenly spaced; they begin at the last one where noise alone
    would be no stand-in for what the first has of the image."""
    count = len(signal) - truncation
    if not 1 <= steps <= count:
        raise ValueError(f"{steps} steps: expected between 1 and {count}")
    times = [truncation + count * i // steps for i in reversed(range(steps))]
    if signal[times[0]] <= MOST_SIGNAL:
        return times
    if truncation and steps > 1:
        return [truncation + (count - 1) * i // (steps - 1) for i in reversed(range(steps))]
    return [len(signal) * i // steps - 1 for i in range(steps, 0, -1)]


def split(
    predicted: Tensor, latent: Tensor, signal: float, sigma: float, prediction: str
) -> tuple[Tensor, Tensor]:
    """The image and the noise that a prediction implies for a noisy latent."""
    if prediction == "epsilon":
        return (latent - sigma * predicted) / signal, predicted
    if prediction == "v":
        return signal * latent - sigma * predicted, signal * predicted + sigma * latent
    if prediction == "x0":
        return predicted, (latent - signal * predicted) / sigma
    if prediction == "flow":
        return latent - sigma * predicted, latent + signal * predicted
    raise ValueError(f"prediction {prediction!r}: expected epsilon, v, x0 or flow")


def inputs_of(covariate: Mapping[str, Any]) -> list[str]:
    """The denoiser's inputs for a covariate: its own name, or one for each level."""
    if covariate.get("coding") == "one-hot":
        return [f"{covariate['name']}={level}" for level in covariate["levels"]]
    return [str(covariate["name"])]


def coded(covariate: Mapping[str, Any], value: Any) -> dict[str, float]:
    """A value as the denoiser was trained on it, by input; one-hot, 1 at the value's level."""
    inputs = inputs_of(covariate)
    one = scaled(covariate, value)
    if covariate.get("coding") != "one-hot":
        return {inputs[0]: one}
    place = list(covariate["levels"]).index(str(value))
    return {name: float(number == place) for number, name in enumerate(inputs)}


def scaled(covariate: Mapping[str, Any], value: Any) -> float:
    """A value as one number: 0..1 over the range, or over the levels."""
    if covariate["kind"] == "categorical":
        names = list(covariate["levels"])
        if str(value) not in names:
            raise ValueError(f"{covariate['name']} is {value!r}: expected one of {names}")
        return names.index(str(value)) / (len(names) - 1)
    low, high = covariate["minimum"], covariate["maximum"]
    return float((float(value) - low) / (high - low))


def to_image(volume: np.ndarray, affine: np.ndarray, space: str = "mni") -> nib.Nifti1Image:
    """12-bit integers under a fixed slope of 1/4095, millimetres of `space`."""
    if not np.isfinite(volume).all():
        raise ValueError("the networks gave values that are not finite: no volume is written")
    stored = np.rint(np.clip(volume, 0, 1) * LEVELS).astype(np.int16)
    image = nib.Nifti1Image(stored, affine)
    header: Any = image.header
    header.set_xyzt_units("mm")
    header.set_sform(affine, code=space)
    header.set_qform(affine, code=space)
    header["cal_min"], header["cal_max"] = 0.0, 1.0
    header.set_slope_inter(1 / LEVELS, 0)
    return image


def _ready(network: nn.Module, device: torch.device | str) -> nn.Module:
    network = network.eval().requires_grad_(False).to(device)
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
    return network


def _per_channel(values: Sequence[float], device: torch.device | str) -> Tensor:
    return torch.tensor(values, device=device).view(1, -1, 1, 1, 1)


def _to_cells(latent: Tensor, side: int) -> Tensor:
    if side == 1:
        return latent
    return pixelunshuffle(latent, 3, side).contiguous(memory_format=torch.channels_last_3d)


def _from_cells(cells: Tensor, side: int) -> Tensor:
    return cells if side == 1 else pixelshuffle(cells, 3, side)
