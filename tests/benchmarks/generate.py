"""Volumes a second on one device: brainpress against the bundle's own way, and against the floor.

    python -m tests.benchmarks.generate --model demo --volumes 8
    python -m tests.benchmarks.generate --model paper --volumes 16 --batch 8 --compile

The bundle's way is that of MONAI's `brain_image_synthesis_latent_diffusion_model`: MONAI's
networks and DDIM scheduler, float32, one volume at a time, `nib.save`; but the weights are loaded
once and the steps are those of the paper, so that both compute the same. Ours is switched on a
piece at a time, up to the whole of what a worker of `generate` does for a volume before it is
uploaded. All see the same noise and covariates and take turns within one run. Told are how far
latents and decoded volumes are from float32, and the share of the device's peak, which is the best
rate of a large bf16 matrix product measured between the turns. `paper` is the paper's network with
random weights. Needs no Ray.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ldm import noise
from ldm.diffusion.config import Sampling
from ldm.diffusion.samplers import sample
from ldm.diffusion.schedule import Schedule, step_pairs
from ldm.loading import load
from ldm.models.inference import attend_to_one_token
from ldm.models.latent_diffusion import Model
from ldm.networks import Autoencoder, Denoiser, channels_last
from ldm.networks.precision import PRECISIONS, autocast, cast
from ldm.training.presets import paper
from ldm.volumes.conversion import quantise, to_nifti_bytes


@dataclass(kw_only=True)
class Subject:
    """What is computed: plain float32 networks, and the noise and covariates of the volumes."""

    autoencoder: Autoencoder
    denoiser: Denoiser
    schedule: Schedule
    grid: Any
    noise: Tensor
    conditions: Tensor
    latent_mean: Tensor
    latent_std: Tensor
    steps: int
    device: str


@dataclass(kw_only=True)
class Row:
    """One way of making the volumes, and what was found of it."""

    name: str
    make: Callable[[], tuple[Tensor, np.ndarray]]
    rounds: list[dict[str, float]] = field(default_factory=list)
    latents: Tensor | None = None
    volumes: np.ndarray | None = None
    peak_gib: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo", help="as in generate --model, or paper")
    parser.add_argument("--volumes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="with torch.compile, as a last row")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, default=Path("generate.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    subject = build(args)
    work = flops(subject)
    print(f"{work / 1e12:.3f} TFLOP a volume at {args.steps} steps; {args.device}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            Row(name="the bundle's way", make=lambda: bundles_way(subject, Path(scratch))),
            *pieces(subject, args),
        ]
        peaks = [peak(args.device)]
        for turn in range(-1, args.rounds):
            for row in rows:
                once(row, turn, args.device)
            peaks.append(peak(args.device))
    finished = [describe(row, rows[0], args.volumes, work, peaks) for row in rows]
    document = {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": args.threads,
        "model": args.model,
        "steps": args.steps,
        "volumes": args.volumes,
        "batch": args.batch,
        "tflop_a_volume": work / 1e12,
        "peak_tflops": {clock: round(best(peaks, clock), 4) for clock in ("wall", "core")},
        "rows": finished,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(table(finished, args.device))
    print(f"peak of a bf16 matrix product: {best(peaks, clock_of(args.device)):.3f} TFLOP/s")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {memory:.1f} GiB")


def build(args: argparse.Namespace) -> Subject:
    """The networks as they were stored, float32, laid out as MONAI makes them."""
    torch.manual_seed(0)
    if args.model == "paper":
        chosen = paper()
        autoencoder, denoiser = Autoencoder(chosen.autoencoder), Denoiser(chosen.denoiser)
        schedule, grid = Schedule(prediction="epsilon"), chosen.grid
        count, scaled = chosen.denoiser.conditions, 0.5
        rows = np.full((args.volumes, count), scaled, dtype=np.float32)
        mean, std = torch.zeros(1), torch.ones(1)
    else:
        model = load(args.model, device="cpu", precision="fp32")
        assert isinstance(model, Model)
        autoencoder, denoiser = model.autoencoder, Denoiser(model.denoiser.config)
        denoiser.load_state_dict(model.denoiser.state_dict())
        schedule, grid = model.schedule, model.grid
        drawn = [model.distribution.sample(noise.generator(i)) for i in range(args.volumes)]
        rows = np.stack(
            [model.description.calibration.conditions(model.schema, row) for row in drawn]
        )
        mean = torch.tensor(model.description.latent_mean)
        std = torch.tensor(model.description.latent_std)
    for network in (autoencoder, denoiser):
        network.eval().requires_grad_(False).to(args.device)
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
    sides = (side // autoencoder.config.factor for side in grid.shape)
    shape = (autoencoder.config.latent_channels, *sides)
    start = np.stack([noise.normal(shape, noise.LATENT, 0, i, 0) for i in range(args.volumes)])
    return Subject(
        autoencoder=autoencoder,
        denoiser=denoiser,
        schedule=schedule,
        grid=grid,
        noise=torch.from_numpy(start).to(args.device),
        conditions=torch.from_numpy(rows).to(args.device),
        latent_mean=mean.view(1, -1, 1, 1, 1).to(args.device),
        latent_std=std.view(1, -1, 1, 1, 1).to(args.device),
        steps=args.steps,
        device=args.device,
    )


@torch.no_grad()
def flops(subject: Subject) -> float:
    """Of one volume: its steps and its decoding, two a multiply-add."""
    one = subject.noise[:1]
    with FlopCounterMode(display=False) as counter:
        step = torch.zeros(1, dtype=torch.long, device=subject.device)
        subject.denoiser(one, step, subject.conditions[:1])
    a_step = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        subject.autoencoder.decode(one)
    return float(subject.steps * a_step + counter.get_total_flops())


# -------------------------------------------------------------------------------------- the ways


@torch.no_grad()
def bundles_way(subject: Subject, folder: Path) -> tuple[Tensor, np.ndarray]:
    """MONAI's scheduler and networks, one volume at a time, saved as the bundle saves them."""
    from monai.networks.schedulers import DDIMScheduler

    kind = {"epsilon": "epsilon", "v": "v_prediction"}[subject.schedule.prediction]
    scheduler = DDIMScheduler(
        num_train_timesteps=subject.schedule.steps,
        schedule="scaled_linear_beta",
        beta_start=0.0015,
        beta_end=0.0205,
        clip_sample=False,
        prediction_type=kind,
    )
    scheduler.set_timesteps(subject.steps)
    times = [now for now, _ in step_pairs(subject.schedule.steps, subject.steps)]
    latents, volumes = [], []
    for index in range(len(subject.noise)):
        latent, conditions = subject.noise[index : index + 1], subject.conditions[index : index + 1]
        for now in times:
            step = torch.tensor([now], device=subject.device)
            prediction = subject.denoiser(latent, step, conditions)
            latent, _ = scheduler.step(prediction, now, latent)
        latent = latent * subject.latent_std + subject.latent_mean
        volume = subject.autoencoder.decode(latent)[0, 0].cpu().numpy()
        nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / f"{index}.nii.gz")
        latents.append(latent)
        volumes.append(volume)
    return torch.cat(latents).cpu(), np.stack(volumes)


