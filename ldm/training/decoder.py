"""Training the refiner of a finished model on the images its denoiser leaves: samples, loss,
validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool3d

from ldm import noise
from ldm.diffusion.samplers import image_of, target
from ldm.diffusion.schedule import Schedule
from ldm.networks import Autoencoder, Denoiser, RefinerConfig
from ldm.networks.layout import Placed
from ldm.networks.refiner import BANDS, Refiner, noise_shape, to_cells
from ldm.training.autoencoder import KURTOSIS, POWER, augment, fidelity, texture
from ldm.training.config import TrainingConfig
from ldm.volumes.conversion import read_volume
from ldm.volumes.spectrum import Spectrum, spectrum

# Between which shares of the time step of truncation a person's noise level is drawn, mostly later:
# what a sampler arrives with is blurrier than people's images of the same step, and a refiner that
# saw several levels puts in what each lacks (conditioning augmentation, Ho et al. 2022 section 4).
LEVELS = (0.88, 1.68)
# Times of the refiner's own noise are logit-normal (Esser et al. 2024), a little towards noise.
TIME_MEAN, TIME_STD = 0.2, 1.0
BRAIN = 0.15  # intensity from which a cell is brain; so are its neighbours
OUTSIDE = 0.1  # weight of the loss there
FITTED_VOLUMES = 32  # from which the deviations of the bands are taken
DRAWN_POWER, DRAWN_KURTOSIS = (tuple(f"drawn_{n}" for n in names) for names in (POWER, KURTOSIS))
FIGURES = ("loss", "l1", "psnr", "ssim", *POWER, *KURTOSIS, *DRAWN_POWER, *DRAWN_KURTOSIS)
# Times at which held-out people's loss is taken.
VALIDATION_TIMES = (0.2, 0.4, 0.6, 0.8)


class Blurred(NamedTuple):
    """What a model has before its refiner: the decoded volume (B, 1, X, Y, Z), and its latent
    (B, C, x, y, z) in the autoencoder's scale."""

    volume: Tensor
    latent: Tensor


