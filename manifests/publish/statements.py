"""The statements of a bucket's policy by which anyone may list and read releases, and nothing else.

All releases of a bucket share two statements, so that the 20 KB of a policy hold many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from manifests.errors import ReleaseError

READS, LISTS, LISTS_ALL = (
    "BrainpressAnyoneReads",
    "BrainpressAnyoneLists",
    "BrainpressAnyoneListsAll",
)


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
    arn = f"arn:{partition}:s3:::{bucket}"
    return _statements(arn, {_below(prefix)}, {_below(prefix)})


def with_public_read(
    policy: Mapping[str, Any] | None, bucket: str, prefix: str, *, partition: str = "aws"
) -> dict[str, Any] | None:
    """`policy` with what opens the prefix; every other statement stays. None: it has it.

    Args:
        policy: the bucket's; None where it has none.
    """
    arn = f"arn:{partition}:s3:::{bucket}"
    others, read, listed = _parted(_all(policy), arn)
    below, known = _below(prefix), set(map(_meaning, others))
    opening = public_statements(bucket, prefix, partition=partition)
    ours = (below in read, below in listed)
    if all(has or _meaning(one) in known for has, one in zip(ours, opening, strict=True)):
        return None
    kept = [*others, *_statements(arn, read | {below}, listed | {below})]
    return {"Version": "2012-10-17", **(policy or {}), "Statement": kept}


def without_public_read(
    policy: Mapping[str, Any] | None, bucket: str, prefix: str, *, partition: str = "aws"
) -> dict[str, Any] | None:
    """`policy` without what opens the prefix; what opens others stays. None: it has nothing."""
    arn = f"arn:{partition}:s3:::{bucket}"
    others, read, listed = _parted(_all(policy), arn)
    opening = set(map(_meaning, public_statements(bucket, prefix, partition=partition)))
    left = [statement for statement in others if _meaning(statement) not in opening]
    below = _below(prefix)
    if len(left) == len(others) and below not in read | listed:
        return None
    kept = [*left, *_statements(arn, read - {below}, listed - {below})]
    return {"Version": "2012-10-17", **(policy or {}), "Statement": kept}


def _all(policy: Mapping[str, Any] | None) -> list[Any]:
    there = policy.get("Statement", []) if policy else []
    return [there] if isinstance(there, Mapping) else list(there)


def _below(prefix: str) -> str:
    return f"{prefix}/*" if prefix else "*"


def _statements(arn: str, read: Iterable[str], listed: Iterable[str]) -> list[dict[str, Any]]:
    """What lets anyone read and list what lies below each of these, such as "release/*"."""
    everybody = {"Effect": "Allow", "Principal": "*"}
    read, listed = sorted(read), sorted(listed)
    listing = {**everybody, "Action": ["s3:ListBucket"], "Resource": [arn]}
    found: list[dict[str, Any]] = []
    if read:
        resources = [f"{arn}/{below}" for below in read]
        found.append({"Sid": READS, **everybody, "Action": ["s3:GetObject"], "Resource": resources})
    if some := [below for below in listed if below != "*"]:
        condition = {"StringLike": {"s3:prefix": some}}
        found.append({"Sid": LISTS, **listing, "Condition": condition})
    if "*" in listed:
        found.append({"Sid": LISTS_ALL, **listing})
    return found


def _parted(statements: list[Any], arn: str) -> tuple[list[Any], set[str], set[str]]:
    """The statements of others, and below what ours let anyone read and list.

    Ours is one with our name that says what it would say if we wrote it, and nothing else.
    """
    others, read, listed = [], set(), set()
    for statement in statements:
        name = statement.get("Sid") if isinstance(statement, Mapping) else None
        known = str(name).startswith((READS, LISTS))
        resources = _texts(statement.get("Resource")) if known else []
        below = [text.removeprefix(f"{arn}/") for text in resources if text != arn]
        prefixes = _prefixes(statement) if known else []
        if below and _means(statement, _statements(arn, below, ())):
            read.update(below)
        elif prefixes and _means(statement, _statements(arn, (), prefixes)):
            listed.update(prefixes)
        else:
            others.append(statement)
    return others, read, listed


def _prefixes(statement: Mapping[str, Any]) -> list[str]:
    condition = statement.get("Condition")
    if condition is None:
        return ["*"]
    test = condition.get("StringLike") if isinstance(condition, Mapping) else None
    return _texts(test.get("s3:prefix")) if isinstance(test, Mapping) else []


def _texts(value: Any) -> list[str]:
    """A text, or a list of some, as a list."""
    return [value] if isinstance(value, str) else list(value) if _is_texts(value) else []


def _means(statement: Any, ours: list[dict[str, Any]]) -> bool:
    return [_meaning(statement)] == list(map(_meaning, ours))


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
            test: {key: sorted(_texts(v)) or v for key, v in keys.items()}
            for test, keys in condition.items()
            if isinstance(keys, Mapping)
        }
    return json.dumps(plain, sort_keys=True)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