def pieces(subject: Subject, args: argparse.Namespace) -> Iterator[Row]:
    """Ours, a piece more in every row."""
    told: list[tuple[str, dict[str, Any]]] = [
        ("channels_last", {"layout": True}),
        ("bf16", {"layout": True, "precision": "bf16"}),
        ("one token", {"layout": True, "precision": "bf16", "token": True}),
        ("batches", {"layout": True, "precision": "bf16", "token": True, "batch": args.batch}),
    ]
    if args.compile:
        told.append(("torch.compile", {**told[-1][1], "compiled": True}))
    for name, options in told:
        yield Row(name=f"+ {name}", make=way(subject, **options))


def way(
    subject: Subject,
    *,
    layout: bool = False,
    precision: str = "fp32",
    token: bool = False,
    batch: int = 1,
    compiled: bool = False,
) -> Callable[[], tuple[Tensor, np.ndarray]]:
    """The volumes by `ldm`'s sampler, as `.nii.gz` bytes with their digest."""
    autoencoder, denoiser = copy.deepcopy(subject.autoencoder), copy.deepcopy(subject.denoiser)
    dtype = PRECISIONS[precision]
    cast(autoencoder, dtype, keep=autoencoder.last_convolution)
    cast(denoiser, dtype)
    if layout:
        channels_last(autoencoder)
        channels_last(denoiser)
    if token:
        attend_to_one_token(denoiser)
    denoise: Callable[..., Tensor] = torch.compile(denoiser) if compiled else denoiser
    decode: Callable[[Tensor], Tensor] = autoencoder.decode
    if compiled:
        decode = torch.compile(autoencoder.decode)

    @torch.inference_mode()
    def make() -> tuple[Tensor, np.ndarray]:
        latents, volumes = [], []
        for first in range(0, len(subject.noise), batch):
            conditions = subject.conditions[first : first + batch]

            def predict(latent: Tensor, times: Tensor, given: Tensor = conditions) -> Tensor:
                with autocast(subject.device, dtype):
                    return denoise(latent, times, given)

            sampling = Sampling(steps=subject.steps)
            found = sample(
                predict, subject.noise[first : first + batch], subject.schedule, sampling
            )
            found = found * subject.latent_std + subject.latent_mean
            for latent in found:
                with autocast(subject.device, dtype):
                    volume = decode(latent[None])[0, 0].float().cpu().numpy()
                data = to_nifti_bytes(quantise(volume), subject.grid)
                hashlib.sha256(data).hexdigest()
                volumes.append(volume)
            latents.append(found)
        return torch.cat(latents).cpu(), np.stack(volumes)

    return make


