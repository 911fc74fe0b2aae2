"""The ledger of a release being made: its plan, which shards are done, and how it is finished."""

from __future__ import annotations

from manifests.ledger.ledger import Ledger
from manifests.ledger.plan import ShardPlan

__all__ = ["Ledger", "ShardPlan"]
