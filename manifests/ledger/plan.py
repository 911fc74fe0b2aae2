"""How the samples of a release are cut into shards."""

from __future__ import annotations

from dataclasses import dataclass

from manifests.errors import ReleaseError
from manifests.format.parquet import MOST_ROWS

# release.json names the part of every shard, in some 160 bytes, and its readers take no larger one.
MOST_SHARDS = 200_000


@dataclass(frozen=True)
class ShardPlan:
    """How the samples 0..n-1 are cut into shards, the unit of work and of commitment.

    Raises:
        ReleaseError: no samples, or more of them or of shards than the readers of a release take.
    """

    n: int
    shard_size: int

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("shard_size", self.shard_size)):
            if value < 1:
                raise ReleaseError(f"{name} {value}: expected a number of at least 1")
        if self.n > MOST_ROWS:
            raise ReleaseError(
                f"{self.n:,} samples: expected at most {MOST_ROWS:,} in a release; print the rest"
                " as another release, with another seed"
            )
        if self.count > MOST_SHARDS:
            least = -(-self.n // MOST_SHARDS)
            raise ReleaseError(
                f"{self.n:,} samples in {self.count:,} shards of {self.shard_size}: expected at"
                f" most {MOST_SHARDS:,} shards; begin the release with larger ones (--shard-size"
                f" {least} or more)"
            )

    @property
    def count(self) -> int:
        """The number of shards."""
        return -(-self.n // self.shard_size)

    def indices(self, shard: int) -> range:
        """The samples of a shard. They do not depend on n, but that the last may be cut short."""
        if not 0 <= shard < self.count:
            raise IndexError(f"shard {shard} of {self.count}")
        start = shard * self.shard_size
        return range(start, min(start + self.shard_size, self.n))

    def expected_rows(self, shard: int) -> int:
        return len(self.indices(shard))
