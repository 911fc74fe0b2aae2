"""The error of a job that a user can mend, told in one line."""

from manifests.text import without_credentials


class JobError(Exception):
    """What was found, what was expected, what to do; the command line exits with `exit_code`."""

    def __init__(self, message: str, *, exit_code: int = 2) -> None:
        super().__init__(without_credentials(message))
        self.exit_code = exit_code
