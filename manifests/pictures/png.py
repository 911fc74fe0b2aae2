"""Grey pictures as PNG files, written with zlib alone: the light install has no imaging library."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PAETH = 4  # the filter type that suits smooth pictures best (PNG specification, section 9.4)


def png_bytes(grey: np.ndarray) -> bytes:
    """An 8-bit greyscale PNG file of `grey`, uint8 (rows, columns); the same bytes every time.

    >>> png_bytes(np.zeros((2, 3), np.uint8))[:8] == SIGNATURE
    True
    """
    if grey.dtype != np.uint8 or grey.ndim != 2 or 0 in grey.shape:
        raise ValueError(f"a picture of {grey.dtype} {grey.shape}: expected uint8 (rows, columns)")
    height, width = grey.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.empty((height, width + 1), np.uint8)
    lines[:, 0] = _PAETH
    lines[:, 1:] = grey - _predicted(grey)  # modulo 256
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _predicted(grey: np.ndarray) -> np.ndarray:
    """Paeth's prediction of each pixel: of left, above and above left, the nearest to their sum."""
    around = np.zeros((grey.shape[0] + 1, grey.shape[1] + 1), np.int16)
    around[1:, 1:] = grey
    left, above, corner = around[1:, :-1], around[:-1, 1:], around[:-1, :-1]
    estimate = left + above - corner
    to_left, to_above, to_corner = (abs(estimate - near) for near in (left, above, corner))
    rest = np.where(to_above <= to_corner, above, corner)
    return np.where((to_left <= to_above) & (to_left <= to_corner), left, rest).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
