"""Which of a participant's images are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a participant's images are asked for.

    Attributes:
        placement: "affine" prefers images in MNI space.
        session: "ses-01"; "all", a sample a session; or None, the best image of any.
        pattern: of a file's name, as a shell has it.
    """

    placement: str = "centre"
    session: str | None = None
    pattern: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What belongs to the identity of a run; nothing where it is the default."""
        told = {"session": self.session, "image": self.pattern}
        return {name: value for name, value in told.items() if value is not None}
