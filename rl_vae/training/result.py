"""Result of a training: the finished model folder, its pictures and its summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch

from rl_vae.data.dataset import FrameDataset
from rl_vae.data.episodes import Split
from rl_vae.errors import FolderError, TrainingError
from rl_vae.models.config import VAEConfig
from rl_vae.models.description import read_config
from rl_vae.models.folder import ModelFolder
from rl_vae.models.save import save_model
from rl_vae.models.scores import measure_statistics
from rl_vae.models.state_dict import MAX_STATE_BYTES
from rl_vae.models.vae import VAE
from rl_vae.system import files, hashing, reading
from rl_vae.trackers.base import ID_FILE
from rl_vae.training.alarms import Alarm, read_alarms
from rl_vae.training.checkpoint import NAMES as CHECKPOINTS
from rl_vae.training.config import TrainConfig
from rl_vae.training.evaluate import HeldOut, beta_norm
from rl_vae.training.model_pictures import draw_pictures
from rl_vae.training.state import TrainState
from rl_vae.training.step import TrainStep

WEIGHTS = "best.safetensors"
"""File of the weights that the finished model gets, in the folder of an unfinished training."""

_UNFINISHED_ONLY = (*CHECKPOINTS, WEIGHTS, "run.json", ID_FILE, ".lock")
"""Files that a finished model folder does not keep."""


class Trained(NamedTuple):
    """Result of a training."""

    path: Path
    """The model folder, for `Encoder.load` or for a wrapper."""
    held_out: HeldOut
    """Measures of the weights in the folder: those of the best epoch, or of the last epoch if the
    objective has a discriminator."""
    steps: int
    """Number of updates."""
    seconds: float
    """Training time, without interruptions."""
    alarms: tuple[Alarm, ...]
    """Alarms that were raised, each once. An alarm about the model is left out if the model has
    recovered by the last epoch."""


def describe_run(
    dataset: FrameDataset, vae_config: VAEConfig, config: TrainConfig, parent: ModelFolder | None
) -> dict[str, Any]:
    """Settings and inputs of a training as plain JSON values; equal runs give equal models."""
    return {
        "dataset": dataset.digest,
        "vae": vae_config.to_dict(),
        "train": config.to_dict(),
        "parent": None if parent is None else parent.digest,
    }


def read_finished(out: Path, run: dict[str, Any]) -> Trained:
    """Read the result of a finished training.

    Args:
        out: The model folder.
        run: Settings and inputs of the training.

    Raises:
        FolderError: if the folder holds something else.
    """
    provenance = read_config(out)["provenance"]
    expected = json.loads(hashing.canonical_json(run))
    different = [name for name in run if provenance.get(name) != expected[name]]
    if different:
        raise FolderError(
            f"{out} holds another model.",
            expected="a new folder, or a model of the same dataset and settings",
            got=f"a finished model with different values of {', '.join(different)}",
            remedy="choose another folder, or delete this one",
        )
    _tidy(out)  # a kill may have come between the rename and the end
    try:
        held_out, alarms = HeldOut.of(provenance["held_out"]), read_alarms(provenance["alarms"])
        return Trained(out, held_out, provenance["steps"], provenance["seconds"], tuple(alarms))
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError.damaged(out / "config.json", "the result of a training", error) from error


def save_weights(partial: Path, state: TrainState) -> None:
    """Write the weights of a state as those of the finished model, and note their digest."""
    content = safetensors.torch.save(state.vae.cpu_weights())
    files.write_whole(partial / WEIGHTS, content)
    state.best_sha256 = hashing.digest(content)


def load_weights(partial: Path, state: TrainState) -> VAE:
    """Read the model with the weights that `save_weights` wrote.

    Raises:
        TrainingError: if the file is damaged.
    """
    path = partial / WEIGHTS
    try:
        content = reading.read_bounded(path, MAX_STATE_BYTES)
    except ValueError as error:
        raise FolderError.damaged(path, "the weights of the best epoch", error) from error
    if hashing.digest(content) != state.best_sha256:
        raise TrainingError(
            f"{path} is damaged.",
            expected=f"SHA-256 {state.best_sha256}",
            got=hashing.digest(content),
            remedy=f"delete {partial} and train again: the file cannot be restored",
        )
    weights = safetensors.torch.load(content)
    return VAE.from_weights(state.vae.config, state.vae.shape, weights).eval()


def write_model(
    partial: Path,
    result: Trained,
    dataset: FrameDataset,
    split: Split,
    step: TrainStep,
    run: dict[str, Any],
) -> None:
    """Write the files of the model, and give the folder its final name.

    Args:
        partial: Folder of the unfinished training.
        result: The result; its path is the final name.
        dataset: The frames.
        split: Training frames and held-out frames.
        step: The update, with state and settings of the training.
        run: Settings and inputs of the training.

    Raises:
        TrainingError: if the weights are damaged.
    """
    # Pictures of the weights that are kept
    vae, config = load_weights(partial, step.state), step.config
    draw_pictures(
        partial / "pictures",
        vae,
        dataset,
        split.held_out,
        result.held_out.kl_per_dimension,
        config,
    )
    # The model itself
    save_model(
        partial,
        vae,
        dataset=dataset,
        statistics=measure_statistics(vae, dataset, split.train),
        provenance={
            **run,
            "steps": result.steps,
            "seconds": result.seconds,
            "held_out": result.held_out._asdict(),
            "beta_norm": beta_norm(config.objective, vae),
            "skipped": step.state.skipped,
            "precision": step.precision._asdict(),
            "alarms": [alarm._asdict() for alarm in result.alarms],
            "seed": config.seed,
        },
    )
    files.rename_folder(partial, result.path)
    _tidy(result.path)


def _tidy(out: Path) -> None:
    """Delete what a finished model folder does not keep."""
    for name in _UNFINISHED_ONLY:
        files.remove_file(out / name)
