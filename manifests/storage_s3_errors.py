"""What an S3 server's refusal means for the person who ran the command, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifests.errors import ReleaseError

if TYPE_CHECKING:
    from manifests.storage_s3 import S3Store

MISSING = {"404", "NoSuchBucket", "NotFound"}
WRONG_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key id is not known there",
    "SignatureDoesNotMatch": "the secret key does not fit the access key id",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes",
}
HOW_TO_SIGN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


def code_of(error: BaseException) -> str:
    """The S3 error code of a botocore ClientError, such as NoSuchKey; "" for anything else."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def explain(error: Exception, *, verb: str, store: S3Store, key: str) -> ReleaseError | None:
    """The one line for `error`, met when `verb`-ing `key`; None for what no user can mend.

    Never holds a key, secret or token.
    """
    from botocore import exceptions as botocore

    place = f"{store.uri}/{key}" if key else store.uri
    if isinstance(error, botocore.ClientError):
        return _refusal(error, verb=verb, store=store, place=place)
    if isinstance(error, botocore.ProfileNotFound):
        return ReleaseError(f"{error}: set AWS_PROFILE to one in ~/.aws/config")
    if isinstance(error, (botocore.PartialCredentialsError, botocore.NoCredentialsError)):
        return ReleaseError(f"cannot {verb} {place}: incomplete AWS credentials; {HOW_TO_SIGN}")
    if isinstance(error, (botocore.TokenRetrievalError, botocore.SSOError)):
        return ReleaseError(f"cannot {verb} {place}: {error}; run `aws sso login`")
    if isinstance(error, (botocore.EndpointConnectionError, botocore.HTTPClientError)):
        endpoint = _endpoint(store)
        reason = "no answer" if "imeout" in type(error).__name__ else "cannot connect"
        if isinstance(error, botocore.SSLError):
            reason = "its certificate is not trusted here"
        return ReleaseError(
            f"cannot {verb} {place}: {reason} at {endpoint};"
            " check the network and AWS_ENDPOINT_URL, then run the same command again",
            exit_code=1,
        )
    if isinstance(error, (botocore.BotoCoreError, ValueError)):
        return ReleaseError(f"cannot {verb} {place}: {error}")
    return None


def _refusal(error: Exception, *, verb: str, store: S3Store, place: str) -> ReleaseError:
    code = code_of(error)
    if code in MISSING:
        return ReleaseError(
            f"bucket {store.bucket!r} does not exist at {_endpoint(store)}:"
            f" create it first, or correct {store.uri}"
        )
    if code in WRONG_CREDENTIALS:
        return ReleaseError(
            f"cannot {verb} {place}: {WRONG_CREDENTIALS[code]} ({code}); check the AWS credentials"
            " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        )
    if code in {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}:
        if not store.signed:
            return ReleaseError(
                f"cannot {verb} {place}: found no AWS credentials, and it is not open to everyone;"
                f" {HOW_TO_SIGN}"
            )
        return ReleaseError(
            f"cannot {verb} {place}: these AWS credentials are not allowed to;"
            " ask the bucket's owner, or use others (AWS_PROFILE)"
        )
    if code in {"PermanentRedirect", "301", "AuthorizationHeaderMalformed"}:
        return ReleaseError(
            f"cannot {verb} {place}: the bucket is in another region; set AWS_REGION"
        )
    return ReleaseError(f"cannot {verb} {place}: the server answered {error}", exit_code=1)


def _endpoint(store: S3Store) -> str:
    client = store._client
    return str(client.meta.endpoint_url) if client is not None else "the S3 endpoint"
