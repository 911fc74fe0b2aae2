"""How well the folds of one brain fit those of another once each part may move by itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from ldm.errors import LdmError
from ldm.evaluation.privacy.nearness import Matches

REACH = 4  # voxels by which a part may have moved along each axis: 10 mm
RADIUS = 5  # voxels of a part, a ball
STRIDE = 7  # voxels between the middles of parts
FULL = 0.7  # share of a part that must lie in most people's brains
CANDIDATES = 128  # people with whom a volume is matched, where there are many more
_WIDTH = 1024  # numbers by which candidates are chosen
_MARGIN = RADIUS + REACH
_AT_ONCE = 16  # parts of a person that are compared at once: 8 MB
_NOTHING = 1e-6


class Matcher:
    """Matches volumes with people, part by part, in either reflection.

    The brain is cut into balls of 25 mm; each is moved by up to 10 mm to where it fits best, and
    the correlations there are averaged: a free-form registration, piecewise by translations, by
    block matching (Ourselin et al. 2001, Image and Vision Computing 19:25). A copy that was moved,
    mirrored, bent smoothly, blurred or mixed with another person fits its source better than
    anybody else; two people fit alike badly. Nothing is learnt, so nothing is learnt by heart.

    Args:
        people: (P, x, y, z) int8, patterns of `ldm.evaluation.privacy.pattern`.

    Raises:
        LdmError: fewer than two people, or nothing that most of them have in common.
    """

    def __init__(self, people: np.ndarray) -> None:
        if people.ndim != 4 or len(people) < 2:
            raise LdmError(f"patterns of shape {people.shape}: expected those of 2 or more people")
        self._people = people
        self._brain = brain_of(people)
        self._middles = middles(self._brain)
        if not len(self._middles):
            raise LdmError("the people's brains have no place in common; are they in one space?")
        self._ball = _lattice_ball()
        # Of a cube that reaches as far as any part may: the voxels of a part, for each shift of it.
        side = 2 * _MARGIN + 1
        at = _flat(_shifts(), (side,) * 3)[:, None] + _flat(self._ball, (side,) * 3)
        middle = _flat(np.full((1, 3), _MARGIN), (side,) * 3)
        self._windows = torch.from_numpy((at + middle).ravel())
        self._chosen_by: np.ndarray | None = None
        if len(people) > 2 * CANDIDATES:
            self._inside = (
                avg_pool3d(torch.from_numpy(self._brain)[None, None].float(), 2)[0, 0] > 0.5
            )
            self._projection = torch.randn(
                int(self._inside.sum()), _WIDTH, generator=torch.Generator().manual_seed(0)
            )
            self._chosen_by = self._vectors(people)

    @property
    def parts(self) -> int:
        """How many parts a brain is cut into."""
        return len(self._middles)

    def __call__(self, volumes: np.ndarray) -> Matches:
        """Of (N, x, y, z) int8, patterns on the people's grid.

        Raises:
            LdmError: another grid.
        """
        if volumes.shape[1:] != self._people.shape[1:]:
            raise LdmError(f"patterns of {volumes.shape[1:]}: expected {self._people.shape[1:]}")
        people = self._candidates(volumes)
        distances = np.ones(people.shape, dtype=np.float32)
        parts = self._parts(np.concatenate([volumes, volumes[:, ::-1]]))
        for person in np.unique(people):
            rows, places = np.nonzero(people == person)
            both = torch.from_numpy(np.concatenate([rows, rows + len(volumes)]))
            fits = self._fit(parts[:, :, both], int(person))
            distances[rows, places] = 1 - fits.view(2, -1).amax(dim=0).numpy()
        return Matches(people=people, distances=distances)

    def _candidates(self, volumes: np.ndarray) -> np.ndarray:
        """(N, K): everybody, or those whose folds are alike as they lie."""
        if self._chosen_by is None:
            return np.tile(np.arange(len(self._people)), (len(volumes), 1))
        alike = np.maximum(
            self._vectors(volumes) @ self._chosen_by.T,
            self._vectors(np.ascontiguousarray(volumes[:, ::-1])) @ self._chosen_by.T,
        )
        return np.sort(np.argpartition(-alike, CANDIDATES, axis=1)[:, :CANDIDATES], axis=1)

    def _vectors(self, patterns: np.ndarray) -> np.ndarray:
        """(N, `_WIDTH`) unit vectors, whose products are nearly the correlations of the patterns at
        half their resolution (random projections: Johnson & Lindenstrauss 1984)."""
        found = []
        for start in range(0, len(patterns), 64):
            some = torch.from_numpy(np.array(patterns[start : start + 64])).float()
            found.append(avg_pool3d(some[:, None], 2)[:, 0][:, self._inside] @ self._projection)
        vectors = torch.cat(found)
        return np.asarray((vectors / (vectors.norm(dim=1, keepdim=True) + _NOTHING)).numpy())

    @torch.inference_mode()
    def _parts(self, volumes: np.ndarray) -> Tensor:
        """(B, V, N) the parts of (N, x, y, z) patterns, each of mean 0 and length 1."""
        flat, sides = _padded(volumes)
        places = _flat(self._middles + _MARGIN, sides)[:, None] + _flat(self._ball, sides)
        parts = flat[:, torch.from_numpy(places)].permute(1, 2, 0)
        parts = parts - parts.mean(dim=1, keepdim=True)
        return parts / (parts.norm(dim=1, keepdim=True) + _NOTHING)

    @torch.inference_mode()
    def _fit(self, parts: Tensor, person: int) -> Tensor:
        """(N,) mean over the parts (B, V, N) of their best correlation with a person's."""
        (theirs,), sides = _padded(self._people[person : person + 1])
        around = torch.from_numpy(_flat(_cube(_MARGIN), sides))
        total = torch.zeros(parts.shape[2])
        for first in range(0, len(parts), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            places = torch.from_numpy(_flat(self._middles[some] + _MARGIN, sides))
            near = theirs[places[:, None] + around]
            there = near.index_select(1, self._windows).view(len(near), -1, parts.shape[1])
            mean = there.mean(dim=2, keepdim=True)
            length = (there.norm(dim=2, keepdim=True) ** 2 - parts.shape[1] * mean**2).clamp(min=0)
            fits = torch.bmm(there, parts[some]) / (length.sqrt() + _NOTHING)
            total += fits.amax(dim=1).sum(dim=0)
        return total / len(parts)


def _padded(patterns: np.ndarray) -> tuple[Tensor, tuple[int, ...]]:
    """(N, voxels) float32 of patterns with a margin for every part to move into, and its sides."""
    wide = np.pad(patterns, [(0, 0), *[(_MARGIN, _MARGIN)] * 3])
    return torch.from_numpy(wide).float().flatten(1), wide.shape[1:]


def brain_of(patterns: np.ndarray) -> np.ndarray:
    """(x, y, z) bool, where most of (N, x, y, z) patterns have something."""
    count = np.zeros(patterns.shape[1:], dtype=np.int64)
    for one in patterns:
        count += one != 0
    return np.asarray(count > len(patterns) / 2)


def middles(brain: np.ndarray) -> np.ndarray:
    """(B, 3) where the parts of a brain (x, y, z) lie."""
    ball = _lattice_ball()
    padded = np.pad(brain, RADIUS)
    axes = [np.arange(side % STRIDE // 2, side, STRIDE) for side in brain.shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    shares = [padded[tuple((place + RADIUS + ball).T)].mean() for place in places]
    return np.asarray(places[np.array(shares) >= FULL])


def _lattice_ball() -> np.ndarray:
    """(V, 3) offsets of a ball's voxels: a quarter of them, on a body-centred lattice, which holds
    all that a pattern has."""
    offsets = _cube(RADIUS)
    alike = (offsets % 2 == offsets[:, :1] % 2).all(axis=1)
    return np.asarray(offsets[alike & ((offsets**2).sum(axis=1) <= (RADIUS + 0.5) ** 2)])


def _shifts() -> np.ndarray:
    """(S, 3) by how much a part is moved: every second place, on a face-centred lattice, so that
    none is further than a voxel from one."""
    steps = _cube(REACH)
    return np.asarray(steps[steps.sum(axis=1) % 2 == 0])


def _cube(reach: int) -> np.ndarray:
    """(N, 3) all offsets of up to `reach` along each axis."""
    steps = np.arange(-reach, reach + 1)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)


def _flat(places: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """(N,) places (N, 3) in the flattened volume."""
    return np.asarray((places[:, 0] * sides[1] + places[:, 1]) * sides[2] + places[:, 2])
