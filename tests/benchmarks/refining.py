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

Refine = Callable[[Refiner, Tensor, Tensor, Tensor, int], Tensor]


def ours(refiner: Refiner, volume: Tensor, latent: Tensor, drawn: Tensor, calls: int) -> Tensor:
    """As the press does it."""
    return refiner.refine(volume, latent, drawn, calls)


def euler(refiner: Refiner, volume: Tensor, latent: Tensor, drawn: Tensor, calls: int) -> Tensor:
    """The same path by steps that know their own velocity alone."""
    before: list[Tensor] = []

    def undone(*inputs: Tensor) -> Tensor:
        """What `refine` makes Euler's step of: it takes 3/2 of this less 1/2 of the one before."""
        velocity = refiner(*inputs)
        told = velocity if not before else (velocity + before[-1] / 2) / 1.5
        before.append(told)
        return told

    return refiner.refine(volume, latent, drawn, calls, undone)


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
    ways: list[tuple[str, Refine, int]] = [("second order", ours, CONVERGED)]
    ways += [("second order", ours, calls) for calls in CALLS]
    ways += [("Euler", euler, calls) for calls in CALLS]
    bands = " | ".join(f"{low:.2f}-{high:.2f}" for low, high in BANDS)
    print(f"| steps | calls | s | {bands} | kurtosis |\n|{'---|' * (len(BANDS) + 4)}")
    inputs = drawn(model, args.volumes)
    best: np.ndarray | None = None
    for name, refine, calls in ways:
        begun = time.process_time()
        volumes = [refine(model.autoencoder.refiner, *one, calls) for one in inputs]
        seconds = (time.process_time() - begun) / len(volumes)
        spectra = [spectrum(volume.clamp(0, 1)[0, 0].numpy()) for volume in volumes]
        power = np.array([one.power for one in spectra])
        best = power if best is None else best
        over = np.exp(np.log(power / best).mean(axis=0))
        kurtosis = np.mean([one.kurtosis for one in spectra], axis=0)
        cells = [name, str(calls), f"{seconds:.1f}", *(f"{share:.3f}" for share in over)]
        told = " ".join(f"{excess:.2f}" for excess in kurtosis)
        print(f"| {' | '.join([*cells, told])} |", flush=True)


@torch.inference_mode()
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
