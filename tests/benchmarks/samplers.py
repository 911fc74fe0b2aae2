"""How far each sampler is from the converged solve at so many steps, and what a volume costs.

    python -m tests.benchmarks.samplers --model demo --docs docs [--bids COHORT]

Writes docs/samplers.md and docs/samplers.png. Every sampler starts from the same noise. With the
BIDS folder of the model's cohort the edge strength of held-out subjects is told beside theirs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ldm.diffusion.config import DEFAULT_STEPS, Sampler
from ldm.loading import load
from ldm.models.base import LoadedModel
from ldm.models.latent_diffusion import Model
from ldm.noise import COVARIATES, generator
from ldm.training.autoencoder import fidelity
from ldm.volumes.conversion import dequantise, quantise, read_image, to_grid
from ldm.volumes.previews import mosaic
from ldm.volumes.quality import check, measure
from ray_jobs.preparation.bids.subjects import find_subjects, in_validation

STEPS = (5, 8, 10, 15, 20, 25, 50)
SOLVERS = (Sampler.DDIM, Sampler.DPM_2M, Sampler.UNIPC)
NOISY = ((Sampler.DDPM, 20), (Sampler.DDPM, 50))
CONVERGED = (Sampler.UNIPC, 100)
SECOND_OPINION = (Sampler.DPM_2M, 100)
BASELINE = (Sampler.DDIM, 50)
PICTURED = [(Sampler.DDIM, 50), *((s, n) for n in (10, 15, 20) for s in SOLVERS)]

Way = tuple[Sampler, int]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What one way of sampling made: latents, volumes 0..4095, CPU seconds a volume to denoise."""

    latents: Tensor
    levels: np.ndarray
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--volumes", type=int, default=8)
    parser.add_argument("--bids", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model, device="cpu", precision="fp32")
    if not isinstance(model, Model):
        parser.error(f"--model {args.model}: expected a latent diffusion model")
    drawn: dict[Way, Drawn] = {}
    grid = [*((sampler, steps) for sampler in SOLVERS for steps in STEPS), *NOISY]
    for way in [CONVERGED, SECOND_OPINION, *grid]:
        drawn[way] = draw(model, way, args.volumes)
        print(row(way, drawn, model), flush=True)
    fast = draw(load(args.model, device="cpu", precision="bf16"), BASELINE, args.volumes)
    rounding = apart(fast, drawn[BASELINE], model)
    real = None if args.bids is None else real_edges(model, args.bids)
    args.docs.mkdir(exist_ok=True)
    (args.docs / "samplers.png").write_bytes(picture(drawn))
    text = page(drawn, grid, model, args.volumes, rounding, real)
    (args.docs / "samplers.md").write_text(text, encoding="utf-8")
    print(f"wrote {args.docs / 'samplers.md'} and samplers.png")


def draw(model: LoadedModel, way: Way, count: int, batch: int = 4) -> Drawn:
    """`count` volumes, each of its own seed, in batches as `generate` makes them on a CPU."""
    sampler, steps = way
    assert isinstance(model, Model)
    rows = [model.distribution.sample(generator(COVARIATES, seed)) for seed in range(count)]
    keys = [(seed,) for seed in range(count)]
    latents, begun = [], time.process_time()
    for first in range(0, count, batch):
        cut = slice(first, first + batch)
        how = {"steps": steps, "sampler": sampler, "guidance": 1.0}
        latents.append(model.sample_latents(rows[cut], keys[cut], **how))
    seconds = (time.process_time() - begun) / count
    found = torch.cat(latents)
    levels = np.stack([quantise(model.decode(latent[None])[0]) for latent in found])
    return Drawn(latents=found, levels=levels, seconds=seconds)


def apart(one: Drawn, other: Drawn, model: Model) -> float:
    """Root mean square distance of the latents, in their standard deviations; mean of volumes."""
    std = torch.tensor(model.description.latent_std).view(1, -1, 1, 1, 1)
    gaps = (one.latents - other.latents) / std
    return float(gaps.pow(2).mean((1, 2, 3, 4)).sqrt().mean())


def likeness(one: Drawn, other: Drawn) -> float:
    """PSNR in dB of the decoded volumes; mean of volumes."""
    pairs = zip(one.levels, other.levels, strict=True)
    volumes = ([torch.from_numpy(dequantise(v))[None, None] for v in pair] for pair in pairs)
    return float(np.mean([fidelity(*pair)["psnr"] for pair in volumes]))


def edges(levels: Iterable[np.ndarray]) -> float:
    """Mean edge strength, in thousandths of the intensity range; `ldm.volumes.quality`."""
    return 1000 * float(np.mean([measure(volume)["edge_strength"] for volume in levels]))