# ---------------------------------------------------------------------------------- the measures


def once(row: Row, turn: int, device: str) -> None:
    """One turn of a row; the first, before any counts, sets things up and keeps what was made."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun, worked = time.perf_counter(), time.process_time()
    latents, volumes = row.make()
    if device == "cuda":
        torch.cuda.synchronize()
        row.peak_gib = torch.cuda.max_memory_allocated() / 2**30
    took = {"wall": time.perf_counter() - begun, "core": time.process_time() - worked}
    if turn < 0:
        row.latents, row.volumes = latents, volumes
    else:
        row.rounds.append(took)
    print(f"{row.name}: {took['wall']:.1f} s, {took['core']:.1f} core s", flush=True)


def peak(device: str) -> dict[str, float]:
    """TFLOP/s of a large bf16 matrix product, by the wall's clock and by the cores'."""
    side, count = (8192, 20) if device == "cuda" else (2048, 6)
    a, b = (torch.randn(side, side, device=device).to(torch.bfloat16) for _ in range(2))
    for turns in (2, count):  # the first to warm up
        if device == "cuda":
            torch.cuda.synchronize()
        begun, worked = time.perf_counter(), time.process_time()
        for _ in range(turns):
            a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        took = {"wall": time.perf_counter() - begun, "core": time.process_time() - worked}
    return {clock: 2 * side**3 * count / seconds / 1e12 for clock, seconds in took.items()}


def clock_of(device: str) -> str:
    """A shared machine's cores keep the better time; a GPU's work is seen by the wall's alone."""
    return "wall" if device == "cuda" else "core"


def best(peaks: list[dict[str, float]], clock: str) -> float:
    return max(found[clock] for found in peaks)


def describe(
    row: Row, first: Row, volumes: int, work: float, peaks: list[dict[str, float]]
) -> dict[str, Any]:
    """A row's figures: rates of the median round, and how far it is from float32."""
    assert row.latents is not None
    assert row.volumes is not None
    assert first.latents is not None
    assert first.volumes is not None
    clocks = ("wall", "core")
    seconds = {c: statistics.median(r[c] for r in row.rounds) for c in clocks}
    plain = {c: statistics.median(r[c] for r in first.rounds) for c in clocks}
    off = row.latents - first.latents
    clipped = [np.clip(v, 0, 1) for v in (row.volumes, first.volumes)]
    mse = float(np.mean((clipped[0] - clipped[1]) ** 2))
    return {
        "name": row.name,
        "volumes_a_second": {c: volumes / s for c, s in seconds.items()},
        "ratio": {c: plain[c] / s for c, s in seconds.items()},
        "share_of_peak": {
            c: work * volumes / s / 1e12 / best(peaks, c) for c, s in seconds.items()
        },
        "relative_error": float(off.pow(2).mean().sqrt() / first.latents.std()),
        "psnr": None if mse == 0 else float(-10 * np.log10(mse)),
        "peak_gib": row.peak_gib,
        "rounds": row.rounds,
    }


def table(rows: list[dict[str, Any]], device: str) -> str:
    clock = clock_of(device)
    unit = "s" if clock == "wall" else "core s"
    lines = [
        f"| | volumes a {unit} | ratio | share of peak | latents off | PSNR, dB | memory, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        psnr = "" if row["psnr"] is None else f"{row['psnr']:.1f}"
        memory = "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}"
        lines.append(
            f"| {row['name']} | {row['volumes_a_second'][clock]:.3f} | {row['ratio'][clock]:.2f} | "
            f"{100 * row['share_of_peak'][clock]:.0f} % | {row['relative_error']:.1e} | {psnr} | "
            f"{memory} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
