"""Training at the paper's size: seconds a step and peak memory of both stages, without Ray.

    python -m tests.benchmarks.paper_scale --out paper-scale.json
    python -m tests.benchmarks.paper_scale --preset lab --out lab-scale.json

On a GPU (an 80 GB one holds all of it) every case runs whole, at 160 x 224 x 160. On a CPU each
case runs with the paper's depth and grid on narrower networks (--width; --side for a smaller grid),
for the time, and what the full size holds is calculated, as `train-... --dry-run` does it
(`ldm.training.forecast`).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ldm.networks import Autoencoder, Denoiser
from ldm.networks.precision import PRECISIONS
from ldm.training.adversarial import PatchCritic
from ldm.training.autoencoder import AdversarialAutoencoderTask
from ldm.training.config import TrainingConfig
from ldm.training.diffusion import DiffusionTask
from ldm.training.distance import FeatureDistance
from ldm.training.features import FeatureNetwork
from ldm.training.forecast import stages
from ldm.training.loop import TrainingState, train
from ldm.training.presets import Preset, preset

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained: "autoencoder" or "diffusion", with which terms, how many samples at once."""

    stage: str
    batch: int = 1
    checkpointing: bool = False
    critic: bool = False
    perceptual: bool = False

    @property
    def name(self) -> str:
        words = [self.stage, f"batch {self.batch}"]
        words += [w for w in ("critic", "perceptual", "checkpointing") if getattr(self, w)]
        return ", ".join(words)


def cases(batches: list[int]) -> Iterator[Case]:
    for checkpointing in (False, True):
        yield Case(stage="autoencoder", checkpointing=checkpointing)
        yield Case(stage="autoencoder", checkpointing=checkpointing, critic=True)
        yield Case(stage="autoencoder", checkpointing=checkpointing, critic=True, perceptual=True)
    for batch in batches:
        for checkpointing in (False, True):
            yield Case(stage="diffusion", batch=batch, checkpointing=checkpointing)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="bf16", choices=list(PRECISIONS))
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after one to warm up")
    parser.add_argument("--batches", default="1,2,4,8", help="of the diffusion stage")
    parser.add_argument("--width", type=int, help="divide every width by this; on a CPU 8")
    parser.add_argument("--side", type=int, help="divide every side by this; default 1")
    parser.add_argument("--no-run", action="store_true", help="the calculation alone")
    parser.add_argument("--out", type=Path, default=Path("paper-scale.json"))
    args = parser.parse_args()
    on_gpu = args.device.startswith("cuda")
    width, side = args.width or (1 if on_gpu else 8), args.side or 1
    chosen, rows = preset(args.preset), []
    for case in cases([int(b) for b in args.batches.split(",")]):
        row: dict[str, Any] = {"case": case.name, **asdict(case)}
        row["calculated_gib"] = round(calculated(case, chosen, args.precision) / GIB, 2)
        if not args.no_run:
            row |= measured(case, narrower(chosen, width, side), args)
        rows.append(row)
        print("  ".join(f"{k} {v}" for k, v in row.items() if k not in asdict(case)), flush=True)
    document = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "preset": args.preset,
        "precision": args.precision,
        "run_at": {"width_divided_by": width, "sides_divided_by": side},
        "calculated_at": "full size, on fake tensors",
        "rows": rows,
    }
    args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(table(rows, f"width / {width}, sides / {side}"))


