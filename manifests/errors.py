"""The errors of this package that a user can mend, told in one line."""

from manifests.text import without_credentials


class ReleaseError(ValueError):
    """A wrong input or a broken release: what was found, what was expected and what to do.

    Addresses in it are shown without their credentials.

    `exit_code` is what the command line exits with: 2 for usage, 1 for something incomplete,
    failed or unreachable.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(without_credentials(message))
        self.exit_code = exit_code


class StorageError(ReleaseError):
    """The storage is away, full, or closed to whoever asks: another request fares no better."""
