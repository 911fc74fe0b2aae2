"""The user's AWS settings on their way to workers, which do not inherit them nor show them."""

from __future__ import annotations

import os


class Secrets(dict[str, str]):
    """Environment variables on their way to a worker; their values are never shown.

    They travel with what a worker is to do, and not in Ray's runtime environment, which Ray writes
    into its logs and shows on its dashboard.
    """

    def __repr__(self) -> str:
        return f"Secrets({sorted(self)})"

    def __reduce__(self) -> tuple[type[Secrets], tuple[dict[str, str]]]:
        return Secrets, (dict(self),)


def aws_environment() -> Secrets:
    """This process's AWS settings, which workers on other machines do not inherit."""
    return Secrets({name: text for name, text in os.environ.items() if name.startswith("AWS_")})