def real_edges(model: Model, bids: Path) -> tuple[float, float, int]:
    """Edge strength of held-out subjects and of their reconstructions, and their number."""
    real, decoded = [], []
    for subject in find_subjects(bids, model.schema):
        if subject.image is None or not in_validation(subject.participant_id, 0.1):
            continue
        volume = to_grid(*read_image(subject.image), model.grid)
        real.append(quantise(volume))
        decoded.append(quantise(model.reconstruct(volume[None])[0]))
    return edges(real), edges(decoded), len(real)


def cells(way: Way, drawn: dict[Way, Drawn], model: Model) -> list[str]:
    """The figures of one way of sampling."""
    here, best, baseline = drawn[way], drawn[CONVERGED], drawn.get(BASELINE)
    passed = sum(check(volume, model.description.bounds).ok for volume in here.levels)
    return [
        f"{apart(here, best, model):.4f}",
        f"{likeness(here, best):.1f}" if way != CONVERGED else "",
        f"{apart(here, baseline, model):.4f}" if baseline and way != BASELINE else "",
        f"{edges(here.levels):.1f}",
        f"{passed}/{len(here.levels)}",
        f"{here.seconds:.2f}",
    ]


def row(way: Way, drawn: dict[Way, Drawn], model: Model) -> str:
    """A line of the table."""
    sampler, steps = way
    usual = steps == DEFAULT_STEPS[sampler]
    name = f"**{sampler}**" if usual else str(sampler)
    return f"| {name} | {steps} | " + " | ".join(cells(way, drawn, model)) + " |"


def fewest(sampler: Sampler, drawn: dict[Way, Drawn], model: Model) -> int | None:
    """The fewest steps that come as near to the converged solve as the baseline does."""
    bar = apart(drawn[BASELINE], drawn[CONVERGED], model)
    near = [n for n in STEPS if apart(drawn[sampler, n], drawn[CONVERGED], model) <= bar]
    return min(near, default=None)


def picture(drawn: dict[Way, Drawn]) -> bytes:
    """The first volume as each sampler makes it."""
    volumes = [dequantise(drawn[way].levels[0]) for way in [CONVERGED, *PICTURED]]
    titles = [f"{sampler}, {steps} steps" for sampler, steps in [CONVERGED, *PICTURED]]
    return mosaic(volumes, titles, planes=("axial", "sagittal"))


def steps_of(way: Way) -> str:
    """In words."""
    return f"{way[1]} steps of `{way[0]}`"


def page(
    drawn: dict[Way, Drawn],
    grid: Sequence[Way],
    model: Model,
    count: int,
    rounding: float,
    real: tuple[float, float, int] | None,
) -> str:
    """docs/samplers.md."""
    agreed = apart(drawn[SECOND_OPINION], drawn[CONVERGED], model)
    near = {sampler: fewest(sampler, drawn, model) for sampler in SOLVERS[1:]}
    told = "; ".join(
        f"`{name}` with {n} steps" if n else f"`{name}` with none of these"
        for name, n in near.items()
    )
    held_out = ""
    if real is not None:
        held_out = (
            f"  {real[2]} held-out subjects, not registered, have {real[0]:.1f}, and {real[1]:.1f} "
            "once the\n  autoencoder has encoded and decoded them.\n"
        )
    cohort = "" if real is None else " --bids COHORT"
    table = "\n".join(row(way, drawn, model) for way in [CONVERGED, *grid])
    return f"""# Samplers

Model `{model.name}`, {count} volumes of {" x ".join(map(str, model.grid.shape))} voxels, the same
noise and covariates for every sampler. Computed in float32, on one thread of a machine with 2 CPU
cores, by

    python -m tests.benchmarks.samplers --model {model.name} --volumes {count} --docs docs{cohort}

As near to the converged solve as 50 steps of `ddim` are: {told}.

| sampler | steps | from converged | PSNR, dB | from 50 of ddim | edges | passed | CPU s |
|---|---|---|---|---|---|---|---|
{table}

- **from converged**: distance of the latent from that of {steps_of(CONVERGED)}, root mean square,
  in standard deviations of the latent. {steps_of(SECOND_OPINION)} are {agreed:.4f} from it.
  `ddpm` draws new noise at every step: it goes elsewhere, and that is no error.
- **PSNR**: of the decoded volumes, against the converged solve's.
- **edges**: edge strength of the volumes, thousandths of the intensity range
  (`ldm.volumes.quality`).
{held_out}- **passed**: volumes that pass the quality check of `generate`.
- **CPU s**: seconds of one core to denoise a volume, in batches of 4, without decoding.
- Where a machine computes in bf16, {steps_of(BASELINE)} move by {rounding:.4f} for that alone.
- In bold: the steps that `generate` takes by default (of `ddpm` all 1000).

The first volume, each cut through its own centre, which may round to the slice beside:

![the first volume, by sampler and steps](samplers.png)
"""


if __name__ == "__main__":
    main()
