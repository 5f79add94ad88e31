"""train_vae: train a VAE on a dataset and write it as a model folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rl_vae.constraints import check_arguments
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError
from rl_vae.models.config import VAEConfig
from rl_vae.models.device import check_device
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.system.outputs import output_path
from rl_vae.trackers.registry import TrackerName, check_trackers
from rl_vae.training.alarms import read_alarms
from rl_vae.training.callback import VAECallback
from rl_vae.training.config import TrainConfig
from rl_vae.training.distributed import init_process_group
from rl_vae.training.loop import VAETraining
from rl_vae.training.result import Trained, describe_run, read_finished

RATE_FROM_MODEL = 3e-4
"""Default learning rate of a training that starts from a model: codes change less."""


@check_arguments
def train_vae(
    dataset: FrameDataset,
    out: str | Path,
    vae_config: VAEConfig | None = None,
    train_config: TrainConfig | None = None,
    *,
    start: str | Path | None = None,
    progress: bool = True,
    callback: VAECallback | None = None,
    track: tuple[TrackerName, ...] = ("tensorboard",),
) -> Trained:
    """Train a VAE on a dataset and write it as a model folder, or resume an interrupted training.

    After every epoch the held-out frames are measured and a checkpoint is written. The model gets
    the weights of the epoch with the lowest held-out loss, or of the last epoch if the objective
    has a discriminator. An update whose loss or gradient is not finite is skipped and counted.
    Alarms are printed, and kept in metrics.jsonl and in the result.

    Processes that torchrun started train one model together (`rl_vae.training.distributed`): the
    main process writes, all return the same result.

    Args:
        dataset: Frames from `collect_frames`; `ConcatDataset` joins several datasets.
        out: The model folder. A finished model of the same dataset and settings is returned
            unchanged. An interrupted training (FOLDER.partial) is resumed and gives the same model
            as an uninterrupted one.
        vae_config: The model. None: the model of `start`, or `VAEConfig()`.
        train_config: Settings of the training. None: `TrainConfig()`.
        start: Model folder whose weights the training starts from, instead of random weights. Its
            codes change little for frames that it knows, so that an agent can continue with the
            new codes. Its VAEConfig is used, and beta has no warm-up.
        progress: Whether to show a progress bar on a terminal.
        callback: Is called after each epoch, for each alarm, and at the end.
        track: Trackers that get curves, settings and pictures: "tensorboard" (in the folder),
            "wandb" (offline, in wandb/ beside it) and "mlflow" (files, in mlruns/ beside it). The
            environment variables of wandb and mlflow are followed.

    Returns:
        The model folder and its measures.

    Raises:
        DatasetError: if the dataset is incomplete or damaged.
        FolderError: if the folder holds something else, or is in use.
        MissingPackageError: if the package of a tracker is not installed.
        ConfigError: if `start` has another kind of frames or settings, the device does not exist,
            or the processes have different settings.
        TrainingError: if the loss is not finite, the device has too little memory, or the folder
            cannot be written.
    """
    out, config = output_path(out), train_config or TrainConfig()
    callback = callback or VAECallback()

    # Check the settings and the data
    parent = None if start is None else read_model(start)
    if parent is not None:
        vae_config = _matching_config(parent, dataset, vae_config)
        objective: Any = config.objective
        if hasattr(objective, "warm_up"):  # the model uses its code already
            config = replace(config, objective=replace(objective, warm_up=0.0))
        if config.learning_rate is None:
            config = replace(config, learning_rate=RATE_FROM_MODEL)
    vae_config = vae_config or VAEConfig()
    config.objective.check_latent_dim(vae_config.latent_dim)
    check_device(config.device)
    check_trackers(track)
    dataset.require_complete()
    dataset.verify()

    # Join the other processes, if there are any
    group = init_process_group(config.device)
    config = replace(config, batch_size=group.size * config.batch_size)
    run = describe_run(dataset, vae_config, config, parent)
    group.check_agreement({**run, "folder": out.name})
    if out.exists():
        return read_finished(out, run)

    # Train
    with VAETraining(
        out, dataset, vae_config, config, parent=parent, group=group, progress=progress, track=track
    ) as training:
        while not training.done:
            training.advance(training.updates_left_in_epoch)
            record = training.end_epoch()
            if group.is_main_process:
                callback.on_epoch(record)
                for alarm in read_alarms(record["alarms"]):
                    callback.on_alarm(alarm)
        trained = training.finish()
    if group.is_main_process:
        callback.on_end(trained)
    return trained


def _matching_config(
    parent: ModelFolder, dataset: FrameDataset, vae_config: VAEConfig | None
) -> VAEConfig:
    """The VAEConfig of a parent model; a user's network is that of `vae_config`.

    Raises:
        ConfigError: if the dataset has other frames, or `vae_config` is another one.
    """
    chosen = vae_config or parent.vae_config
    expected = (parent.spec, parent.observation_shape, parent.vae_config.to_dict())
    got = (dataset.spec, tuple(dataset.header.raw_shape), chosen.to_dict())
    if got != expected:
        raise ConfigError(
            f"{parent.path} cannot be trained further with these frames or settings.",
            expected=f"{expected[0]} of observations {expected[1]}, {expected[2]}",
            got=f"{got[0]} of observations {got[1]}, {got[2]}",
            remedy="collect frames as for this model, leave vae_config out, or train a new model",
        )
    return chosen
