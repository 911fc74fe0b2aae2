"""The job of `brainpress evaluate`: measure on Ray Data, then reckon, then report."""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

from ldm.covariates import CovariateSchema
from ldm.evaluation.privacy.verdict import INCONCLUSIVE
from ldm.evaluation.similarity import draw_pairs
from ldm.measuring.people import load_people
from ldm.measuring.regions import load_region_tool
from manifests.format.measured import PREFIX
from ray_jobs import cluster
from ray_jobs.command_line import command_line
from ray_jobs.encoding.latents import EncodedCohort
from ray_jobs.ending import command
from ray_jobs.errors import JobError
from ray_jobs.evaluation.carried import EvaluatedRelease
from ray_jobs.evaluation.findings import reckon
from ray_jobs.evaluation.heads.stripped import Stripped
from ray_jobs.evaluation.heads.told import NOT_LOOKED_AT, are_heads
from ray_jobs.evaluation.measuring.folds import (
    FoldMatcher,
    Matched,
    PlantedLeaks,
    blocks_to_match,
    people_patterns,
)
from ray_jobs.evaluation.measuring.head_size import HeadSize, head_size
from ray_jobs.evaluation.measuring.instruments import (
    MEASURES,
    Instruments,
)
from ray_jobs.evaluation.measuring.latent_space import COPIES, CopyReader, Shown, latents_of
from ray_jobs.evaluation.measuring.measured import TRAIN, Measured
from ray_jobs.evaluation.measuring.networks import (
    NETWORKS,
    NetworkFeatures,
    Weights,
    asked,
    features_of,
)
from ray_jobs.evaluation.measuring.pairs import PairMeter
from ray_jobs.evaluation.measuring.tables import blocks, read_parts
from ray_jobs.evaluation.report.documents import write_report
from ray_jobs.evaluation.sources import (
    REAL,
    RealVolumes,
    ReleaseVolumes,
    Source,
    check_grid,
    check_held_out,
    not_audited,
    t1w_schema,
)
from ray_jobs.evaluation.sweeps import Sweep, make_sweeps, middle
from ray_jobs.evaluation.words import head
from ray_jobs.files import digest, output_folder, refuse_other_run
from ray_jobs.generation.recipe import sampling_in
from ray_jobs.places import absolute
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.progress import Progress, watched
from ray_jobs.room import Machine, room_for
from ray_jobs.setup import Setup, set_up

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.-]{0,30}")
FEWEST = 10  # volumes of a source: below that no figure means anything


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate releases against a cohort; 1 where the privacy audit of the first did not pass.

    Raises:
        JobError: a wrong option, too few subjects held out, volumes on another grid, or another
            run in --out.
        ReleaseError: a release that cannot be read.
    """
    for name in ("limit", "pairs", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise JobError(f"--{name} {value}: expected at least 1")
    networks = asked(args)
    cohort = PreparedCohort.open(args.real)
    check_held_out(cohort)
    sources: dict[str, Source] = {REAL: RealVolumes.of(cohort)}
    releases = []
    schema = t1w_schema(cohort.schema, cohort)
    for label, uri in labelled(args.releases).items():
        release = ReleaseVolumes.of(label, uri, schema, args.limit)
        if line := not_audited(release):
            print(f"note: {label}: {line}", file=sys.stderr)
        check_grid(release, cohort.grid)
        sources[label] = release
        releases.append(release)
    main = EvaluatedRelease(
        label=releases[0].label,
        fingerprint=releases[0].identity,
        samples=releases[0].samples,
        images=releases[0].images,
        model=releases[0].fields["model_fingerprint"],
        sampling=sampling_in(releases[0].fields),
    )
    for label, source in sources.items():
        if len(source.items) < FEWEST:
            raise JobError(f"{label}: {len(source.items)} volumes, expected at least {FEWEST}")
    heads = are_heads(sources, cohort.grid.affine)
    latents = None if args.latents is None else absolute(args.latents)
    encoded = None if latents is None else latents_of(args.latents, cohort)
    out = output_folder(args.out, what="the report")
    given, sources = sources, _brains(sources, cohort, out) if heads else sources
    identity = {
        "sources": {label: source.identity for label, source in sources.items()},
        "volumes": {label: len(source.items) for label, source in sources.items()},
        "pairs": args.pairs,
        "seed": args.seed,
        "medicalnet": False,
        **{weights.network: weights.sha256 for weights in networks},
        **({"heads": "skull-stripped"} if heads else {}),
        "latents": None if encoded is None else encoded.fingerprint,
        "measures": MEASURES,
        "tools": digest([load_region_tool().fingerprint, load_people().document["files"]]),
    }
    refuse_other_run(out / "run.json", identity)
    with cluster.session() as found, cluster.failures_told("evaluating"):
        room = room_for(1, Machine(1), found, asked="evaluate")
        _say(head(sources, args, room.slots(Machine(1)), int(found.gpus)))
        with set_up(out, found) as setup:
            slots = room.slots(Machine(1))
            gpus = int(found.gpus)
            measured = _measure(sources, cohort, out, networks, latents, args, slots, gpus, setup)
            shown = _shown(encoded, latents, out, args.workers or slots, setup)
            matched = _match(sources, measured[REAL], cohort, out, args.workers or slots, setup)
        convention = head_size(measured)
        sweeps = _sweeps(args, sources[REAL], schema, convention, gpu=found.gpus > 0, heads=heads)
    _say("reckoning figures and their intervals, and drawing the report")
    findings = reckon(
        measured, matched, schema, command_line("evaluate", args), seed=args.seed, shown=shown
    )
    for release in releases:
        if line := not_audited(release):
            leave_open(findings["privacy"][release.label], line)
        if heads:
            leave_open(findings["privacy"][release.label], NOT_LOOKED_AT)
    sweeps = [sweep.normalised(findings["head_size_factor"]) for sweep in sweeps]
    findings["networks"] = {weights.network: weights.told() for weights in networks}
    findings["sweeps"] = [sweep.to_json() for sweep in sweeps]
    if heads:
        findings["heads"] = "skull-stripped"
    report = write_report(out, findings, measured, given, schema, sweeps, main, matched, shown)
    print(report.summary)
    if report.passed:
        words = ("publish", args.releases[0].rpartition("=")[2], "--evaluation", args.out)
        print(f"  next  {command(*words)}")
    return 0 if report.passed else 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _brains(sources: dict[str, Source], cohort: PreparedCohort, out: Path) -> dict[str, Source]:
    """The brains of whole heads, of every source alike."""
    count = sum(len(source.items) for source in sources.values())
    print(
        "note: whole heads, skull included: every figure is of the brain that deepbet cuts out, of "
        f"releases and real people alike; {count} volumes are stripped first, some seconds each",
        file=sys.stderr,
    )
    return {
        label: Stripped(source=source, affine=cohort.grid.affine, folder=str(out / "masks" / label))
        for label, source in sources.items()
    }


def leave_open(privacy: dict[str, Any], why: str) -> None:
    """No audit passes that did not see the whole release."""
    if privacy["passed"]:
        privacy |= {"passed": False, "verdict": INCONCLUSIVE}
    privacy["reasons"] = [*privacy["reasons"], why]


def labelled(words: list[str]) -> dict[str, str]:
    """The releases by their label: NAME=RELEASE, or the last part of its address.

    Raises:
        JobError: a label that is no plain word, or two the same.
    """
    found: dict[str, str] = {}
    for word in words:
        label, equals, uri = word.partition("=")
        if not equals or "/" in label:
            label, uri = _plain(word.rstrip("/").rpartition("/")[2]), word
        if not LABEL.fullmatch(label) or label == REAL:
            raise JobError(f"{word!r}: expected NAME=RELEASE, with a plain word as NAME")
        if label in found:
            raise JobError(f"{label} is named twice; give each release a NAME=")
        found[label] = uri
    return found


def _plain(name: str) -> str:
    """`mude-1` of a folder called `müde 1`; empty where no letter is left."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9+_.-]+", "-", letters).strip("-.")[:31]


