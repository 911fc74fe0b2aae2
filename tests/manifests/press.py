"""A small press as a process of its own, for tests that kill it: python -m tests.manifests.press.

Makes the release at URI with N samples; prints the shards it commits; kills itself with SIGKILL
in the middle of its put number DEATH, where that is given."""

from __future__ import annotations

import os
import signal
import sys

from manifests.ledger import Ledger, ShardPlan
from manifests.ledger.finalise import finalise
from manifests.storage import open_store
from tests.manifests.releases import begin, document, write_shard

SHARD_SIZE = 3


def main(uri: str, n: int, death: int | None = None) -> None:
    store, plan = open_store(uri), ShardPlan(n, SHARD_SIZE)
    puts, put = 0, store.put

    def dying_put(key: str, data: bytes, *, content_type: str | None = None) -> None:
        nonlocal puts
        puts += 1
        if puts == death:
            os.kill(os.getpid(), signal.SIGKILL)
        put(key, data, content_type=content_type)

    store.put = dying_put  # type: ignore[method-assign]
    begin(store, plan)
    for shard in Ledger(store).pending(plan):
        if write_shard(store, plan, shard) == "committed":
            print(shard, flush=True)
    finalise(store, plan, document(), extra={"previews/mosaic.png": b"\x89PNG"})


if __name__ == "__main__":
    main(sys.argv[1], *(int(text) for text in sys.argv[2:]))