class Denoised:
    """What a frozen model's autoencoder and denoiser make of a volume: the image that the denoiser
    sees in its noisy latent, decoded.

    Args:
        schedule: truncated at the time step of which the noise's are shares, within `LEVELS`.
        latent_mean, latent_std: (C,); the denoiser sees (z - mean) / std.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        denoiser: Denoiser,
        schedule: Schedule,
        latent_mean: Sequence[float],
        latent_std: Sequence[float],
    ) -> None:
        self.schedule = schedule
        self._config = autoencoder.config
        self._autoencoder, self._denoiser = Placed(autoencoder), Placed(denoiser)
        self._mean, self._std = (
            torch.tensor(v).view(1, -1, 1, 1, 1) for v in (latent_mean, latent_std)
        )

    @torch.no_grad()
    def blurred(self, samples: dict[str, Tensor]) -> Blurred:
        """Of `volume`, `noise`, `time`, `conditions` and `guidance` (B,)."""
        return self.decoded(self(samples))

    @torch.no_grad()
    def decoded(self, latent: Tensor) -> Blurred:
        """Of latents in the autoencoder's scale."""
        return Blurred(self._autoencoder.on(latent).decode(latent).float(), latent)

    def latent_shape(self, volume: tuple[int, ...]) -> tuple[int, ...]:
        """(C, x, y, z) of a volume's (X, Y, Z)."""
        factor = self._config.factor
        return (self._config.latent_channels, *(side // factor for side in volume))

    @classmethod
    def of(cls, model: Any, schedule: Schedule) -> Denoised:
        """Of a loaded `ldm.models.latent_diffusion.Model`."""
        told = model.description
        return cls(model.autoencoder, model.denoiser, schedule, told.latent_mean, told.latent_std)

    @torch.no_grad()
    def __call__(self, samples: dict[str, Tensor]) -> Tensor:
        """In the autoencoder's scale, (B, C, x, y, z), of `volume`, `noise`, `time`, `conditions`
        and `guidance` (B,)."""
        volume = samples["volume"]
        mean, std = self._mean.to(volume.device), self._std.to(volume.device)
        latent = (self._autoencoder.on(volume).encode(volume)[0].float() - mean) / std
        noisy, _ = target(latent, samples["noise"], samples["time"], self.schedule)
        denoiser, given = self._denoiser.on(volume), (samples["time"], samples["conditions"])
        found = denoiser(noisy, *given).float()
        weight = samples["guidance"].view(-1, 1, 1, 1, 1)
        if (weight != 1).any():
            everywhere = torch.ones(len(noisy), dtype=torch.bool, device=noisy.device)
            without = denoiser(noisy, *given, everywhere).float()
            found = without + weight * (found - without)  # Ho & Salimans 2022 eq. 6
        return image_of(found, noisy, samples["time"], self.schedule) * std + mean


class DecoderTask:
    """Put in what the decoded image of the denoiser lacks: cascaded diffusion (Ho et al. 2022),
    conditioned on images that sampling ends on, as it ends early (truncated diffusion, Zheng et al.
    2023).

    The refiner is told a person's volume without its fine structure, decoded of the denoiser's
    image at a noise level within `LEVELS`, and learns the velocity from the rest to noise (flow
    matching, Lipman et al. 2023 eq. 23).

    Args:
        paths: prepared volumes, `.npy`.
        conditions: (N, K), what the denoiser is told of each.
        guidance: the model's own; a sample's lies between it and 1.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        conditions: np.ndarray,
        denoised: Denoised,
        config: TrainingConfig,
        guidance: float = 1.0,
    ) -> None:
        self.paths = list(paths)
        self.count = len(self.paths)
        self.conditions = np.asarray(conditions, dtype=np.float32)
        self.denoised, self.config, self.guidance = denoised, config, guidance

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), flipped and shifted at random, `noise` of latent shape, `time`,
        `guidance` (B,), `conditions` (B, K), and the refiner's `rest_noise` (B, 8, x, y, z) and
        `rest_time` (B,)."""
        rows = []
        for index, position in zip(indices, positions, strict=True):
            rng = noise.generator(noise.AUGMENT, self.config.seed, step, position)
            volume = augment(read_volume(self.paths[index]), rng)
            shape = self.denoised.latent_shape(volume.shape)
            row = noisy_row(volume, self.conditions[index], self.denoised.schedule, shape, rng)
            row["guidance"] = np.array(1 + (self.guidance - 1) * rng.random(), dtype=np.float32)
            time = 1 / (1 + math.exp(-(TIME_MEAN + TIME_STD * rng.standard_normal())))
            row["rest_time"] = np.array(time, dtype=np.float32)
            row["rest_noise"] = rng.standard_normal(noise_shape(volume.shape), np.float32)
            rows.append(row)
        return collated(rows)

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The squared error of the velocity, less outside of the brain."""
        refiner: Any = getattr(model, "module", model)
        given = self.denoised.blurred(samples)
        found = velocity_loss(
            model, refiner, samples["volume"], given, samples["rest_time"], samples["rest_noise"]
        )
        return found, {"velocity": found}


def velocity_loss(
    predict: nn.Module,
    refiner: Refiner,
    volume: Tensor,
    blurred: Blurred,
    time: Tensor,
    drawn: Tensor,
) -> Tensor:
    """Mean squared error of u = noise - rest at rest + time u, `OUTSIDE` of the brain at a tenth.

    Args:
        predict: the refiner, or what wraps it.
        volume: (B, 1, X, Y, Z) as it is.
        time: (B,). drawn: N(0, 1), (B, 8, x, y, z).
    """
    cells = to_cells(blurred.volume)
    rest = to_cells(volume - blurred.volume) / refiner.rest_std
    latent = (blurred.latent - refiner.latent_mean) / refiner.latent_std
    velocity = drawn - rest
    noisy = rest + time.view(-1, 1, 1, 1, 1) * velocity
    found = predict(noisy, time, cells / refiner.blurred_std, latent).float()
    weight = OUTSIDE + (1 - OUTSIDE) * brain(cells)
    return ((found - velocity).pow(2) * weight).sum() / (BANDS * weight.sum())


def brain(cells: Tensor) -> Tensor:
    """(B, 1, x, y, z): 1 in the brain of Haar cells (B, 8, x, y, z) and beside it, else 0."""
    return max_pool3d((cells[:, :1] > BRAIN * BANDS**0.5).float(), 3, stride=1, padding=1)


def new_refiner(
    config: RefinerConfig,
    autoencoder: Autoencoder,
    latent_mean: Sequence[float],
    latent_std: Sequence[float],
) -> Refiner:
    """An untrained one for the latents of an autoencoder."""
    refiner = config.build(autoencoder.config.latent_channels)
    refiner.standardise(latent_mean=latent_mean, latent_std=latent_std)
    return refiner


@torch.no_grad()
def fit_bands(
    refiner: Refiner,
    paths: Sequence[Path],
    conditions: np.ndarray,
    denoised: Denoised,
    device: torch.device,
) -> None:
    """Take the deviations of the cells' bands, in the brain, from some of the volumes."""
    sums, count = torch.zeros(2, BANDS), 0.0
    for key in range(0, len(paths), max(1, len(paths) // FITTED_VOLUMES)):
        volume, blurred = fixed(read_volume(paths[key]), conditions[key], denoised, key, device)
        cells = to_cells(blurred.volume)
        inside = brain(cells)
        for place, one in enumerate((to_cells(volume - blurred.volume), cells)):
            sums[place] += (one.pow(2) * inside).sum(dim=(0, 2, 3, 4)).cpu()
        count += float(inside.sum())
    rest, decoded = (sums / max(count, 1.0)).sqrt().clamp(min=1e-6).tolist()
    refiner.standardise(rest_std=rest, blurred_std=decoded)


def noisy_row(
    volume: np.ndarray,
    conditions: np.ndarray,
    schedule: Schedule,
    latent_shape: tuple[int, ...],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """What `Denoised` takes of one volume (X, Y, Z), guidance apart: noise within `LEVELS`."""
    time = min(round(rng.uniform(*LEVELS) * schedule.truncation), schedule.steps - 1)
    return {
        "volume": volume[None],
        "noise": rng.standard_normal(latent_shape, np.float32),
        "time": np.array(time),
        "conditions": conditions,
    }


def collated(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Rows of arrays as tensors with a batch's side first."""
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def fixed(
    volume: np.ndarray,
    conditions: np.ndarray,
    denoised: Denoised,
    key: int,
    device: torch.device,
) -> tuple[Tensor, Blurred]:
    """A volume (X, Y, Z) on the device, (1, 1, X, Y, Z), and what a refiner is told of it; `key` is
    of the noise."""
    rng = noise.generator(noise.AUGMENT, 1 << 32, key)
    shape = denoised.latent_shape(volume.shape)
    row = noisy_row(volume, conditions, denoised.schedule, shape, rng)
    samples = collated([{**row, "guidance": np.ones((), dtype=np.float32)}])
    samples = {name: tensor.to(device) for name, tensor in samples.items()}
    return samples["volume"], denoised.blurred(samples)


@torch.inference_mode()
def refined(refiner: Refiner, blurred: Blurred, steps: int, key: int) -> Tensor:
    """A volume (1, 1, X, Y, Z) in [0, 1]; `key` is of the noise."""
    shape = noise_shape(tuple(blurred.volume.shape[2:]))
    drawn = torch.from_numpy(noise.normal(shape, noise.REFINE, 1 << 32, key))[None]
    drawn = drawn.to(blurred.volume.device)
    return refiner.refine(blurred.volume, blurred.latent, drawn, steps).clamp(0, 1)


class DecoderValidation:
    """How the refiner does on people it never saw and on latents that the model drew.

    Args:
        paths, conditions, denoised: as of `DecoderTask`, of held-out people.
        drawn: `.npy` (C, x, y, z), latents that the model drew, in the autoencoder's scale.
        steps: of the refiner.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        conditions: np.ndarray,
        drawn: Sequence[Path],
        denoised: Denoised,
        steps: int,
    ) -> None:
        self.volumes = [read_volume(path) for path in paths]
        self.conditions = np.asarray(conditions, dtype=np.float32)
        self.drawn, self.denoised, self.steps = list(drawn), denoised, steps
        spectra = [spectrum(volume) for volume in self.volumes]
        self._power = np.exp(np.mean([np.log(one.power) for one in spectra], axis=0))
        self._kurtosis = np.mean([one.kurtosis for one in spectra], axis=0)

    @torch.inference_mode()
    def __call__(
        self, refiner: nn.Module, rank: int, world: int, device: torch.device
    ) -> dict[str, float]:
        """Sums over this worker's share, and their `count`: the loss at fixed noise; figures of
        `ldm.training.autoencoder` of people's volumes given back; and of drawn ones
        `drawn_power_...`, over people's mean, and `drawn_kurtosis_...`, less people's mean."""
        assert isinstance(refiner, Refiner)
        sums = dict.fromkeys((*FIGURES, "count"), 0.0)
        count = min(len(self.volumes), len(self.drawn))
        for place in range(rank, count, world):
            volume, blurred = self.blurred(place, device)
            found = refined(refiner, blurred, self.steps, place)
            figures = {"loss": self._loss(refiner, volume, blurred, place)}
            figures |= fidelity(found, volume) | texture(found, volume)
            figures |= self._of_drawn(self.finished(refiner, place, device))
            for name in FIGURES:
                sums[name] += figures[name]
            sums["count"] += 1
        return sums

    def blurred(self, place: int, device: torch.device) -> tuple[Tensor, Blurred]:
        """A held-out person, (1, 1, X, Y, Z), and what the refiner is told of them."""
        return fixed(self.volumes[place], self.conditions[place], self.denoised, place, device)

    def given_back(
        self, refiner: Refiner, place: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """A held-out person with fine structure that the refiner drew, and as they are."""
        volume, blurred = self.blurred(place, device)
        return refined(refiner, blurred, self.steps, place), volume

    @torch.inference_mode()
    def finished(self, refiner: Refiner, place: int, device: torch.device) -> Tensor:
        """The volume of a drawn latent, (1, 1, X, Y, Z)."""
        latent = torch.from_numpy(np.load(self.drawn[place]))[None].to(device)
        return refined(refiner, self.denoised.decoded(latent), self.steps, place)

    def _loss(self, refiner: Refiner, volume: Tensor, blurred: Blurred, place: int) -> float:
        """The mean loss over `VALIDATION_TIMES`."""
        shape = noise_shape(tuple(volume.shape[2:]))
        drawn = torch.from_numpy(noise.normal(shape, noise.AUGMENT, 1 << 32, place))[None]
        losses = [
            velocity_loss(
                refiner,
                refiner,
                volume,
                blurred,
                torch.tensor([time], device=volume.device),
                drawn.to(volume.device),
            )
            for time in VALIDATION_TIMES
        ]
        return float(torch.stack(losses).mean())

    def _of_drawn(self, volume: Tensor) -> dict[str, float]:
        seen: Spectrum = spectrum(volume[0, 0].float().cpu().numpy())
        power = dict(zip(DRAWN_POWER, (seen.power / self._power).tolist(), strict=True))
        kurtosis = (seen.kurtosis - self._kurtosis).tolist()
        return power | dict(zip(DRAWN_KURTOSIS, kurtosis, strict=True))


def unlikeness(found: dict[str, float]) -> float:
    """By how much drawn volumes' texture differs from people's, of what `DecoderValidation` finds:
    the mean over bands of |log power ratio| and of the difference of kurtosis, added."""
    power = [abs(math.log(max(found[name], 1e-6))) for name in DRAWN_POWER]
    kurtosis = [abs(found[name]) for name in DRAWN_KURTOSIS]
    return sum(power) / len(power) + sum(kurtosis) / len(kurtosis)
