"""Where the files of a MONAI bundle lie."""

from __future__ import annotations

AUTOENCODER, DENOISER = "models/autoencoder.pt", "models/model.pt"
# Of an exported model that has one.
REFINER, BRANCH = "models/refiner.pt", "models/branch.pt"
INFERENCE, METADATA = "configs/inference.json", "configs/metadata.json"
WEIGHTS = (AUTOENCODER, DENOISER)
FILES = (METADATA, INFERENCE, AUTOENCODER, DENOISER)