def _measure(
    sources: dict[str, Source],
    cohort: PreparedCohort,
    out: Path,
    networks: list[Weights],
    latents: str | None,
    args: argparse.Namespace,
    cpus: int,
    gpus: int,
    setup: Setup,
) -> dict[str, Measured]:
    """Measure what is not measured yet; every row and every pair of each source."""
    pairs = {
        f"{label}-pairs": draw_pairs(len(source.items), args.pairs, seed=args.seed)
        for label, source in sources.items()
    }
    of_pairs = {f"{label}-pairs": source for label, source in sources.items()}
    volumes = [b for label, s in sources.items() for b in blocks(out, label, len(s.items))]
    both = [b for kind, drawn in pairs.items() for b in blocks(out, kind, len(drawn))]
    workers = args.workers or cpus
    first = (sources, cohort.grid, str(out), latents)
    _run(setup.actor(Instruments), first, volumes, workers, "measuring")
    for weights in networks:
        _features_by(weights, sources, out, workers, gpus, setup)
    _run(setup.actor(PairMeter), (of_pairs, pairs, str(out)), both, workers, "comparing")
    found = {}
    for label, source in sources.items():
        rows = read_parts(out, label, len(source.items))
        for network in (weights.network for weights in networks):
            seen = read_parts(out, features_of(label, network), len(source.items))
            rows[network] = seen[network]
        of_two = read_parts(out, f"{label}-pairs", len(pairs[f"{label}-pairs"])).dropna()
        found[label] = Measured(rows=rows, pairs=of_two)
    return found


