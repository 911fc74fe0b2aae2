"""Training the decoder of a finished model on the images its denoiser leaves: samples, loss,
validation."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from ldm import noise
from ldm.diffusion.samplers import image_of, target
from ldm.diffusion.schedule import Schedule
from ldm.networks import Autoencoder, Denoiser, RefinerConfig
from ldm.networks.layout import Placed, space_to_depth
from ldm.training import adversarial
from ldm.training.adversarial import PatchCritic
from ldm.training.autoencoder import KURTOSIS, POWER, augment, fidelity, texture
from ldm.training.config import TrainingConfig
from ldm.volumes.conversion import read_volume
from ldm.volumes.spectrum import Spectrum, spectrum

# A training volume's noise level is drawn from this much below the time step of truncation to as
# much above it, as a share of it: what a sampler arrives with is not exactly of one level.
SPREAD = 0.2
# Weight of `lattice_loss`, without which a critic lets a checkerboard through for a long time.
LATTICE = 2.0
DRAWN_POWER, DRAWN_KURTOSIS = (tuple(f"drawn_{n}" for n in names) for names in (POWER, KURTOSIS))
FIGURES = ("l1", "psnr", "ssim", *POWER, *KURTOSIS, *DRAWN_POWER, *DRAWN_KURTOSIS)


def with_refiner(
    autoencoder: Autoencoder,
    refiner: RefinerConfig,
    latent_mean: Sequence[float],
    latent_std: Sequence[float],
) -> Autoencoder:
    """The autoencoder with an untrained refiner before its decoder; as it is, if it has one.

    Args:
        refiner: without channels, none is put there.
        latent_mean, latent_std: (C,) of the latent.
    """
    if autoencoder.config.refiner.channels or not refiner.channels:
        return autoencoder
    whole = Autoencoder(replace(autoencoder.config, refiner=refiner))
    whole.load_state_dict({**whole.state_dict(), **autoencoder.state_dict()})
    whole.refiner.standardise(latent_mean, latent_std)
    return whole


class Decoder(nn.Module):
    """The decoder of an autoencoder, with its refiner if any: latents (B, C, x, y, z) to volumes
    (B, 1, X, Y, Z)."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = copy.deepcopy(autoencoder).requires_grad_(True)
        for name in ("encoder", "quant_conv_mu", "quant_conv_log_sigma"):
            setattr(self.autoencoder.net, name, nn.Identity())

    def forward(self, latent: Tensor) -> Tensor:
        """Not clipped."""
        return self.autoencoder.decode(latent)

    def put(self, autoencoder: Autoencoder) -> Autoencoder:
        """`autoencoder` with this decoder in its place."""
        mine = self.autoencoder.state_dict()
        autoencoder.load_state_dict({**autoencoder.state_dict(), **mine})
        return autoencoder


