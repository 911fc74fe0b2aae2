"""A model trained on one device for so many minutes a stage, without Ray: the jobs' own networks,
losses and files.

    python -m tests.benchmarks.gpu.model --cohort prepared --from demo --deform --out trained

Copies are made on the CPUs, as `encode-latents` makes them, and encoded on the device. Leaves
`model/`, which `brainpress generate --model trained/model` prints with, `samples.png`, and
`figures.json` with the held-out curves.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ldm.diffusion.schedule import Schedule
from ldm.loading import load
from ldm.models.description import ModelDescription
from ldm.models.latent_diffusion import Model, save
from ldm.networks import Autoencoder, Denoiser
from ldm.networks.autoencoder import with_refiner
from ldm.networks.precision import resolve
from ldm.networks.weights import load_weights
from ldm.noise import COVARIATES, generator
from ldm.training.autoencoder import AutoencoderTask, validate
from ldm.training.config import TrainingConfig
from ldm.training.decoder import DecoderTask, Denoised, fit_bands, new_refiner
from ldm.training.diffusion import DiffusionTask
from ldm.training.presets import Preset, preset
from ldm.volumes.conversion import dequantise
from ldm.volumes.previews import mosaic
from ray_jobs.encoding.autoencoder_folder import TrainedAutoencoder, trained
from ray_jobs.encoding.encoder import CopyMaker, Encoder
from ray_jobs.encoding.job import collect
from ray_jobs.encoding.latents import ARRAYS, EncodedCohort
from ray_jobs.preparation.cohort import PreparedCohort
from ray_jobs.training.conditions import conditions
from ray_jobs.training.decoder_job import decoded_checks, told
from ray_jobs.training.diffusion_job import denoiser_config, describe_model
from ray_jobs.training.draws import truncated
from ray_jobs.training.inputs import validation_volumes
from ray_jobs.training.starting.start import autoencoder_start, denoiser_start, refiner_start
from ray_jobs.work_folder import WorkFolder
from tests.benchmarks.timed import train_for

SAMPLES = 16
TRUNCATION = 0.25  # of the time steps


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--from", dest="start", help="a model to begin with, such as demo")
    parser.add_argument(
        "--minutes",
        default="0,6,3",
        help="of autoencoder, diffusion model and refiner; 0 of the first takes the autoencoder "
        "of --from as it is, 0 of the last leaves the refiner out",
    )
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--deform", action="store_true", help="bend the third and all later ones")
    parser.add_argument("--batch", type=int, help="of the diffusion model; by default the preset's")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--makers", type=int, default=os.cpu_count(), help="processes for copies")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(words)
    args.out.mkdir(parents=True, exist_ok=True)
    minutes = [float(word) for word in args.minutes.split(",")]
    torch.manual_seed(0)
    maker = Maker(args)
    autoencoder = maker.autoencoder(minutes[0])
    latents = maker.latents(autoencoder)
    model = maker.diffusion(minutes[1], latents)
    if minutes[2]:
        model = maker.refiner(minutes[2], model)
    maker.finish(model)


def make_copies(work: tuple[WorkFolder, str, int, bool, dict[str, Any]]) -> dict[str, Any]:
    """One subject's, on a CPU."""
    *told_of, item = work
    return CopyMaker(*told_of)(item)


def begin(network: nn.Module, weights: bytes) -> None:
    load_weights(network, weights, "--from")


def means(sums: dict[str, float]) -> dict[str, float]:
    """Of what validation added up."""
    count = sums.pop("count")
    return {name: value / count for name, value in sums.items()}


@torch.inference_mode()
def fixed_loss(network: nn.Module, task: DecoderTask, device: torch.device) -> float:
    """The mean loss of a task's subjects, each with its own fixed noise."""
    losses = []
    for place in range(task.count):
        samples = task.load(np.array([place]), 0, range(place, place + 1))
        on_device = {name: tensor.to(device) for name, tensor in samples.items()}
        losses.append(float(task.loss(network, on_device)[0]))
    return sum(losses) / len(losses)


