"""Train the segmenter on a cohort with MUSE label maps and on virtual subjects.

    python -m ldm.measuring.train --bids COHORT --out RUN

COHORT is a BIDS folder with T1w images cut out of their heads and label maps
derivatives/**/*_dseg.nii.gz. A quarter of its subjects, by their id, is never looked at. The
shipped tool was trained in three stages, which its card tells: --refine 0, then twice --from.
To resume training, run the same command again. RUN/tool is the trained tool.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ldm.errors import LdmError

VIRTUAL = 30  # virtual subjects, beside the real ones
CHANNELS, PATCH = (16, 32, 64, 96), 2


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ldm.measuring.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--virtual", type=int, default=VIRTUAL, help="virtual subjects (30)")
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--cooldown-steps", type=int, default=850)
    parser.add_argument("--save-every", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--refine", type=int, default=16, help="channels of the last convolution")
    parser.add_argument("--refinements", type=int, default=1, help="1, or 2 for one more")
    parser.add_argument(
        "--strong", type=float, default=0.5, help="share of samples that are strongly augmented"
    )
    parser.add_argument("--from", dest="begin", type=Path, help="RUN whose weights to begin with")
    parser.add_argument("--precision", choices=("auto", "bf16", "fp32"), default="auto")
    args = parser.parse_args(argv)
    try:
        train_segmenter(args)
    except LdmError as error:
        print(f"train: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def train_segmenter(args: argparse.Namespace) -> None:
    """Train, or go on; raises LdmError where the folder holds another run."""
    import torch

    from ldm.measuring.box import SHAPE
    from ldm.measuring.network import SegmenterConfig, SegmenterNetwork
    from ldm.measuring.segmenter import write_segmenter
    from ldm.measuring.segmenter_task import SegmenterTask
    from ldm.measuring.subjects import TRAIN, real_subjects, virtual_subjects
    from ldm.networks.precision import resolve
    from ldm.training.config import TrainingConfig
    from ldm.training.loop import TrainingState, train

    config = TrainingConfig(
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        cooldown_steps=args.cooldown_steps,
        weight_decay=1e-4,
        ema_decay=0.995,
        save_every=args.save_every,
        seed=args.seed,
        precision=resolve(args.precision, "cpu"),
    )
    subjects = [
        *real_subjects(args.bids, TRAIN, SHAPE),
        *virtual_subjects(TRAIN, args.virtual, SHAPE),
    ]
    shape = SegmenterConfig(
        channels=CHANNELS, patch=PATCH, refine=args.refine, refinements=args.refinements
    )
    identity = {
        "config": config.identity(),
        "network": {**shape.to_json(), "channels": list(shape.channels)},
        "strong": args.strong,
        "subjects": [subject.name for subject in subjects],
    }
    print(f"{len(subjects)} subjects, {args.virtual} of them virtual", flush=True)
    torch.manual_seed(config.seed)
    network = SegmenterNetwork(shape)
    if args.begin is not None:
        identity["from"] = begin_with(network, args.begin)
    state = TrainingState(network, config, torch.device("cpu"))
    done, log = args.out / "checkpoint", args.out / "log.jsonl"
    if done.is_dir():
        meta = state.restore(done)
        if meta["identity"] != identity:
            raise LdmError(f"{args.out} holds another run: give another folder")
    begun, told = time.monotonic(), state.step
    for step in train(state, SegmenterTask(subjects, config.seed, args.strong)):
        if step.number % config.save_every and step.number != config.steps:
            continue
        _save(state, done, {"identity": identity})
        pace = (time.monotonic() - begun) / (step.number - told)
        line = {"step": step.number, "seconds_a_step": round(pace, 2), **step.losses}
        with log.open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    card = _card(args, identity)
    write_segmenter(args.out / "tool", state.average, card)  # type: ignore[arg-type]
    print(f"{args.out / 'tool'}: trained for {state.step} steps")


def begin_with(network: Any, run: Path) -> dict[str, Any]:
    """Give `network` the averaged weights of a run, those layers that the run has; and tell it.

    Raises:
        LdmError: no such run, or layers of other shapes.
    """
    from ldm.training import checkpoint

    groups, meta = checkpoint.read(run / "checkpoint")
    try:
        strange = network.load_state_dict(groups["average"], strict=False).unexpected_keys
    except RuntimeError as error:
        raise LdmError(f"{run}: a network of another shape ({str(error)[:200]})") from None
    if strange:
        raise LdmError(f"{run}: layers that this network lacks: {', '.join(strange[:3])}")
    return {
        "step": meta["step"],
        **{k: meta["identity"].get(k) for k in ("config", "network", "strong", "from")},
    }


def _save(state: Any, folder: Path, meta: dict[str, Any]) -> None:
    """The checkpoint at a side name, then in the place of the last."""
    from ldm.folders import replace_folder

    side = folder.with_name(".checkpoint")
    shutil.rmtree(side, ignore_errors=True)
    state.save(side, meta)
    replace_folder(side, folder)


def _card(args: argparse.Namespace, identity: dict[str, Any]) -> dict[str, Any]:
    from ldm.measuring.subjects import UNSEEN_SHARE, VIRTUAL_SEEDS

    description = {}
    path = args.bids / "dataset_description.json"
    if path.is_file():
        found = json.loads(path.read_text())
        names = {"Name": "dataset", "License": "license", "HowToAcknowledge": "attribution"}
        description = {ours: found[theirs] for theirs, ours in names.items() if theirs in found}
    real = [name for name in identity["subjects"] if not name.startswith("virtual-")]
    return {
        **description,
        "training": {
            "command": "python -m ldm.measuring.train --bids "
            f"{args.bids.name} --virtual {args.virtual} --steps {args.steps} --batch-size "
            f"{args.batch_size} --learning-rate {args.learning_rate:g} --cooldown-steps "
            f"{args.cooldown_steps} --seed {args.seed} --refine {args.refine} "
            f"--refinements {args.refinements} --strong {args.strong:g}"
            f"{' --from stage' if args.begin else ''} --out segmenter",
            **({"from": identity["from"]} if args.begin else {}),
            "real_subjects": len(real),
            "virtual_subjects": args.virtual,
            "virtual_seed": VIRTUAL_SEEDS["train"],
            "config": identity["config"],
        },
        "split": {
            "function": "ldm.split.held_out(participant_id, share)",
            "unseen_share": UNSEEN_SHARE,
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