class Denoised:
    """What a frozen model's encoder and denoiser make of a volume: the image that the denoiser
    sees in its noisy latent.

    Args:
        schedule: truncated at the time step around which the noise lies.
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
        self._encoder, self._denoiser = Placed(autoencoder), Placed(denoiser)
        self._mean, self._std = (
            torch.tensor(v).view(1, -1, 1, 1, 1) for v in (latent_mean, latent_std)
        )

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
        latent = (self._encoder.on(volume).encode(volume)[0].float() - mean) / std
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
    """Paint what the denoiser leaves out: truncated diffusion (Zheng et al. 2023) with the decoder
    as its generator.

    Of a training volume the decoder gets the denoiser's image at a noise level around that of
    truncation, and should give the volume back: L1, `lattice_loss`, and distance in the critic's
    features (Wang et al. 2018 eq. 4). Of latents that the model drew itself there is no volume, and
    only `lattice_excess`: with both kinds it should pass for real (Mao et al. 2017 eq. 9).

    Args:
        paths: prepared volumes, `.npy`.
        conditions: (N, K), what the denoiser is told of each.
        drawn: `.npy` (C, x, y, z), latents that the model drew, in the autoencoder's scale.
        guidance: the model's own; a sample's lies between it and 1.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        conditions: np.ndarray,
        drawn: Sequence[Path],
        denoised: Denoised,
        config: TrainingConfig,
        critic: PatchCritic,
        guidance: float = 1.0,
    ) -> None:
        self.paths, self.drawn = list(paths), list(drawn)
        self.count = len(self.paths)
        self.conditions = np.asarray(conditions, dtype=np.float32)
        self.denoised, self.config, self.critic = denoised, config, critic
        self.guidance = guidance

    def plays(self, step: int) -> bool:
        """Whether the critic takes part in this step (from 0)."""
        return step >= self.config.adversarial_from

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        """`volume` (B, 1, X, Y, Z), flipped and shifted at random, `noise` and `drawn` of latent
        shape, `time`, `guidance`, `step` (B,), `conditions` (B, K)."""
        rows = []
        for index, position in zip(indices, positions, strict=True):
            rng = noise.generator(noise.AUGMENT, self.config.seed, step, position)
            volume = augment(read_volume(self.paths[index]), rng)
            drawn = np.load(self.drawn[int(rng.integers(len(self.drawn)))])
            row = noisy_row(
                volume, self.conditions[index], self.denoised.schedule, drawn.shape, rng
            )
            guidance = np.array(1 + (self.guidance - 1) * rng.random(), dtype=np.float32)
            rows.append({**row, "drawn": drawn, "guidance": guidance, "step": np.array(step)})
        return collated(rows)

    def loss(
        self, model: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the terms, and each of them unweighted; leaves `decoded`,
        volumes of people and of drawn latents, for the critic."""
        volume = samples["volume"]
        latents = torch.cat([self.denoised(samples), samples["drawn"]])
        decoded = model(latents).float()
        found = decoded[: len(volume)]
        parts = {
            "l1": (found - volume).abs().mean(),
            "lattice": lattice_loss(found, volume),
        }
        parts["drawn lattice"] = lattice_excess(decoded[len(volume) :], volume)
        loss = parts["l1"] + LATTICE * (parts["lattice"] + parts["drawn lattice"])
        if self.plays(int(samples["step"][0])):
            judged, features = self.critic.judge(decoded)
            parts["adversarial"] = adversarial.generator_loss(judged)
            loss = loss + self.config.adversarial_weight * parts["adversarial"]
            if self.config.matching_weight:
                with torch.no_grad():
                    _, wanted = self.critic.judge(volume)
                ours = [feature[: len(volume)] for feature in features]
                parts["matching"] = adversarial.matching_loss(ours, wanted)
                loss = loss + self.config.matching_weight * parts["matching"]
            samples["decoded"] = decoded.detach()
        return loss, parts

    def critic_loss(
        self, critic: nn.Module, samples: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss: the volumes against what was decoded of people and of draws."""
        return adversarial.critic_loss(critic, samples["volume"], samples["decoded"])


def lattice_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean absolute difference of local means, over cells of 8 voxels a side, of each of the eight
    lattices of every other voxel; of two (B, 1, X, Y, Z).

    A decoder that ends in a depth-to-space step, or in strided convolutions, learns a period of
    two voxels (Odena et al. 2016) that hides in the error of single voxels and not in such means.
    """
    return (_lattice_means(found) - _lattice_means(wanted)).abs().mean()


def lattice_excess(drawn: Tensor, people: Tensor) -> Tensor:
    """By how much the eight lattices' means differ among each other in drawn volumes more than in
    people's, as root mean squares; 0 where they differ less. Of (B, 1, X, Y, Z) each.

    For a drawn volume there is none to compare with; that people's lattices hardly differ is known.
    """
    spreads = []
    for volumes in (drawn, people):
        means = _lattice_means(volumes)
        spreads.append((means - means.mean(dim=1, keepdim=True)).pow(2).mean().add(1e-12).sqrt())
    return (spreads[0] - spreads[1]).relu()


def _lattice_means(volume: Tensor) -> Tensor:
    """(B, 8, X/8, Y/8, Z/8) of (B, 1, X, Y, Z)."""
    return avg_pool3d(space_to_depth(volume, 2), 4)


def noisy_row(
    volume: np.ndarray,
    conditions: np.ndarray,
    schedule: Schedule,
    latent_shape: tuple[int, ...],
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """What `Denoised` takes of one volume (X, Y, Z), guidance apart: noise near truncation."""
    share = 1 + SPREAD * (2 * rng.random() - 1)
    time = min(round(share * schedule.truncation), schedule.steps - 1)
    return {
        "volume": volume[None],
        "noise": rng.standard_normal(latent_shape, np.float32),
        "time": np.array(time),
        "conditions": conditions,
    }


def collated(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
    """Rows of arrays as tensors with a batch's side first."""
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


@torch.inference_mode()
def given_back(
    decoder: nn.Module,
    denoised: Denoised,
    volume: np.ndarray,
    conditions: np.ndarray,
    key: int,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """A person's volume (X, Y, Z) as the decoder gives it back, in [0, 1], and as it is, both
    (1, 1, X, Y, Z); `key` is of the noise."""
    rng = noise.generator(noise.AUGMENT, 1 << 32, key)
    shape = denoised.latent_shape(volume.shape)
    row = noisy_row(volume, conditions, denoised.schedule, shape, rng)
    samples = collated([{**row, "guidance": np.ones((), dtype=np.float32)}])
    samples = {name: tensor.to(device) for name, tensor in samples.items()}
    return decoder(denoised(samples)).float().clamp(0, 1), samples["volume"]


class DecoderValidation:
    """How the decoder does on people it never saw and on latents that the model drew.

    Args:
        paths, conditions, drawn, denoised: as of `DecoderTask`, of held-out people and other draws.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        conditions: np.ndarray,
        drawn: Sequence[Path],
        denoised: Denoised,
    ) -> None:
        self.volumes = [read_volume(path) for path in paths]
        self.conditions = np.asarray(conditions, dtype=np.float32)
        self.drawn, self.denoised = list(drawn), denoised
        spectra = [spectrum(volume) for volume in self.volumes]
        self._power = np.exp(np.mean([np.log(one.power) for one in spectra], axis=0))
        self._kurtosis = np.mean([one.kurtosis for one in spectra], axis=0)

    @torch.inference_mode()
    def __call__(
        self, decoder: nn.Module, rank: int, world: int, device: torch.device
    ) -> dict[str, float]:
        """Sums over this worker's share, and their `count`: figures of `ldm.training.autoencoder`
        of people's volumes given back, and of drawn ones `drawn_power_...`, over people's mean, and
        `drawn_kurtosis_...`, less people's mean."""
        sums = dict.fromkeys((*FIGURES, "count"), 0.0)
        count = min(len(self.volumes), len(self.drawn))
        for place in range(rank, count, world):
            found, volume = self.given_back(decoder, place, device)
            drawn = self.decoded(decoder, place, device)
            figures = fidelity(found, volume) | texture(found, volume) | self._of_drawn(drawn)
            for name in FIGURES:
                sums[name] += figures[name]
            sums["count"] += 1
        return sums

    def given_back(
        self, decoder: nn.Module, place: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """A held-out person as the decoder gives them back, and as they are, (1, 1, X, Y, Z)."""
        volume, conditions = self.volumes[place], self.conditions[place]
        return given_back(decoder, self.denoised, volume, conditions, place, device)

    @torch.inference_mode()
    def decoded(self, decoder: nn.Module, place: int, device: torch.device) -> Tensor:
        """A drawn latent decoded, (1, 1, X, Y, Z)."""
        latent = torch.from_numpy(np.load(self.drawn[place]))[None].to(device)
        decoded: Tensor = decoder(latent).float().clamp(0, 1)
        return decoded

    def _of_drawn(self, volume: Tensor) -> dict[str, float]:
        seen: Spectrum = spectrum(volume[0, 0].cpu().numpy())
        power = dict(zip(DRAWN_POWER, (seen.power / self._power).tolist(), strict=True))
        kurtosis = (seen.kurtosis - self._kurtosis).tolist()
        return power | dict(zip(DRAWN_KURTOSIS, kurtosis, strict=True))


def unlikeness(found: dict[str, float]) -> float:
    """By how much drawn volumes' texture differs from people's, of what `DecoderValidation` finds:
    the mean over bands of |log power ratio| and of the difference of kurtosis, added."""
    power = [abs(math.log(max(found[name], 1e-6))) for name in DRAWN_POWER]
    kurtosis = [abs(found[name]) for name in DRAWN_KURTOSIS]
    return sum(power) / len(power) + sum(kurtosis) / len(kurtosis)
