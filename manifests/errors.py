"""The error of this package that a user can mend, told in one line."""


class ReleaseError(ValueError):
    """A wrong input or a broken release: what was found, what was expected and what to do.

    `exit_code` is what the command line exits with: 2 for usage, 1 for something incomplete,
    failed or unreachable.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code
