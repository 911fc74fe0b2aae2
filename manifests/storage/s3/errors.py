"""What an S3 server's refusal means for the person who ran the command, in one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from manifests.errors import ReleaseError, StorageError

MISSING = {"404", "NoSuchBucket", "NotFound"}
WRONG_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key id is not known there",
    "SignatureDoesNotMatch": "the secret key does not fit the access key id",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes",
}
# What passes: the server is starting, busy or broken for a while, or bytes were lost on the way.
PASSING = {
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "IncompleteBody",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
}
DENIED = {"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}
_ENCRYPTED = re.compile(r"\bkms:[A-Z]|\bAWS KMS\b|^KMS\.")
HOW_TO_SIGN = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Where a request went, as its errors tell of it.

    Attributes:
        uri: of the release.
        name: of the bucket.
        endpoint: of the server, in words where no client was made yet.
        signed: whether requests carry credentials.
        anonymous: whether the user wants it so.
    """

    uri: str
    name: str
    endpoint: str
    signed: bool
    anonymous: bool = False


def code_of(error: BaseException) -> str:
    """The S3 error code of a botocore ClientError, such as NoSuchKey; "" for anything else."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return ""
    return str(response.get("Error", {}).get("Code", ""))


def passes(error: BaseException) -> bool:
    """Whether the same request may well succeed a little later."""
    from botocore import exceptions as botocore

    if isinstance(error, botocore.ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        broken = status >= 500 and status != 501
        return broken or status == 429 or code_of(error) in PASSING
    away = (botocore.HTTPClientError, botocore.ConnectionError, ConnectionError)
    lost = isinstance(error, (*away, botocore.IncompleteReadError))
    return lost and not isinstance(error, botocore.SSLError)


def is_refused(error: BaseException) -> bool:
    """Whether it lies with the credentials, so that who brings none may fare better."""
    from botocore import exceptions as botocore

    unusable = (
        botocore.ProfileNotFound,
        botocore.PartialCredentialsError,
        botocore.NoCredentialsError,
        botocore.CredentialRetrievalError,
        botocore.TokenRetrievalError,
        botocore.SSOError,
    )
    # The answer to a HEAD has no body: of a token that has expired it is a plain 400.
    return code_of(error) in {*WRONG_CREDENTIALS, *DENIED, "400"} or isinstance(error, unusable)


def explain(error: Exception, *, verb: str, bucket: Bucket, key: str) -> ReleaseError | None:
    """The one line for `error`, met when `verb`-ing `key`; None for what no user can mend.

    Never holds a key, secret or token.
    """
    from botocore import exceptions as botocore

    place = f"{bucket.uri}/{key}" if key else bucket.uri
    if isinstance(error, botocore.ClientError):
        return _refusal(error, verb=verb, bucket=bucket, place=place)
    if isinstance(error, botocore.ProfileNotFound):
        return ReleaseError(f"{error}: set AWS_PROFILE to one in ~/.aws/config")
    if isinstance(error, (botocore.PartialCredentialsError, botocore.NoCredentialsError)):
        return StorageError(f"cannot {verb} {place}: incomplete AWS credentials; {HOW_TO_SIGN}")
    if isinstance(error, (botocore.TokenRetrievalError, botocore.SSOError)):
        return StorageError(f"cannot {verb} {place}: {error}; run `aws sso login`")
    if passes(error) or isinstance(error, botocore.SSLError):
        reason = "no answer" if "imeout" in type(error).__name__ else "cannot connect"
        if isinstance(error, botocore.SSLError):
            reason = "its certificate is not trusted here"
        return StorageError(
            f"cannot {verb} {place}: {reason} at {bucket.endpoint};"
            " check the network and AWS_ENDPOINT_URL, then run the same command again",
            exit_code=1,
        )
    if isinstance(error, (botocore.BotoCoreError, ValueError)):
        return ReleaseError(f"cannot {verb} {place}: {error}")
    return None


def _refusal(error: Exception, *, verb: str, bucket: Bucket, place: str) -> ReleaseError:
    code = code_of(error)
    if code in MISSING:
        return StorageError(
            f"bucket {bucket.name!r} does not exist at {bucket.endpoint}:"
            f" create it first, or correct {bucket.uri}"
        )
    if code in WRONG_CREDENTIALS:
        return StorageError(
            f"cannot {verb} {place}: {WRONG_CREDENTIALS[code]} ({code}); check the AWS credentials"
            " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
        )
    if _ENCRYPTED.search(f"{code} {error}"):
        return StorageError(
            f"cannot {verb} {place}: it is encrypted with a key of AWS KMS, which"
            f" {'these credentials' if bucket.signed else 'strangers'} may not use ({code});"
            " its owner can allow kms:Decrypt, and encrypts a public release with SSE-S3 (AES256)"
        )
    if code in DENIED:
        if not bucket.signed:
            found = "credentials are left alone" if bucket.anonymous else "found no AWS credentials"
            how = "leave out --anonymous" if bucket.anonymous else HOW_TO_SIGN
            return StorageError(
                f"cannot {verb} {place}: {found}, and it is not open to everyone; {how}"
            )
        return StorageError(
            f"cannot {verb} {place}: these AWS credentials are not allowed to;"
            " ask the bucket's owner, or use others (AWS_PROFILE), and where whoever asks pays,"
            " set AWS_REQUEST_PAYER=requester"
        )
    if code in {"PermanentRedirect", "301", "AuthorizationHeaderMalformed"}:
        return StorageError(
            f"cannot {verb} {place}: the bucket is in another region than"
            f" {bucket.endpoint}; set AWS_REGION to its own"
        )
    kind = StorageError if passes(error) else ReleaseError
    return kind(f"cannot {verb} {place}: the server answered {error}", exit_code=1)


def refuse_credentials_in(endpoint: str) -> None:
    """S3 does not look for them there, and libraries log where they connect to.

    Raises:
        ReleaseError: the address has a user name, a password or a query; it is not shown.
    """
    parts = urlsplit(endpoint)
    if "@" in parts.netloc or parts.query:
        raise ReleaseError(
            "the endpoint of S3 (AWS_ENDPOINT_URL, --endpoint-url) has a user name, a password or a"
            f" query in it, expected https://host:port; {HOW_TO_SIGN}"
        )
