"""Time and cost of a release by GPU, from the model's arithmetic or from a measured rate.

python infra/cost.py --n 100000 --gpus 8
python infra/cost.py --gpu L40S --rate 1.4 --price 1.10    # volumes a second, per GPU hour
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

# The paper's network: 50 steps of 1.452 TFLOP and a decode of 15.1 (two operations a multiply-add).
TFLOP_PER_STEP, TFLOP_DECODE = 1.452, 15.1
# A call of the refiner that `--preset paper` trains; the paper's own model has none.
TFLOP_PER_REFINER_CALL = 1.772
# Of the data sheet's peak. An assumption, not a measurement.
SHARE = 0.30


class Gpu(NamedTuple):
    """Peak: dense bf16 with fp32 sums, TFLOP/s, of the maker's data sheet."""

    peak: float
    instance: str


GPUS = {
    "A10G": Gpu(70, "g5"),
    "L4": Gpu(121, "g6"),
    "A100": Gpu(312, "p4d"),
    "L40S": Gpu(362, "g6e"),
    "H100": Gpu(989, "p5"),
    "H200": Gpu(989, "p5en"),
}
# Volumes a second of one GPU, end to end, once somebody has measured it: {"H100": 3.1}
MEASURED: dict[str, float] = {}


class Estimate(NamedTuple):
    """What printing takes on GPUs of one kind."""

    gpu: str
    measured: bool
    rate: float  # volumes a second and GPU
    gpu_hours: float
    hours: float  # with all GPUs at work


def tflop(steps: int = 50, refiner_calls: int = 0) -> float:
    """TFLOP of one volume.

    >>> round(tflop(), 1)
    87.7
    """
    return steps * TFLOP_PER_STEP + TFLOP_DECODE + refiner_calls * TFLOP_PER_REFINER_CALL


def estimate(
    gpu: str,
    *,
    n: int,
    gpus: int,
    share: float = SHARE,
    steps: int = 50,
    refiner_calls: int = 0,
    rate: float | None = None,
) -> Estimate:
    """Printing `n` volumes on `gpus` of a kind, at `share` of its peak or at a measured `rate`."""
    known = rate or (MEASURED.get(gpu) if (steps, refiner_calls) == (50, 0) else None)
    used = known or GPUS[gpu].peak * share / tflop(steps, refiner_calls)
    gpu_hours = n / used / 3600
    return Estimate(gpu, known is not None, used, gpu_hours, gpu_hours / gpus)


def table(
    *, n: int, gpus: int, share: float = SHARE, steps: int = 50, refiner_calls: int = 0
) -> str:
    """Every GPU as Markdown."""
    lines = [
        f"| GPU | EC2 | peak, TFLOP/s | volumes/s | GPU hours for {n:,} | hours on {gpus} | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, gpu in GPUS.items():
        found = estimate(
            name, n=n, gpus=gpus, share=share, steps=steps, refiner_calls=refiner_calls
        )
        how = "measured" if found.measured else "calculated"
        lines.append(
            f"| {name} | {gpu.instance} | {gpu.peak:g} | {found.rate:.2f} | {found.gpu_hours:,.0f} "
            f"| {found.hours:,.1f} | {how} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=100_000, help="volumes")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs at work")
    parser.add_argument("--steps", type=int, default=50, help="calls of the denoiser")
    parser.add_argument(
        "--refiner-calls", type=int, default=0, help="of a model with a refiner, usually 6"
    )
    parser.add_argument("--share", type=float, default=SHARE, help=f"of the peak (default {SHARE})")
    parser.add_argument("--gpu", choices=GPUS, help="this one alone")
    parser.add_argument("--rate", type=float, help="measured volumes a second of one GPU")
    parser.add_argument("--price", type=float, help="of a GPU hour")
    words = parser.parse_args()
    how = {
        "n": words.n,
        "gpus": words.gpus,
        "share": words.share,
        "steps": words.steps,
        "refiner_calls": words.refiner_calls,
    }
    if words.gpu is None:
        print(table(**how))
        return
    found = estimate(words.gpu, **how, rate=words.rate)
    price = "" if words.price is None else f", {found.gpu_hours * words.price:,.0f} in money"
    print(
        f"{words.n:,} volumes on {words.gpus} x {found.gpu}: {found.hours:,.1f} h, "
        f"{found.gpu_hours:,.0f} GPU hours{price} ({found.rate:.2f} volumes/s each)"
    )


if __name__ == "__main__":
    main()