def _features_by(
    weights: Weights, sources: dict[str, Source], out: Path, workers: int, gpus: int, setup: Setup
) -> None:
    """A network's features of what has none yet: on every GPU there is, else on the cores."""
    work = [
        {**block, "of": label}
        for label, source in sources.items()
        for block in blocks(out, features_of(label, weights.network), len(source.items))
    ]
    first = (sources, str(out), weights, "cuda" if gpus else "cpu")
    named, count = NETWORKS[weights.network], gpus if gpus else workers
    _run(setup.actor(NetworkFeatures), first, work, count, named, gpus=1 if gpus else 0)


def _shown(
    encoded: EncodedCohort | None, latents: str | None, out: Path, workers: int, setup: Setup
) -> Shown | None:
    """Every copy that training was shown, read where it is not read yet; None without latents."""
    if encoded is None:
        return None
    count = len(encoded.split(TRAIN))
    work = list(blocks(out, COPIES, count))
    _run(setup.actor(CopyReader), (latents, str(out)), work, workers, "reading latents")
    return Shown.read(out, count)


def _match(
    sources: dict[str, Source],
    people: Measured,
    cohort: PreparedCohort,
    out: Path,
    workers: int,
    setup: Setup,
) -> Matched | None:
    """Match what is not matched yet with the people; None where that cannot be done."""
    from ldm.evaluation.privacy.matching import brain_of, middles

    leaks = PlantedLeaks.of(sources[REAL], cohort.grid.spacing)
    if leaks is None or len(people.whole) < FEWEST:
        return None
    work = list(blocks_to_match(out, sources, leaks))
    if work:
        import ray

        patterns = people_patterns(out, sources[REAL], people.rows, cohort.grid)
        if not len(middles(brain_of(patterns))):
            return None
        first = (ray.put(patterns), leaks, cohort.grid, str(out))
        _run(setup.actor(FoldMatcher), first, work, workers, "matching folds")
    return Matched.read(out, sources, leaks)


def _run(
    actor: Any,
    arguments: tuple[Any, ...],
    work: list[dict[str, Any]],
    workers: int,
    what: str,
    gpus: int = 0,
) -> None:
    """Give every block to an actor of the class `actor`, each with so many GPUs."""
    if not work:
        return
    import ray.data

    cluster.quiet_ray_data()
    workers = min(workers, len(work))
    dataset = ray.data.from_items(work, override_num_blocks=len(work)).map(
        actor,
        fn_constructor_args=arguments,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    total = sum(block["stop"] - block["start"] for block in work)
    for _ in watched(dataset.iter_rows(), total, what, of="rows"):
        pass


def _sweeps(
    args: argparse.Namespace,
    real: Source,
    schema: CovariateSchema,
    convention: HeadSize | None,
    *,
    gpu: bool,
    heads: bool,
) -> list[Sweep]:
    """The sweeps of `--model`; none without it."""
    if args.model is None:
        return []
    import ray

    person = middle(schema, [item["asked"] for item in real.items])
    task: Any = ray.remote(make_sweeps).options(num_cpus=1, num_gpus=1 if gpu else 0)
    model = absolute(args.model)
    progress = Progress(1, what="sweeping each covariate")
    progress.begin()
    device = "cuda" if gpu else "cpu"
    told = {} if convention is None else {"brain_volume": convention.measure.removeprefix(PREFIX)}
    sweeps: list[Sweep] = ray.get(task.remote(model, person, args.seed, device, heads, **told))
    progress.end(1)
    return sweeps
