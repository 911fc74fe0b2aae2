r"""Samples a second of the diffusion stage: brainpress against the plain loop people write.

    python -m tests.benchmarks.training --cohort prepared --autoencoder run --latents latents \
        [--bids COHORT]

Plain is MONAI as its tutorials use it: float32, NIfTI volumes read by a DataLoader with
`num_workers=0`, encoded by the frozen autoencoder in every step, no channels_last. With --bids it
reads the cohort's own scans through the transforms of MONAI's 3D latent diffusion tutorial (load,
orient, resample, crop, scale); without, the prepared volumes as NIfTI files. Ours is
`ldm.training.loop` on stored latents, bf16 and channels_last_3d, as train-diffusion runs it. Both
train the same U-Net on the same batch size, with AdamW and, as ours, a moving average. They take
turns within one run, so that both see the same machine, and the medians over the rounds count.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.networks.utils import pixelshuffle, pixelunshuffle
from monai.transforms import (
    Compose,
    LoadImage,
    Orientation,
    ResizeWithPadOrCrop,
    ScaleIntensityRangePercentiles,
    Spacing,
)
from torch import Tensor, nn

from ldm.diffusion.samplers import target
from ldm.networks import Autoencoder, Denoiser
from ldm.training.diffusion import DiffusionTask
from ldm.training.loop import TrainingState, train
from ldm.training.presets import preset
from ldm.volumes.conversion import to_nifti_bytes
from ldm.volumes.grid import Grid
from ray_jobs.encoding.autoencoder_folder import open_run
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.preparation.bids.subjects import find_subjects
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training.conditions import conditions
from ray_jobs.training.diffusion_job import denoiser_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, required=True)
    parser.add_argument("--latents", type=Path, required=True)
    parser.add_argument("--bids", type=Path, help="the cohort that was prepared")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="of each loop in a round")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("training-speed.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        cohort = PreparedCohort.open(args.cohort)
        volumes = scans(cohort, args.bids) if args.bids else as_nifti(cohort, Path(scratch))
        loops = {"plain": plain(args, volumes), "brainpress": ours(args)}
        for loop in loops.values():
            next(loop)  # compiles kernels and fills caches
        found: dict[str, list[dict[str, float]]] = {name: [] for name in loops}
        for _ in range(args.rounds):
            for name, loop in loops.items():
                found[name].append(timed(lambda loop=loop: advance(loop, args.steps)))
    samples = args.steps * args.batch
    rates = {name: rate(samples, rounds) for name, rounds in found.items()}
    ratios = {
        key: round(rates["brainpress"][key] / rates["plain"][key], 2)
        for key in ("samples_a_second", "samples_a_core_second")
    }
    document = {"device": args.device, "batch": args.batch, **rates, "ratio": ratios}
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print("| loop | samples a second | samples a core second |\n|---|---|---|")
    for name, row in (*rates.items(), ("ratio", ratios)):
        print(f"| {name} | {row['samples_a_second']} | {row['samples_a_core_second']} |")


def rate(samples: int, rounds: list[dict[str, float]]) -> dict[str, Any]:
    r"""Samples a second of the median round, and every round."""

    def median(clock: str) -> float:
        return round(samples / statistics.median(r[clock] for r in rounds), 3)

    return {
        "samples_a_second": median("wall"),
        "samples_a_core_second": median("core"),
        "rounds": [{k: round(v, 3) for k, v in r.items()} for r in rounds],
    }


def timed(work: Callable[[], None]) -> dict[str, float]:
    """Seconds by the wall's clock, and of processor time over all threads."""
    wall, usage = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    core = after.ru_utime - usage.ru_utime + after.ru_stime - usage.ru_stime
    return {"wall": time.perf_counter() - wall, "core": core}


def advance(loop: Iterator[object], steps: int) -> None:
    for _ in range(steps):
        next(loop)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def as_nifti(cohort: PreparedCohort, folder: Path) -> list[Path]:
    """The prepared training volumes as the `.nii.gz` files a plain loop reads."""
    paths = []
    for source in cohort.volumes("train"):
        paths.append(folder / f"{source.stem}.nii.gz")
        paths[-1].write_bytes(to_nifti_bytes(np.load(source), cohort.grid))
    return paths


