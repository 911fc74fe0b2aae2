"""Print N synthetic volumes into a release: a folder, or s3://bucket/prefix.

A sample is a function of --seed, its index and the model alone, so a release is the same however
many workers made it. Run the same command again to go on where a run was ended, by whatever; with
a larger --n the release grows.
"""

from __future__ import annotations

import argparse

EXAMPLES = """examples:
  brainpress generate --n 16 --out demo-release
  brainpress generate --n 16 --segment --out demo-release
  brainpress generate --n 1000 --fix age=70 --fix sex=F --out release
  brainpress generate --repair --model s3://bucket/model --out s3://bucket/release
  ray job submit --working-dir . -- python ray_jobs/generate.py --n 100000 \\
      --model s3://bucket/model --out s3://bucket/release

To resume, run the same command again. Exit code 0: complete; 1: something failed; 130 and 143:
stopped by Ctrl-C or SIGTERM."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from ldm.diffusion.config import DEFAULT_STEPS, SAMPLERS

    parser.epilog = EXAMPLES
    parser.add_argument("--n", type=int, help="volumes of the release")
    parser.add_argument(
        "--out",
        required=True,
        help="the release: s3://bucket/prefix or a folder; of a cluster, the machines that share "
        "the folder, as by NFS or Lustre, print into it",
    )
    parser.add_argument(
        "--endpoint-url",
        metavar="URL",
        help="of its S3 server (default: AWS_ENDPOINT_URL, else AWS)",
    )
    parser.add_argument(
        "--model",
        default="demo",
        help='"demo" (default), a model folder, an s3:// URI, "monai" (the weights that the paper '
        'published, fetched once) or "monai:DIR" (a MONAI bundle unpacked there)',
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the release (default 0)")

    drawing = parser.add_argument_group("how a volume is drawn")
    drawing.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="ddim; ddpm, noise at every step; dpm++2m and unipc, fewer steps; of no GAN "
        "(default: what the model recommends, else ddim)",
    )
    steps = ", ".join(f"{count} of {sampler}" for sampler, count in DEFAULT_STEPS.items())
    drawing.add_argument(
        "--steps",
        type=int,
        help=f"calls of the denoiser (default: with the model's own sampler what it recommends, "
        f"else {steps}); of no GAN",
    )
    drawing.add_argument(
        "--eta",
        type=float,
        help="of ddim: noise put in at every step, 0 (default) none to 1 as much as ddpm",
    )
    drawing.add_argument(
        "--guidance",
        type=float,
        metavar="SCALE",
        help="how much more closely to follow the covariates (classifier-free guidance); 1 is "
        "none, and only models trained with --condition-dropout take another, which doubles the "
        "time (default: what the model recommends, else 1)",
    )
    drawing.add_argument(
        "--covariates",
        default="cohort",
        metavar="SOURCE",
        help="cohort (default): as in the cohort the model was trained on; uniform: evenly over "
        "the model's ranges; or a .csv/.tsv file, one row a sample",
    )
    drawing.add_argument(
        "--fix",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hold a covariate constant, such as age=70; may be repeated",
    )
    drawing.add_argument(
        "--attempts",
        type=int,
        help="draws of a sample that fails the quality check, before it is recorded as failed "
        "(default 3; of --redraw, how many more: as many as at first)",
    )
    drawing.add_argument(
        "--quality",
        choices=("model", "loose", "off"),
        default="model",
        help="how much of the model's bounds a volume has to keep: all (model, the default), each "
        "widened threefold (loose), or none but to be finite and not empty (off); the release "
        "tells it",
    )
    drawing.add_argument(
        "--precision",
        choices=("auto", "bf16", "fp32"),
        default="auto",
        help="number format of the networks; auto (default) takes bf16 where it is native",
    )
    drawing.add_argument(
        "--compile",
        choices=("auto", "on", "off"),
        default="auto",
        help="fuse the networks with torch.compile, which takes minutes at the start; auto "
        "(default) does on GPUs, for 256 volumes or more; part of the plan",
    )

    parser.add_argument(
        "--segment",
        action="store_true",
        help="give every image its label map too, as `brainpress segment` does, once all are made",
    )

    work = parser.add_argument_group("how the work is done")
    work.add_argument("--actors", type=int, help="workers; by default one a GPU, or one a core")
    work.add_argument("--device", choices=("cpu", "cuda"), help="by default cuda where there is")
    work.add_argument(
        "--accelerator-type",
        metavar="TYPE",
        help="take GPUs of this kind alone, by Ray's name (A100, H100, L4); bytes are equal "
        "within one kind",
    )
    work.add_argument(
        "--gpus-per-actor", type=float, default=1.0, help="share of a GPU for each (default 1)"
    )
    work.add_argument("--batch-size", type=int, help="volumes drawn at once; part of the plan")
    work.add_argument("--shard-size", type=int, help="volumes committed at once; part of the plan")
    work.add_argument("--writers", type=int, help="threads of a worker that compress and upload")
    work.add_argument(
        "--worker-patience",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="a worker that is silent for so long is taken for hung and replaced (default 120); "
        "so is one that answers and stores no volume, for as long or 10 times the longest that "
        "any took in this run",
    )
    work.add_argument(
        "--storage-patience",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long a run that is under way waits for an S3 server that is away or broken "
        "(default 300)",
    )
    work.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="from SIGTERM until the run has ended: shards in hand are worked on, and what is "
        "stored of those that are not finished by then is kept, not drawn again (default 2, as "
        "`ray job stop` kills after 3; with RAY_JOB_STOP_WAIT_TIME_S, that less one)",
    )
    work.add_argument(
        "--dry-run",
        action="store_true",
        help="make nothing: say how many shards and bytes, and how long, timed on one batch",
    )

    again = parser.add_argument_group(
        "what a finished release lacks",
        "in place of --n; the model is to be named, all else is as the release was made",
    ).add_mutually_exclusive_group()
    again.add_argument(
        "--repair",
        action="store_true",
        help="make lost and damaged images again; one that does not come out as the manifest says "
        "is named and not written",
    )
    again.add_argument(
        "--redraw",
        action="store_true",
        help="draw samples again that failed their quality check at every attempt",
    )
    again.add_argument(
        "--recheck",
        type=int,
        metavar="K",
        help="draw K samples again, by chance, and hold them against the manifest; what a device "
        "draws otherwise, another has to confirm; writes nothing",
    )

    about = parser.add_argument_group("what the release says of itself")
    about.add_argument("--name", help="of the dataset")
    about.add_argument("--license", help="SPDX identifier; by default the model's")
    about.add_argument(
        "--author",
        action="append",
        default=[],
        help='"Family, Given (Affiliation) <ORCID>" or an organisation\'s name; may be repeated',
    )


def run(args: argparse.Namespace) -> int:
    from ray_jobs.errors import JobError
    from ray_jobs.generation.job import generate
    from ray_jobs.generation.options import Device, Options
    from ray_jobs.interrupts import usual_grace
    from ray_jobs.segmentation.job import refuse_no_brains, segment

    again = "--repair" if args.repair else "--redraw" if args.redraw else None
    if args.recheck is not None:
        again = "--recheck"
        if args.recheck < 1:
            raise JobError(f"--recheck {args.recheck}: expected at least 1 sample")
    if args.n is not None and again:
        raise JobError(f"--n {args.n} with {again}: leave out --n, the release has its size")
    if args.n is None and not again:
        raise JobError(
            "--n is missing: how many volumes; or --repair, --redraw or --recheck for a release"
        )
    if args.segment and (again == "--recheck" or args.dry_run):
        raise JobError(f"--segment with {again or '--dry-run'}, which makes no image")
    if args.segment:
        refuse_no_brains(args.model)
    if again:
        from ray_jobs.generation.again import recheck, redraw, repair, samples_of

    options = Options(
        n=samples_of(args.out, args.endpoint_url) if again else args.n,
        out=args.out,
        endpoint_url=args.endpoint_url,
        model=args.model,
        seed=args.seed,
        steps=args.steps,
        sampler=args.sampler,
        eta=args.eta,
        guidance=args.guidance,
        covariates=args.covariates,
        fix=tuple(args.fix),
        attempts=Options.attempts if args.attempts is None else args.attempts,
        quality=args.quality,
        precision=args.precision,
        compile=args.compile,
        actors=args.actors,
        device=Device(args.device) if args.device else None,
        accelerator_type=args.accelerator_type,
        gpus_per_actor=args.gpus_per_actor,
        batch_size=args.batch_size,
        shard_size=args.shard_size,
        writers=args.writers,
        worker_patience=args.worker_patience,
        storage_patience=args.storage_patience,
        grace=usual_grace() if args.grace is None else args.grace,
        name=args.name,
        license=args.license,
        authors=tuple(args.author),
    )
    if args.recheck is not None:
        return recheck(options, args.recheck, dry_run=args.dry_run)
    if args.repair:
        code = repair(options, dry_run=args.dry_run)
    elif args.redraw:
        code = redraw(options, more=args.attempts, dry_run=args.dry_run)
    else:
        code = generate(options, dry_run=args.dry_run)
    if not args.segment:
        return code
    return max(code, segment(args.out, endpoint_url=args.endpoint_url, workers=args.actors))


if __name__ == "__main__":
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout need not be installed
    from ray_jobs.cli import script

    raise SystemExit(script("generate"))
