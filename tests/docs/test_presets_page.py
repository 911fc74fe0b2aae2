"""docs/presets.md is what the configs say."""

from __future__ import annotations

from ldm.training.presets import fields, preset
from tests.docs.presets_page import PAGE, presets_page

TRAINING = "train_autoencoder, train_diffusion, train_decoder, train_features"


def test_the_page_about_presets_is_what_their_classes_say() -> None:
    assert PAGE.read_text() == presets_page()


def test_every_field_of_a_file_has_its_line_and_its_meaning() -> None:
    sections = presets_page().split("\n## ")
    for part, value in fields.told(preset("demo")).items():
        within = value if isinstance(value, dict) else {part: value}
        title = part if isinstance(value, dict) else "Fields of its own"
        title = TRAINING if part.startswith("train_") else title
        (section,) = [text for text in sections if text.startswith(f"{title}\n")]
        for name in within:
            (line,) = [text for text in section.splitlines() if text.startswith(f"| `{name}` |")]
            assert len(line.split(" | ")[2]) > 7
