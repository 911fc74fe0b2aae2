"""The paper's networks at their true size: equality, seconds a step and a decode, peak memory.

    python -m tests.benchmarks.published_model --folder /scratch/published --steps 2

A bundle folder of the published one's shape is made first (2.3 GB, random seeded weights, old key
names). Each stage runs in a process of its own, so that its peak memory is its own:

    equality  latents of every step against tests/ldm/restatement.py, float32
    decode    the decoded volume against MONAI's own decoder, float32 (13 GB and more, each)
    speed     seconds of a step and of a decode, in the format that is native here
    generate  brainpress generate --model monai:FOLDER --n 1, start to end

`--width narrow` does all of it in seconds, to try this script.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from ldm import noise
from ldm.covariates import Row
from ldm.loading import load
from ldm.models.latent_diffusion import Model
from ldm.networks.precision import resolve
from tests.ldm.bundles import NARROW, PAPER, networks, write_bundle

STAGES = ("equality", "decode", "speed", "generate")
ROW: Row = {"sex": "F", "age": 63.0, "ventricular_volume": 36_000.0, "brain_volume": 1.47e6}
KEY = (0, 0, 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="of the bundle, made if absent")
    parser.add_argument("--width", choices=("paper", "narrow"), default="paper")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--stages", nargs="+", choices=STAGES, default=["equality", "speed", "generate"]
    )
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.stage:
        globals()[args.stage](args)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{args.stage}: peak memory of the process {peak:.1f} GB", flush=True)
        return
    if not args.folder.is_dir():
        begun = time.perf_counter()
        write_bundle(args.folder, PAPER if args.width == "paper" else NARROW)
        print(f"bundle written in {time.perf_counter() - begun:.0f} s: {args.folder}", flush=True)
    for stage in args.stages:
        own = [sys.executable, "-m", "tests.benchmarks.published_model", "--stage", stage]
        own += ["--folder", str(args.folder), "--width", args.width]
        own += ["--steps", str(args.steps), "--threads", str(args.threads)]
        if subprocess.run(own, check=False).returncode:
            raise SystemExit(f"{stage} failed")


def loaded(args: argparse.Namespace, precision: str) -> Model:
    begun = time.perf_counter()
    model = load(f"monai:{args.folder}", device="cpu", precision=precision)
    weights = sum(p.numel() for p in model.denoiser.parameters())
    print(
        f"loaded in {time.perf_counter() - begun:.0f} s: U-Net of {weights:,} weights, "
        f"{precision}, {args.threads} threads",
        flush=True,
    )
    assert isinstance(model, Model)
    return model


def start(model: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """The noise and the scaled covariates of the sample."""
    drawn = noise.normal(model.latent_shape, noise.LATENT, *KEY)
    return torch.from_numpy(drawn)[None], torch.from_numpy(model.schema.scale(ROW))[None]


@torch.inference_mode()
def equality(args: argparse.Namespace) -> None:
    """The latent after every step, this project's and the plain restatement's."""
    from tests.ldm import restatement

    model = loaded(args, "fp32")
    latent, conditions = start(model)
    seen: list[torch.Tensor] = []
    model.denoiser.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    final = model.sample_latents([ROW], [KEY], steps=args.steps, sampler="ddim")
    del model
    unet = networks(PAPER if args.width == "paper" else NARROW)[1]
    wanted = restatement.ddim(unet, latent, conditions, args.steps)
    for number, (found, reference) in enumerate(zip([*seen[1:], final], wanted, strict=True), 1):
        worst = float((found - reference).abs().max())
        print(
            f"step {number} of {args.steps}: greatest difference {worst:.2e}, "
            f"latent's standard deviation {float(reference.std()):.3f}",
            flush=True,
        )
        torch.testing.assert_close(found, reference, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def decode(args: argparse.Namespace) -> None:
    """The decoded volume, this project's and MONAI's own."""
    model = loaded(args, "fp32")
    latent, _ = start(model)
    begun = time.perf_counter()
    ours = model.decode(latent)
    print(f"decoded in {time.perf_counter() - begun:.1f} s, float32", flush=True)
    del model
    autoencoder = networks(PAPER if args.width == "paper" else NARROW)[0]
    theirs = autoencoder.decode_stage_2_outputs(latent)[:, 0].numpy()[:, ::-1]
    print(f"greatest difference {np.abs(ours - theirs).max():.2e} of {theirs.std():.3f}")
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def speed(args: argparse.Namespace) -> None:
    """Seconds of a step and of a decode; the cores' own seconds hold on a shared machine too."""
    model = loaded(args, resolve("auto", "cpu"))
    model.sample_latents([ROW], [KEY], steps=1, sampler="ddim")  # the first pass sets things up
    begun, worked = time.perf_counter(), time.process_time()
    latents = model.sample_latents([ROW], [KEY], steps=args.steps, sampler="ddim")
    a_step = (time.perf_counter() - begun) / args.steps
    print(
        f"{a_step:.2f} s a step, {(time.process_time() - worked) / args.steps:.1f} core seconds; "
        f"peak memory while sampling {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f}"
        " GB",
        flush=True,
    )
    begun, worked = time.perf_counter(), time.process_time()
    volume = model.decode(latents)
    decoding = time.perf_counter() - begun
    assert volume.shape[1:] == model.grid.shape
    assert np.isfinite(volume).all()
    print(
        f"{decoding:.1f} s to decode, {time.process_time() - worked:.1f} core seconds: "
        f"{50 * a_step + decoding:.0f} s a volume at 50 steps",
        flush=True,
    )


def generate(args: argparse.Namespace) -> None:
    """One volume through the whole press, its memory watched from outside."""
    from tests.e2e.running import descendants, environment, memory_bytes

    with tempfile.TemporaryDirectory(dir=args.folder.parent) as out:
        words = ["--model", f"monai:{args.folder}", "--n", "1", "--steps", args.steps, "--out"]
        words += [f"{out}/release", "--batch-size", "1", "--shard-size", "1", "--actors", "1"]
        words += ["--attempts", "1", "--device", "cpu"]
        command = [sys.executable, "-m", "ray_jobs.cli", "generate", *map(str, words)]
        begun, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, env=environment())
        while process.poll() is None:
            peak = max(peak, memory_bytes([process.pid, *descendants(process.pid)]))
            time.sleep(0.5)
        seconds = time.perf_counter() - begun
        assert process.returncode == 0, f"generate ended with {process.returncode}"
        size = next(Path(out).rglob("*_T1w.nii.gz")).stat().st_size
    print(
        f"generate --n 1 --steps {args.steps}: {seconds:.0f} s start to end on one thread, "
        f"{size / 1e6:.1f} MB, peak memory of all its processes {peak / 1e9:.1f} GB",
        flush=True,
    )


if __name__ == "__main__":
    main()
