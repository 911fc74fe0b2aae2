"""Where the files of a MONAI bundle lie."""

from __future__ import annotations

AUTOENCODER, DENOISER = "models/autoencoder.pt", "models/model.pt"
REFINER = "models/refiner.pt"  # of an exported model that has one
INFERENCE, METADATA = "configs/inference.json", "configs/metadata.json"
WEIGHTS = (AUTOENCODER, DENOISER)
FILES = (METADATA, INFERENCE, AUTOENCODER, DENOISER)
