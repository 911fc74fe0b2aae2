"""The part of a bucket's policy by which anyone may list and read one release, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from manifests.errors import ReleaseError, StorageError
from manifests.storage.s3.errors import code_of, explain

if TYPE_CHECKING:
    from manifests.storage.s3.store import S3Store

ATTEMPTS = 3
NOT_KNOWN = {"NotImplemented", "MethodNotAllowed", "405", "501", "XNotImplemented"}
PUBLISHED = "published"
DENIED = {"AccessDenied", "403", "Forbidden"}


class PolicyError(ReleaseError):
    """The release is there, and strangers cannot read it; what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, exit_code=1)


def public_statements(bucket: str, prefix: str, *, partition: str = "aws") -> list[dict[str, Any]]:
    """What lets anyone list and read the objects below a prefix, and nothing beside them.

    Args:
        prefix: without a slash at its ends; "" is the whole bucket.
        partition: of AWS in which the bucket lies, as its ARN begins: aws, aws-cn, aws-us-gov.

    Raises:
        ReleaseError: a prefix in which a policy would see a wildcard.
    """
    if any(character in prefix for character in "*?$"):
        raise ReleaseError(
            f"s3://{bucket}/{prefix}: a policy takes *, ? and $ in a name for wildcards, and would"
            " open more than the release; move it to a prefix without them, or use --private"
        )
    name = hashlib.sha256(prefix.encode()).hexdigest()[:16]
    below = f"{prefix}/*" if prefix else "*"
    everybody = {"Effect": "Allow", "Principal": "*"}
    read = {
        "Sid": f"BrainpressAnyoneReads{name}",
        **everybody,
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:{partition}:s3:::{bucket}/{below}"],
    }
    listed: dict[str, Any] = {
        "Sid": f"BrainpressAnyoneLists{name}",
        **everybody,
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:{partition}:s3:::{bucket}"],
    }
    if prefix:
        listed["Condition"] = {"StringLike": {"s3:prefix": [below]}}
    return [read, listed]


def with_public_read(
    policy: Mapping[str, Any] | None, bucket: str, prefix: str, *, partition: str = "aws"
) -> dict[str, Any] | None:
    """`policy` with what opens the prefix; every statement that is there stays. None: it has it.

    Args:
        policy: the bucket's; None where it has none.
    """
    there = policy.get("Statement", []) if policy else []
    statements = [there] if isinstance(there, Mapping) else list(there)
    known = [_meaning(statement) for statement in statements]
    wanted = public_statements(bucket, prefix, partition=partition)
    new = [s for s in wanted if _meaning(s) not in known]
    if not new:
        return None
    return {"Version": "2012-10-17", **(policy or {}), "Statement": [*statements, *new]}


def without_public_read(
    policy: Mapping[str, Any] | None, bucket: str, prefix: str, *, partition: str = "aws"
) -> dict[str, Any] | None:
    """`policy` without what opens the prefix; every other statement stays. None: it has nothing."""
    there = policy.get("Statement", []) if policy else []
    statements = [there] if isinstance(there, Mapping) else list(there)
    opening = public_statements(bucket, prefix, partition=partition)
    ours = {_meaning(statement) for statement in opening}
    left = [statement for statement in statements if _meaning(statement) not in ours]
    if len(left) == len(statements):
        return None
    return {"Version": "2012-10-17", **(policy or {}), "Statement": left}


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
                store.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(wanted))
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
        try:
            store.client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(wanted))
        except Exception as error:
            raise _refused(store, error) from error
        changed = True
    if with_it(read_policy(store), bucket, prefix) is None:
        return changed
    raise PolicyError(
        f"{store.uri}: somebody else keeps changing the policy of bucket {bucket!r}; run the same"
        " command again"
    )


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


def _meaning(statement: Any) -> str:
    """By which two statements are the same: not by their names, nor by one in a list or alone."""
    if not isinstance(statement, Mapping):
        return ascii(statement)
    plain: dict[str, Any] = {}
    for name, value in statement.items():
        if name != "Sid":
            plain[name] = sorted(value) if _is_texts(value) else value
            if isinstance(value, str) and name in ("Action", "Resource"):
                plain[name] = [value]
    if plain.get("Principal") == {"AWS": "*"} or plain.get("Principal") == {"AWS": ["*"]}:
        plain["Principal"] = "*"
    condition = plain.get("Condition")
    if isinstance(condition, Mapping):
        plain["Condition"] = {
            test: {key: [v] if isinstance(v, str) else v for key, v in keys.items()}
            for test, keys in condition.items()
            if isinstance(keys, Mapping)
        }
    return json.dumps(plain, sort_keys=True)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


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
