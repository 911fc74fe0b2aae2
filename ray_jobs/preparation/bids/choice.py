"""Which of a participant's images are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ldm.contrasts import T1W


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which of a participant's images are asked for.

    Attributes:
        placement: "affine" prefers images in MNI space.
        session: "ses-01"; "all", a sample a session; or None, the best image of any.
        pattern: of a file's name, as a shell has it.
        suffixes: the contrasts, each a sample.
    """

    placement: str = "centre"
    session: str | None = None
    pattern: str | None = None
    suffixes: tuple[str, ...] = (T1W,)

    def to_json(self) -> dict[str, Any]:
        """What belongs to the identity of a run; nothing where it is the default."""
        told: dict[str, Any] = {"session": self.session, "image": self.pattern}
        if self.suffixes != (T1W,):
            told["suffixes"] = list(self.suffixes)
        return {name: value for name, value in told.items() if value is not None}
