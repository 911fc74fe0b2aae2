"""Opening and closing a release by its bucket's policy, in which everything else stays."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from manifests.errors import ReleaseError, StorageError
from manifests.publish.statements import with_public_read, without_public_read
from manifests.storage.s3.errors import code_of, explain

if TYPE_CHECKING:
    from manifests.storage.s3.store import S3Store

ATTEMPTS = 3
NOT_KNOWN = {"NotImplemented", "MethodNotAllowed", "405", "501", "XNotImplemented"}
PUBLISHED = "published"
MOST_POLICY_BYTES = 20 * 1024  # of S3, without spaces
DENIED = {"AccessDenied", "403", "Forbidden"}


class PolicyError(ReleaseError):
    """The release is there, and strangers cannot read it; what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


def close_to_everyone(store: S3Store) -> bool:
    """Take what opens the release out of the policy; whether there was anything.

    Raises:
        PolicyError: the policy cannot be read or set; what to do.
    """
    bucket, prefix = store.bucket, store.prefix.rstrip("/")
    changed, without = False, partial(without_public_read, partition=store.partition)
    for _ in range(ATTEMPTS):
        wanted = without(read_policy(store, done=""), bucket, prefix)
        if wanted is None:
            return changed
        try:
            if wanted["Statement"]:
                store.client.put_bucket_policy(Bucket=bucket, Policy=_text(wanted))
            else:
                store.client.delete_bucket_policy(Bucket=bucket)
        except Exception as error:
            raise _refused(store, error, done="") from error
        changed = True
    if without(read_policy(store, done=""), bucket, prefix) is None:
        return changed
    raise PolicyError(
        f"{store.uri}: somebody else keeps changing the policy of bucket {bucket!r}; run the same"
        " command again"
    )


def open_to_everyone(store: S3Store) -> bool:
    """Let anyone list and read the release; whether the policy had to be changed for that.

    S3 replaces a policy whole and compares nothing, so it is read just before it is written, and
    again after, until it holds what was added.

    Raises:
        PolicyError: the policy cannot be read or set; what to do.
    """
    bucket, prefix = store.bucket, store.prefix.rstrip("/")
    changed, with_it = False, partial(with_public_read, partition=store.partition)
    for _ in range(ATTEMPTS):
        wanted = with_it(read_policy(store), bucket, prefix)
        if wanted is None:
            return changed
        if (size := len(_text(wanted).encode())) > MOST_POLICY_BYTES:
            raise PolicyError(
                f"{store.uri} is {PUBLISHED}, but the policy of bucket {bucket!r} has no room to"
                f" open it: {size:,} bytes with it, S3 takes {MOST_POLICY_BYTES:,}; close releases"
                " that nobody needs (`brainpress unpublish`), or publish into another bucket"
            )
        try:
            store.client.put_bucket_policy(Bucket=bucket, Policy=_text(wanted))
        except Exception as error:
            raise _refused(store, error) from error
        changed = True
    if with_it(read_policy(store), bucket, prefix) is None:
        return changed
    raise PolicyError(
        f"{store.uri}: somebody else keeps changing the policy of bucket {bucket!r}; run the same"
        " command again"
    )


class BucketGate:
    """The `manifests.publish.gate.Gate` of a release in a bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    def open(self) -> bool:
        return open_to_everyone(self._store)

    def close(self) -> bool:
        return close_to_everyone(self._store)


def _text(policy: dict[str, Any]) -> str:
    return json.dumps(policy, separators=(",", ":"))


def read_policy(store: S3Store, *, done: str = PUBLISHED) -> dict[str, Any] | None:
    """The bucket's policy; None where it has none. Raises PolicyError where nobody may know.

    Args:
        done: what was done before, for the error.
    """
    try:
        text = store.client.get_bucket_policy(Bucket=store.bucket)["Policy"]
        policy = json.loads(text)
    except ValueError:
        raise PolicyError(f"{store.uri}: the bucket's policy is no JSON; mend it first") from None
    except Exception as error:
        if code_of(error) == "NoSuchBucketPolicy":
            return None
        raise _refused(store, error, done=done) from error
    if not isinstance(policy, dict):
        raise PolicyError(f"{store.uri}: the bucket's policy is no JSON object; mend it first")
    return policy


def _refused(store: S3Store, error: Exception, *, done: str = PUBLISHED) -> ReleaseError:
    """Why the policy cannot be read or set, and what to do."""
    code, text = code_of(error), str(error)
    if not done:  # nothing was: it was to be closed
        told = explain(error, verb="close", bucket=store.where, key="")
        if told is None:
            raise error
        return PolicyError(
            f"{store.uri} is NOT closed, the policy of bucket {store.bucket!r} stays: {told}"
        )
    done = f"{store.uri} is {done}, but the policy of bucket {store.bucket!r} cannot be set"
    by_hand = "`brainpress publish --dry-run` prints the statements for its owner"
    if "BlockPublicPolicy" in text or "public policies are" in text.lower():
        return PolicyError(
            f"{done}: Block Public Access forbids it; switch off BlockPublicPolicy and"
            " RestrictPublicBuckets of the bucket and run the same command again, or use --private"
        )
    if code in DENIED:
        return PolicyError(
            f"{done}: these credentials lack s3:GetBucketPolicy or s3:PutBucketPolicy, or Block"
            f" Public Access forbids it; {by_hand}; or use --private"
        )
    if code in NOT_KNOWN:
        return PolicyError(
            f"{done}: the server knows no bucket policies; open the prefix by its own means and use"
            " --private"
        )
    told = explain(error, verb="open", bucket=store.where, key="")
    if told is None:
        raise error
    if isinstance(told, StorageError):
        return told
    return PolicyError(f"{done}: {told}")
