"""How much fine structure a refiner draws in so many calls: our steps of the second order, Euler's.

    python -m tests.benchmarks.refining --model demo --volumes 4

Both begin from the same noise, latents and decoded volumes. Power and kurtosis are those of
`ldm.volumes.spectrum`; power is over that of `CONVERGED` calls of the second order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ldm import noise
from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.networks.refiner import Refiner, noise_shape
from ldm.volumes.spectrum import BANDS, spectrum

CONVERGED = 40
CALLS = (4, 5, 6, 8, 10)

Predict = Callable[..., Tensor]


def euler(refiner: Refiner) -> Predict:
    """What `refine` makes Euler's steps of, which know their own velocity alone: it takes 3/2 of
    what it is told less 1/2 of what it was told before. For one path."""
    before: Tensor | None = None

    def predict(*inputs: Tensor) -> Tensor:
        nonlocal before
        velocity = refiner(*inputs)
        before = velocity if before is None else (velocity + before / 2) / 1.5
        return before

    return predict


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--volumes", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model, device="cpu", precision="fp32")
    if not (isinstance(model, Model) and model.has_refiner):
        parser.error(f"--model {args.model}: expected a latent diffusion model with a refiner")
    ways: list[tuple[str, Callable[[Refiner], Predict], int]] = [
        *(("second order", lambda refiner: refiner, calls) for calls in (CONVERGED, *CALLS)),
        *(("Euler", euler, calls) for calls in CALLS),
    ]
    refiner = model.autoencoder.refiner
    bands = " | ".join(f"{low:.2f}-{high:.2f}" for low, high in BANDS)
    print(f"| steps | calls | s | {bands} | kurtosis |\n|{'---|' * (len(BANDS) + 4)}")
    inputs = drawn(model, args.volumes)
    best: np.ndarray | None = None
    for name, told_by, calls in ways:
        begun = time.process_time()
        volumes = [refiner.refine(*one, calls, told_by(refiner)) for one in inputs]
        seconds = (time.process_time() - begun) / len(volumes)
        spectra = [spectrum(volume.clamp(0, 1)[0, 0].numpy()) for volume in volumes]
        power = np.array([one.power for one in spectra])
        best = power if best is None else best
        over = np.exp(np.log(power / best).mean(axis=0))
        kurtosis = np.mean([one.kurtosis for one in spectra], axis=0)
        cells = [name, str(calls), f"{seconds:.1f}", *(f"{share:.3f}" for share in over)]
        told = " ".join(f"{excess:.2f}" for excess in kurtosis)
        print(f"| {' | '.join([*cells, told])} |", flush=True)


def drawn(model: Model, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each of `count` seeds the decoded volume, its latent and noise for the refiner."""
    shape, found = noise_shape(model.grid.shape), []
    for seed in range(count):
        row = model.distribution.sample(noise.generator(noise.COVARIATES, seed))
        latent = model.sample_latents([row], [(seed,)])
        volume = torch.from_numpy(model.decode(latent))[:, None]
        rest = torch.from_numpy(noise.normal(shape, noise.REFINE, seed))[None]
        found.append((volume, latent, rest))
    return found


if __name__ == "__main__":
    with torch.inference_mode():
        main()
