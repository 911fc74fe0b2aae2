"""Bounds of a network's config: what a file says of itself must not fill the memory."""

from __future__ import annotations

from ldm.errors import LdmError

MOST_CHANNELS, MOST_LEVELS, MOST_BLOCKS, MOST_PATCH = 16_384, 12, 64, 32


def check_whole(what: str, least: int, most: int, **numbers: object) -> None:
    """Raise unless each is a whole number, or a list of some, from `least` to `most`.

    Raises:
        LdmError: the first that is not.
    """
    for name, value in numbers.items():
        members = value if isinstance(value, (list, tuple)) else (value,)
        if len(members) > MOST_LEVELS:
            raise LdmError(f"{what} {name}: {len(members)} levels, expected at most {MOST_LEVELS}")
        for number in members:
            whole = isinstance(number, int) and not isinstance(number, bool)
            if not whole or not least <= number <= most:
                found = f"{number!a:.40}"
                raise LdmError(f"{what} {name} {found}: expected a whole number {least} to {most}")
