"""Presets: the grid, the networks and the numbers that a training line shares."""

from ldm.training.presets.config import CHANNEL, ONE, SCALES, Preset
from ldm.training.presets.files import on_card, preset, preset_text, read_preset
from ldm.training.presets.named import PRESETS, demo, lab, paper, tiny

__all__ = [
    "CHANNEL",
    "ONE",
    "PRESETS",
    "SCALES",
    "Preset",
    "demo",
    "lab",
    "on_card",
    "paper",
    "preset",
    "preset_text",
    "read_preset",
    "tiny",
]
