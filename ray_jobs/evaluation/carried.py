"""What a release carries of its evaluation: a table of measures, figures, a report for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from manifests.format.evaluation import Evaluation, Figure
from manifests.format.measured import measured_table
from manifests.format.parquet import parquet_bytes
from ray_jobs.evaluation.measuring.measured import Measured
from ray_jobs.evaluation.sources import REAL, Source
from ray_jobs.evaluation.spectra import BLURRED


@dataclass(frozen=True, kw_only=True)
class EvaluatedRelease:
    """The release that an evaluation is about.

    Attributes:
        label: in the tables.
        fingerprint, samples, images: of its release.json.
        model: the fingerprint of the model that printed it.
        sampling: how its volumes were drawn, as keywords of `generate`.
    """

    label: str
    fingerprint: str
    samples: int
    images: int
    model: str
    sampling: dict[str, Any]

    def to_json(self, findings: dict[str, Any]) -> dict[str, Any]:
        """What `brainpress publish` looks at: which release it is, and what its data card tells.

        Args:
            findings: as of `reckon`.
        """
        counts, audit = findings["volumes"], findings["privacy"][self.label]
        evaluation = Evaluation(
            sha256="0" * 64,  # of the file in which this stands: told elsewhere
            samples=self.samples,
            images=self.images,
            **counts[self.label],
            reference=counts[REAL]["measured"],
            figures=tuple(_figures(findings, self.label)),
            verdict=audit["verdict"],
            reasons=tuple(audit["reasons"]),
            rule=audit["rule"],
        )
        told = {name: value for name, value in evaluation.to_json().items() if name != "sha256"}
        return {
            "label": self.label,
            "fingerprint": self.fingerprint,
            "model": self.model,
            "sampling": self.sampling,
            "evaluation": told,
        }


def measured_file(found: Measured) -> bytes:
    """measured.parquet: a row for each volume, also for those that were refused.

    Args:
        found: after `reckon`, which normalises brain volumes by the cohort's convention.
    """
    rows = [
        {str(name): value for name, value in row.items()}
        for table in (found.whole, found.refused)
        for row in table.filter(regex="^(name|error|measured_.*)$").to_dict(orient="records")
    ]
    for row in rows:
        row["participant_id"] = row.pop("name")
        row["index"] = int(row["participant_id"].removeprefix("sub-"))
    return parquet_bytes(measured_table(rows))


def seen(found: Measured, source: Source) -> dict[int, str]:
    """The SHA-256 of each image that was looked at, by index."""
    digests = {item["name"]: item["sha256"] for item in source.items}
    names = found.rows["name"]
    return {int(name.removeprefix("sub-")): digests[name] for name in names}


def for_everyone(findings: dict[str, Any]) -> dict[str, Any]:
    """The findings without what they tell of single people: who was nearest to which volume."""
    privacy = {
        label: {
            **audit,
            "spaces": [
                {name: value for name, value in space.items() if name != "closest"}
                for space in audit["spaces"]
            ],
            "alike": len(audit["alike"]),
        }
        for label, audit in findings["privacy"].items()
    }
    return {**findings, "privacy": privacy}


def _figures(findings: dict[str, Any], label: str) -> Iterator[Figure]:
    """The main figures, those that are defined."""
    for name, figure in _named(findings, label):
        if figure["value"] is not None:
            ends = {end: figure[end] for end in ("low", "high")}
            known = ends if None not in ends.values() else {}
            caution = figure.get("caution") or ""
            yield Figure(name=name, value=figure["value"], n=figure["n"], **known, caution=caution)


def _named(findings: dict[str, Any], label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    table = findings["table_1"]
    halves = table[label]["halves_segmenter"]
    both = [halves[one]["value"] for one in ("synthetic", "real")]
    shown = "" if None in both else ": {:.3g} over {:.3g}".format(*both)
    yield (
        "Fréchet distance to a half of the real images over that of the other half, at equal n "
        f"(our segmenter's features){shown}",
        halves["ratio"],
    )
    yield from _sharpness(findings["spectrum"], label)
    for key, name in (
        ("ms_ssim", "MS-SSIM of two images"),
        ("four_g_r_ssim", "4-G-R-SSIM of two images"),
    ):
        yield name, table[label][key]
        yield f"{name}: real ones among themselves", table[REAL][key]
    for name, found in findings["conditioning"][label].items():
        if "r" in found:
            yield f"{name}, measured against asked: correlation", found["r"]
            yield f"{name}, measured against asked: slope", found["slope"]
        else:
            yield f"{name} classified as asked: share", found["accuracy"]
    for space in findings["privacy"][label]["spaces"]:
        yield f"near-copies of training subjects, by {space['name']}: share", space["near_copies"]
        yield (
            f"membership inference, by {space['name']}: area under the curve (0.5 tells nothing)",
            space["membership"],
        )


def _sharpness(found: dict[str, Any] | None, label: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if found is None:
        return
    apart = found["told_apart"][label]
    name = "told from real images by sharpness and texture: area under the curve (0.5: not told)"
    yield name, apart["synthetic"]
    yield f"{name}: real ones from real ones", apart["real"]
    low, high = found["bands"][BLURRED]
    name = f"power over the real images', {low:.2f} to {high:.2f} cycles a voxel"
    yield name, found["sets"][label]["power"][BLURRED]
    yield f"{name}: of other real images", found["sets"][REAL]["power"][BLURRED]
