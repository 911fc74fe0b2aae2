"""Where Ray Train keeps a run's checkpoints: `checkpoints/` of its folder, or of its prefix."""

from __future__ import annotations

from typing import Any

from ray_jobs.work_folder import WorkFolder

FOLDER = "checkpoints"
# Credentials that every machine of a cluster has by itself, and renews.
_OF_THE_MACHINE = ("iam-role", "container-role")


def storage(out: WorkFolder) -> tuple[str, Any]:
    """`storage_path` and `storage_filesystem`, as a run's config takes them."""
    if not out.in_bucket:
        return str(out.path / FOLDER), None
    return f"{out.where.removeprefix('s3://')}/{FOLDER}", _filesystem()


def _filesystem() -> Any:
    """S3 as boto3 finds it here, for processes that have no settings of the user's."""
    import boto3
    from pyarrow.fs import S3FileSystem

    session = boto3.Session()
    client = session.client("s3")
    found, credentials = session.get_credentials(), {}
    if found is not None and found.method not in _OF_THE_MACHINE:
        frozen = found.get_frozen_credentials()
        credentials = {
            "access_key": frozen.access_key,
            "secret_key": frozen.secret_key,
            "session_token": frozen.token or "",
        }
    endpoint = client.meta.endpoint_url
    scheme, _, server = endpoint.partition("://")
    own = {} if server.endswith(".amazonaws.com") else {"endpoint_override": server}
    return S3FileSystem(region=client.meta.region_name, scheme=scheme, **own, **credentials)