def narrower(chosen: Preset, width: int, side: int) -> Preset:
    """A preset's networks with every width divided by `width`, on a grid of sides / `side`."""

    def thin(channels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(c // width for c in channels)

    if width == side == 1:
        return chosen
    groups = max(1, 32 // width)
    shape = tuple(max(32, round(s / side / 32) * 32) for s in chosen.grid.shape)
    return replace(
        chosen,
        grid=replace(chosen.grid, shape=shape),
        autoencoder=replace(
            chosen.autoencoder, channels=thin(chosen.autoencoder.channels), norm_num_groups=groups
        ),
        denoiser=replace(
            chosen.denoiser,
            channels=thin(chosen.denoiser.channels),
            head_channels=thin(chosen.denoiser.head_channels),
            norm_num_groups=groups,
        ),
        critic=replace(chosen.critic, channels=chosen.critic.channels // width),
        features=replace(
            chosen.features,
            channels=thin(chosen.features.channels),
            piece=min(chosen.features.piece, *shape),
        ),
    )


def config(case: Case, base: TrainingConfig, steps: int, precision: str) -> TrainingConfig:
    return replace(
        base,
        steps=steps,
        batch_size=case.batch,
        activation_checkpointing=case.checkpointing,
        adversarial_weight=0.005 if case.critic else 0.0,
        adversarial_from=0,
        perceptual_weight=0.002 if case.perceptual else 0.0,
        precision=precision,
    )


def calculated(case: Case, preset: Preset, precision: str) -> int:
    """Bytes held at once, at the preset's own size."""
    base = preset.train_autoencoder if case.stage == "autoencoder" else preset.train_diffusion
    stage = stages.autoencoder if case.stage == "autoencoder" else stages.diffusion
    chosen = config(case, base, 1, precision)
    return stages.forecast(stage, preset, chosen, case.batch).held


def build(stage: str, preset: Preset) -> nn.Module:
    if stage == "autoencoder":
        return Autoencoder(preset.autoencoder)
    return Denoiser(preset.denoiser)


# ----------------------------------------------------------------------------------- the running


def measured(case: Case, preset: Preset, args: argparse.Namespace) -> dict[str, float | str]:
    """Seconds a step and, on a GPU, the largest memory that was allocated."""
    device = torch.device(args.device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    torch.manual_seed(0)
    base = preset.train_autoencoder if case.stage == "autoencoder" else preset.train_diffusion
    chosen = config(case, base, args.steps + 1, args.precision)
    critic = PatchCritic(preset.critic) if case.critic else None
    try:
        state = TrainingState(build(case.stage, preset), chosen, device, critic)
        task = synthetic(case, preset, chosen, critic, device)
        times = []
        begun = time.perf_counter()
        for _ in train(state, task):
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
            begun = time.perf_counter()
    except torch.OutOfMemoryError:
        return {"step_s": "out of memory"}
    found: dict[str, float | str] = {"step_s": round(float(np.median(times[1:])), 3)}
    if on_gpu:
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
    return found


class Synthetic:
    """Mixed into a task: its samples are drawn instead of read."""

    def draw(self, preset: Preset, batch: int, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        latent = (batch, *preset.latent_shape)
        return {
            "volume": torch.rand(batch, 1, *preset.grid.shape, generator=generator),
            "noise": torch.randn(latent, generator=generator),
            "latent": torch.randn(latent, generator=generator),
            "conditions": torch.rand(batch, preset.denoiser.conditions, generator=generator),
            "key": torch.arange(batch),
        }


def synthetic(
    case: Case,
    preset: Preset,
    chosen: TrainingConfig,
    critic: nn.Module | None,
    device: torch.device,
) -> Any:
    """The stage's own task and loss, on drawn samples."""
    if case.stage == "diffusion":

        class Diffusion(Synthetic, DiffusionTask):
            def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
                samples = self.draw(preset, len(indices), step)
                kept = {k: samples[k] for k in ("latent", "noise", "conditions")}
                times = torch.arange(len(indices)) * 1000 // len(indices)
                return {**kept, "step": times}

        empty = np.zeros((1, preset.denoiser.conditions))
        channels = [0.0] * preset.denoiser.latent_channels
        ones = [1.0] * preset.denoiser.latent_channels
        return Diffusion([Path()], empty, channels, ones, preset.schedule, chosen)

    class Reconstruction(Synthetic, AdversarialAutoencoderTask):
        def load(self, indices: np.ndarray, step: int, positions: range) -> dict[str, Tensor]:
            samples = self.draw(preset, len(indices), step)
            kept = {k: samples[k] for k in ("volume", "noise", "key")}
            return {**kept, "step": torch.full((len(indices),), step)}

    distance = None
    if case.perceptual:
        network = FeatureNetwork(preset.features).requires_grad_(False).to(device)
        distance = FeatureDistance(network.features)
    task = Reconstruction([Path()], chosen, preset.latent_shape, critic or nn.Identity(), distance)
    if critic is None:
        task.plays = lambda step: False  # type: ignore[method-assign]
    return task


def table(rows: list[dict[str, Any]], ran: str) -> str:
    """Markdown."""
    lines = [
        f"| training step | calculated at full size, GiB | measured s ({ran}) | peak GiB |",
        "|---|---|---|---|",
    ]
    for row in rows:
        step, peak = row.get("step_s", ""), row.get("peak_gib", "")
        lines.append(f"| {row['case']} | {row['calculated_gib']} | {step} | {peak} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
