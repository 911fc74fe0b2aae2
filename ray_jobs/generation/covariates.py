"""Whose brain sample `index` is: covariates as a function of the release seed and the index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ldm import noise
from ldm.covariates import CovariateSchema, Row
from ldm.covariates.distribution import CohortDistribution
from ldm.covariates.plausible import beyond, check_asked
from ldm.covariates.sources import TableCovariates, uniform
from ldm.errors import LdmError
from ray_jobs.errors import JobError


@dataclass(frozen=True, kw_only=True)
class CovariateSource:
    """Where the covariates of a release come from; small, and pickled to every worker.

    Attributes:
        kind: "cohort", "uniform" or "table".
        schema: the model's covariates.
        distribution: the cohort's; also fills in what a table or `fixed` leaves open.
        fixed: held constant, over whatever the source says.
        table: row `i` for sample `i`, where the kind is "table".
        name: what the table is called.
    """

    kind: str
    schema: CovariateSchema
    distribution: CohortDistribution
    fixed: Row
    table: TableCovariates | None = None
    name: str = ""

    @property
    def identity(self) -> str:
        """What the fingerprint of a release says of its covariates."""
        if not len(self.schema):
            return "none"
        return f"table:{self.table.fingerprint}" if self.table else self.kind

    @property
    def limit(self) -> int | None:
        """How many samples there are covariates for; None for any number."""
        return len(self.table) if self.table else None

    def told(self, n: int) -> list[str]:
        """What a person should know of the covariates of the first `n` samples, a line each: which
        columns of a table are used, and what is asked beyond the model's range."""
        lines = []
        if self.table:
            line = f"covariates from {self.name}: {', '.join(self.table.names)}"
            drawn = [x for x in self.schema.names if x not in {*self.table.names, *self.fixed}]
            lines.append(f"{line}; drawn given those: {', '.join(drawn)}" if drawn else line)
            overruled = [x for x in self.table.names if x in self.fixed]
            if overruled:
                lines.append(f"--fix is taken for {', '.join(overruled)}, not {self.name}")
        far = [("", what)] if (what := beyond(self.schema, self.fixed)) else []
        if self.table:
            far += [(f" (row {index})", what) for index, what in self.table.beyond(n)]
        if far:
            where, what = far[0]
            more = f", and {len(far) - 1} more" if len(far) > 1 else ""
            lines.append(
                f"beyond what the model was trained on: {'; '.join(what)}{where}{more}; such "
                "volumes are marked extrapolated"
            )
        return lines

    def draw(self, seed: int, index: int) -> Row:
        """All covariates of sample `index`, in physical units.

        Past the end of a table (a batch is always full) its last row stands in.
        """
        rng = noise.generator(noise.COVARIATES, seed, index)
        if self.kind == "uniform":
            return uniform(self.schema, rng, self.fixed)
        row = self.table.row(min(index, len(self.table) - 1)) if self.table else {}
        return self.distribution.sample(rng, {**row, **self.fixed})


def covariate_source(
    option: str,
    fix: tuple[str, ...],
    *,
    n: int,
    schema: CovariateSchema,
    distribution: CohortDistribution,
) -> CovariateSource:
    """The source that `--covariates` and `--fix` ask for.

    Raises:
        JobError: neither a known source nor a table, a table of fewer than `n` rows, or any
            source but the default for a model without covariates.
        LdmError: a bad `--fix`, or a table that cannot be used.
    """
    fixed = schema.parse_fixed(fix)
    try:
        check_asked(schema, fixed)
    except LdmError as error:
        raise JobError(f"--fix: {error}") from None
    if not len(schema) and option != "cohort":
        raise JobError(
            f"--covariates {option}: this model is unconditional, it takes none; "
            "leave --covariates out"
        )
    table = None
    kind = option
    if option not in ("cohort", "uniform"):
        if Path(option).suffix.lower() not in (".csv", ".tsv"):
            raise JobError(
                f"--covariates {option}: expected cohort, uniform, or a .csv or .tsv file"
            )
        kind, table = "table", TableCovariates.from_file(schema, option)
        if n > len(table):
            raise JobError(
                f"--n {n}: {option} has {len(table)} rows, one for each sample; "
                f"give --n {len(table)} or a longer table"
            )
    return CovariateSource(
        kind=kind,
        schema=schema,
        distribution=distribution,
        fixed=fixed,
        table=table,
        name=Path(option).name if table else "",
    )
