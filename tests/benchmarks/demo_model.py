"""What the demo model can do: seconds a volume, held-out fidelity, and a sweep of ventricles.

    python -m tests.benchmarks.demo_model --model demo --pictures docs [--bids COHORT]

With the BIDS folder of the cohort it was trained on, the subjects held out by their id are
reconstructed and the generated volumes' dark deep voxels are set against those asked for.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import ldm
from ldm.models.latent_diffusion import Model
from ldm.noise import COVARIATES, generator
from ldm.training.autoencoder import fidelity
from ldm.volumes.conversion import dequantise, read_image, to_grid
from ldm.volumes.previews import sweep
from ray_jobs.preparation.bids.subjects import find_subjects, in_validation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--pictures", type=Path, default=Path("docs"))
    parser.add_argument("--bids", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(2)
    model = ldm.load(args.model)
    how = model.description.sampling.text
    print(f"seconds a volume, 2 cores, {how}: {seconds_a_volume(model):.2f}")
    if args.bids:
        psnr, ssim, count = reconstruction(model, args.bids)
        print(f"{count} held-out subjects: PSNR {psnr:.2f} dB, SSIM {ssim:.4f}")
    args.pictures.mkdir(exist_ok=True)
    ventricles(model, args.pictures / "ventricles.png")


def seconds_a_volume(model: Model) -> float:
    """The best of three, after one to warm up."""
    row = model.distribution.sample(generator(COVARIATES, 0))
    times = []
    for number in range(4):
        begun = time.perf_counter()
        model.generate([row], [(number,)])
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def reconstruction(model: Model, bids: Path) -> tuple[float, float, int]:
    """Mean PSNR and SSIM of the subjects that training held out, through the autoencoder."""
    found = []
    for subject in find_subjects(bids, model.schema):
        if subject.image is None or not in_validation(subject.participant_id, 0.1):
            continue
        volume = to_grid(*read_image(subject.image), model.grid)
        decoded = np.clip(model.reconstruct(volume[None]), 0, 1)
        pair = [torch.from_numpy(v)[None, None] for v in (decoded[0], volume)]
        found.append(fidelity(pair[0], pair[1]))
    return (
        float(np.mean([f["psnr"] for f in found])),
        float(np.mean([f["ssim"] for f in found])),
        len(found),
    )


def ventricles(model: Model, picture: Path) -> None:
    """The same person, the same noise, ventricles asked for from small to large."""
    asked = [8_000, 15_000, 25_000, 40_000, 60_000]
    person = {"sex": "F", "age": 65.0, "brain_volume": 1_220_000.0}
    rows = [{**person, "ventricular_volume": float(volume)} for volume in asked]
    volumes = [model.generate([row], [(7,)])[0] for row in rows]
    captions = [f"{volume / 1000:g} mL" for volume in asked]
    picture.write_bytes(
        sweep([dequantise(v) for v in volumes], captions, title="ventricular volume asked for")
    )
    print(f"wrote {picture}")


if __name__ == "__main__":
    main()