class Maker:
    """The stages, in order; `figures` holds what each took and reached."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.device = torch.device(args.device)
        self.precision = resolve("auto", args.device)
        self.cohort = PreparedCohort.open(str(args.cohort))
        self.chosen = self._on_device(preset(args.preset))
        self.figures: dict[str, Any] = {
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            "preset": args.preset,
            "from": args.start,
        }

    def _on_device(self, chosen: Preset) -> Preset:
        """In bf16 only where both the preset and the device compute in it."""

        def own(config: TrainingConfig) -> TrainingConfig:
            fits = self.precision if config.precision == "bf16" else config.precision
            return replace(config, precision=fits)

        diffusion = chosen.train_diffusion
        batch = self.args.batch or diffusion.batch_size
        return replace(
            chosen,
            train_autoencoder=own(chosen.train_autoencoder),
            train_decoder=own(chosen.train_decoder),
            train_diffusion=own(replace(diffusion, batch_size=batch, micro_batch=0)),
        )

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        begun = time.monotonic()
        print(f"# {name}", flush=True)
        found = work()
        self.figures[f"{name}_s"] = round(time.monotonic() - begun, 1)
        return found

    def autoencoder(self, minutes: float) -> TrainedAutoencoder:
        network = Autoencoder(self.chosen.autoencoder)
        if self.args.start:
            begin(network, autoencoder_start(self.args.start, self.chosen.autoencoder).data)
        if minutes:
            network = self.timed("autoencoder", lambda: self._autoencoder(minutes, network))
        return trained(network.cpu(), self.cohort.grid, {"minutes": minutes}, "autoencoder")

    def _autoencoder(self, minutes: float, network: Autoencoder) -> Any:
        config = self.chosen.train_autoencoder
        held_out = validation_volumes(self.cohort)
        volumes = self.cohort.volumes("train")
        task = AutoencoderTask(volumes, config, self.chosen.latent_shape, None)

        def look(average: nn.Module) -> dict[str, float]:
            assert isinstance(average, Autoencoder)
            return means(validate(average, held_out, self.device))

        return self._trained("autoencoder", minutes, network, task, config, look)

    def latents(self, autoencoder: TrainedAutoencoder) -> EncodedCohort:
        return self.timed("latents", lambda: self._latents(autoencoder))

    def _latents(self, autoencoder: TrainedAutoencoder) -> EncodedCohort:
        out = WorkFolder(str((self.args.out / "latents").absolute()))
        (out.path / ARRAYS).mkdir(parents=True, exist_ok=True)
        autoencoder.write(out.path)
        names = self.cohort.table["participant_id"]
        table = self.cohort.table.assign(latent=[f"{ARRAYS}/{name}.npy" for name in names])
        items = table[["participant_id", "volume", "sha256", "latent"]].to_dict(orient="records")
        told_of = out, self.cohort.where, self.args.copies
        encoder = Encoder(*told_of, self.device.type == "cuda", self.args.deform)
        with ProcessPoolExecutor(self.args.makers, get_context("spawn")) as pool:
            made = pool.map(make_copies, [(*told_of, self.args.deform, item) for item in items])
            rows = {row["participant_id"]: encoder(row) for row in made}
        encoded = collect(
            rows, table, self.cohort, self.args.copies, out, "", deformed=self.args.deform
        )
        encoded.write()
        return encoded

    def diffusion(self, minutes: float, latents: EncodedCohort) -> Model:
        return self.timed("diffusion", lambda: self._diffusion(minutes, latents))

    def _diffusion(self, minutes: float, latents: EncodedCohort) -> Model:
        chosen, config = self.chosen, self.chosen.train_diffusion
        network = denoiser_config(chosen, latents, config)
        start = None
        if self.args.start:
            start, network = denoiser_start(self.args.start, network, chosen.schedule, latents)
            start.tell()
        denoiser = Denoiser(network)
        if start:
            begin(denoiser, start.data)
        train, held_out = (
            DiffusionTask(
                latents.paths(split),
                conditions(latents, split),
                latents.latent_mean,
                latents.latent_std,
                chosen.schedule,
                config,
            )
            for split in ("train", "validation")
        )

        def look(average: nn.Module) -> dict[str, float]:
            return means(held_out.validate(average, range(held_out.count), self.device))

        average = self._trained("diffusion", minutes, denoiser, train, config, look)
        card = {"description": "trained by tests.benchmarks.gpu.model", "license": ""}
        described = describe_model("timed", card, chosen, network, latents)
        denoiser.load_state_dict(average.state_dict())
        return self._model(described, latents.autoencoder.network(), denoiser)

    def refiner(self, minutes: float, model: Model) -> Model:
        return self.timed("refiner", lambda: self._refiner(minutes, model))

    def _refiner(self, minutes: float, model: Model) -> Model:
        chosen, config = self.chosen, self.chosen.train_decoder
        schedule = Schedule.from_json(model.description.schedule)
        described = truncated(model.description, round(TRUNCATION * schedule.steps))
        denoised = Denoised.of(model, Schedule.from_json(described.schedule))
        paths, given = self.cohort.volumes("train"), told(self.cohort, described, "train")
        task = DecoderTask(paths, given, denoised, config, described.sampling.guidance)
        refiner = new_refiner(
            chosen.refiner, model.autoencoder, described.latent_mean, described.latent_std
        )
        if self.args.start:
            channels = chosen.autoencoder.latent_channels
            begin(refiner, refiner_start(self.args.start, chosen.refiner, channels).data)
        fit_bands(refiner, paths, given, denoised, self.device)
        unseen = self.cohort.volumes("validation"), told(self.cohort, described, "validation")
        held_out = DecoderTask(*unseen, denoised, config, described.sampling.guidance)

        def look(average: nn.Module) -> dict[str, float]:
            return {"loss": fixed_loss(average, held_out, self.device)}

        average = self._trained("refiner", minutes, refiner, task, config, look)
        whole = with_refiner(model.autoencoder.cpu(), chosen.refiner, average.state_dict())
        before = self._model(described, whole, model.denoiser)
        checks = decoded_checks(self.cohort, described, before, whole)
        described = replace(
            described,
            autoencoder=whole.config.to_json(),
            bounds=checks.bounds,
            brain_size=checks.brain_size,
            bounds_of=checks.bounds_of,
        )
        return self._model(described, whole, model.denoiser)

    def finish(self, model: Model) -> None:
        """Write the model, pictures of what it draws, and the figures."""
        out = self.args.out
        save(out / "model", model.description, model.autoencoder.cpu(), model.denoiser.cpu())
        printing: Any = load(str(out / "model"), device=self.args.device)
        keys = range(SAMPLES)
        rows = [printing.distribution.sample(generator(COVARIATES, key)) for key in keys]
        volumes = self.timed("samples", lambda: printing.generate(rows, [(key,) for key in keys]))
        (out / "samples.png").write_bytes(mosaic([dequantise(volume) for volume in volumes]))
        (out / "figures.json").write_text(json.dumps(self.figures, indent=1) + "\n")

    def _trained(
        self, name: str, minutes: float, network: Any, task: Any, config: Any, look: Any
    ) -> Any:
        found = train_for(60 * minutes, network, task, config, self.device, look)
        average, self.figures[name] = found
        return average

    def _model(self, described: ModelDescription, autoencoder: Autoencoder, denoiser: Any) -> Model:
        return Model(described, autoencoder, denoiser, device=str(self.device), precision="fp32")


if __name__ == "__main__":
    main()
