"""What an evaluation says before it begins."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from manifests.numbers import counted
from ray_jobs.evaluation.sources import Source


def head(sources: Mapping[str, Source], args: argparse.Namespace, slots: int, gpus: int) -> str:
    """What is measured, on what, and in which order."""
    volumes = ", ".join(f"{len(source.items):,} of {label}" for label, source in sources.items())
    workers = counted(args.workers or slots, "worker")
    on = f"{workers}, one core each" + (f", and {counted(gpus, 'GPU')}" if gpus else "")
    steps = [
        "measure each",
        *(["MedicalNet's features"] if args.medicalnet else []),
        "compare pairs",
        *(["read latents"] if args.latents else []),
        "match folds",
        *(["sweep each covariate"] if args.model else []),
        "reckon and report",
    ]
    return f"evaluating volumes: {volumes}; {on}\n{len(steps)} steps: {', '.join(steps)}"