def scans(cohort: PreparedCohort, bids: Path) -> list[Path]:
    """The training subjects' own images."""
    images = {s.participant_id: s.image for s in find_subjects(bids, cohort.schema)}
    found = [images[name] for name in cohort.split("train")["participant_id"]]
    return [image for image in found if image is not None]


def tutorial(grid: Grid) -> Callable[[Path], Tensor]:
    """A scan to (1, X, Y, Z) on the grid, as MONAI's tutorial does it."""
    transform = Compose(
        [
            LoadImage(image_only=True, ensure_channel_first=True),
            Orientation(axcodes="RAS", labels=None),
            Spacing(pixdim=(grid.spacing,) * 3, mode="bilinear"),
            ResizeWithPadOrCrop(grid.shape),
            ScaleIntensityRangePercentiles(0, 99.5, 0, 1, clip=True),
        ]
    )
    return lambda path: transform(path).as_tensor().float()


class Volumes(torch.utils.data.Dataset):
    """NIfTI volumes and their scaled covariates."""

    def __init__(
        self, paths: list[Path], scaled: np.ndarray, read: Callable[[Path], Tensor]
    ) -> None:
        self.paths, self.scaled, self.read = paths, scaled, read

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.read(self.paths[index]), torch.from_numpy(self.scaled[index])


def read_nifti(path: Path) -> Tensor:
    """(1, X, Y, Z) float32."""
    image: Any = nib.load(path)
    return torch.from_numpy(image.get_fdata(dtype=np.float32))[None]


def plain(args: argparse.Namespace, paths: list[Path]) -> Iterator[float]:
    """The loop of a tutorial, over MONAI's networks."""
    chosen, latents = preset(args.preset), EncodedCohort.open(args.latents)
    training = chosen.train_diffusion
    autoencoder: Autoencoder = open_run(args.autoencoder).network().to(args.device)
    torch.manual_seed(0)
    config = denoiser_config(chosen, latents, replace(training, condition_dropout=0.0))
    denoiser = Denoiser(config).to(args.device).train()
    average = copy.deepcopy(denoiser)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=training.learning_rate)
    read = tutorial(chosen.grid) if args.bids else read_nifti
    data = Volumes(paths, conditions(latents, "train"), read)
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch, shuffle=True, num_workers=0)
    while True:
        for volume, scaled in loader:
            if len(volume) < args.batch:
                continue
            with torch.no_grad():
                cells = pixelunshuffle(volume.to(args.device), 3, autoencoder.config.patch)
                mean, std = autoencoder.net.encode(cells)
                latent = mean + std * torch.randn_like(mean)
            noise = torch.randn_like(latent)
            times = torch.randint(0, chosen.schedule.steps, (len(latent),), device=latent.device)
            noisy, wanted = target(latent, noise, times, chosen.schedule)
            optimizer.zero_grad()
            found = predict(denoiser, noisy, times, scaled.to(args.device))
            loss = nn.functional.mse_loss(found, wanted)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for kept, new in zip(average.parameters(), denoiser.parameters(), strict=True):
                    kept.lerp_(new, 0.005)
            yield loss.item()


def predict(denoiser: Denoiser, noisy: Tensor, times: Tensor, scaled: Tensor) -> Tensor:
    """MONAI's network in the memory layout that PyTorch gives by default."""
    conditions = (scaled - denoiser.condition_mean) / denoiser.condition_std
    cells = pixelunshuffle(noisy, 3, denoiser.config.patch)
    maps = conditions[:, :, None, None, None].expand(-1, -1, *cells.shape[2:])
    found = denoiser.net(torch.cat([cells, maps], 1), times, context=conditions[:, None])
    return pixelshuffle(found, 3, denoiser.config.patch)


def ours(args: argparse.Namespace) -> Iterator[object]:
    """`train` as train-diffusion calls it."""
    chosen, latents = preset(args.preset), EncodedCohort.open(args.latents)
    config = replace(chosen.train_diffusion, batch_size=args.batch, steps=10**9)
    torch.manual_seed(0)
    denoiser = Denoiser(denoiser_config(chosen, latents, config))
    task = DiffusionTask(
        latents.paths("train"),
        conditions(latents, "train"),
        latents.latent_mean,
        latents.latent_std,
        chosen.schedule,
        config,
    )
    return train(TrainingState(denoiser, config, torch.device(args.device)), task)


if __name__ == "__main__":
    main()
