"""What each option of the diffusion model's training gives at equal cost, from nothing.

    python -m tests.benchmarks.levers --latents latents --seconds 500 --out levers.json

Every lever is tried alone, for so many seconds of a core, on the same people, and judged by what
its network sees in noisy latents of people it was never shown: decoded, and compared with the
person's reconstruction, at noise that makes the decoded picture equally bad (PSNR, dB), so that
options which scale the noise otherwise compare. Short runs are indications.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm import noise
from ldm.diffusion.emphasis import LOGIT_NORMAL, MIN_SNR
from ldm.diffusion.samplers import image_of, target
from ldm.networks import Autoencoder, Denoiser, DenoiserConfig
from ldm.training.diffusion import DiffusionTask
from ldm.training.presets import Preset, preset
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.training.conditions import conditions
from ray_jobs.training.diffusion_job import denoiser_config, with_prediction
from tests.benchmarks.timed import train_for

LEVELS = (8, 12, 16, 20, 24, 26)  # dB, of the noisy picture
TIMES = (30, 60, 100, 160, 250, 350, 450, 550, 650, 750, 850, 950)
PEOPLE = 8


@dataclass(frozen=True, kw_only=True)
class Lever:
    """One change to a preset's diffusion model.

    Attributes:
        training: fields of its `TrainingConfig`.
        network: fields of its `DenoiserConfig`; without a branch where it does not say so.
        one_scale: whether all channels of the latent have the same deviation.
        whole: whether only the volume and its mirror image are trained on, no moved or bent copy.
    """

    name: str
    prediction: str | None = None
    training: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    one_scale: bool = False
    whole: bool = False

    def preset(self, base: Preset) -> Preset:
        return replace(
            with_prediction(base, self.prediction),
            train_diffusion=replace(base.train_diffusion, **(self.training or {})),
            denoiser=replace(base.denoiser, **{"branch_channels": 0, **(self.network or {})}),
        )


FINER = {"patch": 1, "channels": (48, 96, 192), "attention_levels": (False, False, True)}
LEVERS = (
    Lever(name="the demo preset's U-Net"),
    Lever(name="its branch beside it", network={"branch_channels": 32}),
    Lever(name="one scale for all channels", one_scale=True),
    Lever(name="epsilon", prediction="epsilon"),
    Lever(name="x0", prediction="x0"),
    Lever(name="flow", prediction="flow"),
    Lever(name="flow, logit-normal", prediction="flow", training={"timesteps": LOGIT_NORMAL}),
    Lever(name="min-SNR", training={"loss_weighting": MIN_SNR}),
    Lever(name="patch 1", network={**FINER, "head_channels": (0, 0, 64), "norm_num_groups": 16}),
    Lever(name="wider", network={"channels": (192, 256)}),
    Lever(
        name="attention at both levels",
        network={"attention_levels": (True, True), "head_channels": (64, 64)},
    ),
    Lever(name="no moved or bent copies", whole=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--latents", required=True)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--seconds", type=float, default=500, help="of a core, for each")
    parser.add_argument("--only", help="names with semicolons between them")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("levers.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    latents = EncodedCohort.open(args.latents)
    chosen = [one for one in LEVERS if not args.only or one.name in args.only.split(";")]
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    known = {(row["name"], row["seconds"]) for row in rows}
    for lever in chosen:
        if (lever.name, args.seconds) in known:
            continue
        print(f"# {lever.name}", flush=True)
        rows.append(tried(lever, latents, args))
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
    print(table(rows))


def tried(lever: Lever, latents: EncodedCohort, args: argparse.Namespace) -> dict[str, Any]:
    """Train it, and look at what it sees."""
    chosen = lever.preset(preset(args.preset))
    config, device = chosen.train_diffusion, torch.device(args.device)
    std = latents.latent_std
    if lever.one_scale:
        std = (float(np.sqrt(np.mean(np.square(std)))),) * len(std)
    network = denoiser_config(chosen, latents, config)
    torch.manual_seed(config.seed)
    kind = Whole if lever.whole else DiffusionTask

    def task(split: str) -> DiffusionTask:
        given = latents.paths(split), conditions(latents, split), latents.latent_mean, std
        return kind(*given, chosen.schedule, config)

    held_out, autoencoder = task("validation"), latents.autoencoder.network().to(device)

    def look(average: nn.Module) -> dict[str, float]:
        sums = held_out.validate(average, range(held_out.count), device)
        return {"loss": sums["loss"] / sums["count"]}

    clock = time.monotonic if device.type == "cuda" else time.process_time
    average, history = train_for(
        args.seconds, Denoiser(network), task("train"), config, device, look, clock=clock
    )
    assert isinstance(average, Denoiser)
    return {
        "name": lever.name,
        "seconds": args.seconds,
        "parameters": sum(parameter.numel() for parameter in average.parameters()),
        "steps": history[-1]["step"],
        "batch": config.batch_size,
        "history": history,
        "psnr": seen(average, autoencoder, held_out, device),
        "network": describe(network),
    }


class Whole(DiffusionTask):
    """Only the first two copies of each person, by files that end there."""

    def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
        samples = super().load(indices, step, positions)
        for place, (index, position) in enumerate(zip(indices, positions, strict=True)):
            rng = noise.generator(noise.TRAINING, self.config.seed, step, position, 1)
            copy = int(rng.integers(2))
            stored = np.load(self.paths[index], mmap_mode="r")[copy, 0]
            latent = (np.asarray(stored, dtype=np.float32) - self.mean) / self.std
            samples["latent"][place] = torch.from_numpy(latent)
            samples["conditions"][place] = torch.from_numpy(self.conditions[index, 0])
        return samples


@torch.inference_mode()
def seen(
    network: Denoiser, autoencoder: Autoencoder, task: DiffusionTask, device: torch.device
) -> list[float]:
    """PSNR, dB, of the decoded image that the network sees, at `LEVELS` of the noisy picture."""
    mean, std = (torch.from_numpy(values).to(device) for values in (task.mean, task.std))
    noisy_db, seen_db = [], []
    for time_step in TIMES:
        errors = np.zeros(2)
        for person in range(min(PEOPLE, task.count)):
            stored = np.load(task.paths[person], mmap_mode="r")[0, 0]
            latent = (torch.from_numpy(np.array(stored)).to(device) - mean) / std
            drawn = noise.normal(latent.shape, noise.TRAINING, 1 << 33, person)
            step = torch.tensor([time_step], device=device)
            told = torch.from_numpy(task.conditions[person : person + 1, 0]).to(device)
            noise_of = torch.from_numpy(drawn).to(device)[None]
            noisy, _ = target(latent[None], noise_of, step, task.schedule)
            image = image_of(network(noisy, step, told).float(), noisy, step, task.schedule)
            plain = latent[None] + noise_of * ratio(task, latent[None], noise_of, step)
            person_s, *others = (
                autoencoder.decode(z * std + mean).clamp(0, 1) for z in (latent[None], plain, image)
            )
            errors += [float((other - person_s).square().mean()) for other in others]
        decibels = -10 * np.log10(errors / min(PEOPLE, task.count))
        noisy_db.append(decibels[0])
        seen_db.append(decibels[1])
    order = np.argsort(noisy_db)
    return [
        round(float(np.interp(level, np.array(noisy_db)[order], np.array(seen_db)[order])), 2)
        for level in LEVELS
    ]


def ratio(task: DiffusionTask, latent: Tensor, drawn: Tensor, step: Tensor) -> Tensor:
    """Noise over signal at a time step: z_t = a z + b n, and b / a here."""
    nothing = torch.zeros_like(latent)
    signal = target(latent, nothing, step, task.schedule)[0]
    noisy = target(nothing, drawn, step, task.schedule)[0]
    return (noisy.norm() / drawn.norm()) / (signal.norm() / latent.norm())


def describe(config: DenoiserConfig) -> dict[str, Any]:
    told = config.to_json()
    return {name: told[name] for name in ("patch", "channels", "attention_levels")}


def table(rows: Sequence[dict[str, Any]]) -> str:
    levels = " | ".join(f"{level}" for level in LEVELS)
    lines = [
        f"| noisy picture, dB | steps | parameters, M | {levels} |",
        "|---" * (3 + len(LEVELS)) + "|",
    ]
    for row in rows:
        values = " | ".join(f"{value:.1f}" for value in row["psnr"])
        size = row["parameters"] / 1e6
        lines.append(f"| {row['name']} | {row['steps']} | {size:.1f} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
