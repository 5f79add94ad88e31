"""Runs of a sweep that train side by side on one GPU, or in shares on several."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from rl_vae.data.concat import open_paths, paths_of
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import RlVaeError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.jobs import JobMessage, run_jobs
from rl_vae.executors.local import LocalExecutor
from rl_vae.models.config import VAEConfig
from rl_vae.system.progress import write_line
from rl_vae.training.batches import shards_in_memory
from rl_vae.training.config import TrainConfig
from rl_vae.training.cuda_graphs import GraphRunner, copy_to_device, enough_memory
from rl_vae.training.loop import VAETraining

_VISIBLE = "CUDA_VISIBLE_DEVICES"


def train_on_devices(
    dataset: FrameDataset,
    out: Path,
    vae_config: VAEConfig,
    runs: Mapping[str, TrainConfig],
    devices: Sequence[str],
) -> Generator[JobMessage | None, None, None]:
    """Train a share of the runs on each device, in a process for each.

    Args:
        dataset: The frames.
        out: Folder of the models.
        vae_config: The model, the same for all runs.
        runs: Settings of each run, by its name.
        devices: Different devices. The first takes the first run, the second the second, and so on.

    Yields:
        The results and errors of a share that is over; None at least once a second.
    """
    names = list(runs)
    shares = {device: names[i :: len(devices)] for i, device in enumerate(devices)}
    paths = paths_of(dataset)
    jobs = [
        Job(device, _train_share, (device, paths, out, vae_config, {n: runs[n] for n in share}))
        for device, share in shares.items()
        if share
    ]
    with (
        LocalExecutor.sharing_cores(len(devices)) as executor,
        contextlib.closing(run_jobs(executor, jobs)) as messages,
    ):
        for message in messages:
            yield from [None] if message is None else _messages_of(message, shares)


def _messages_of(message: JobMessage, shares: Mapping[str, list[str]]) -> list[JobMessage]:
    """The messages of the runs of a share; if its process failed, its error is that of each run."""
    if message.kind == "failed":
        return [message._replace(job=name) for name in shares[message.job]]
    messages: list[JobMessage] = message.value
    return messages


def _train_share(
    here: Here,
    device: str,
    paths: tuple[Path, ...],
    out: Path,
    vae_config: VAEConfig,
    runs: Mapping[str, TrainConfig],
) -> list[JobMessage]:
    """Train the runs of one device. This process sees no other GPU, so that it is "cuda" here."""
    if torch.device(device).type == "cuda":
        os.environ[_VISIBLE] = visible_gpu(device, os.environ.get(_VISIBLE))
    messages = train_on_device(open_paths(list(paths)), out, vae_config, runs)
    with contextlib.closing(messages):
        return [message for message in messages if message is not None]


def visible_gpu(device: str, visible: str | None) -> str:
    """The value of CUDA_VISIBLE_DEVICES for a process that is to see one GPU alone.

    Args:
        device: The GPU, such as "cuda:1".
        visible: The present value, which numbers the GPUs; None or empty: all are visible.
    """
    index = torch.device(device).index or 0
    return visible.split(",")[index] if visible else str(index)


def train_on_device(
    dataset: FrameDataset, out: Path, vae_config: VAEConfig, runs: Mapping[str, TrainConfig]
) -> Generator[JobMessage | None, None, None]:
    """Train all runs side by side in this process; the frames are on the device once.

    Args:
        dataset: The frames.
        out: Folder of the models.
        vae_config: The model, the same for all runs.
        runs: Settings of each run, by its name.

    Yields:
        The result or the error of a run that is over; None after each round of updates.

    Raises:
        TrainingError: if the device has too little memory.
    """
    frames = None
    if runs and all(shards_in_memory(dataset, config) is None for config in runs.values()):
        dataset = dataset.in_memory()  # once for all trainings
        with enough_memory():
            frames = copy_to_device(dataset, torch.device(next(iter(runs.values())).device))
    active: dict[str, VAETraining] = {}
    runner = GraphRunner()
    try:
        # Open the trainings
        for name, config in runs.items():
            with _events(active, name) as events:
                training = VAETraining(out / name, dataset, vae_config, config, frames=frames)
                active[name] = training.open()
                if training.done:  # interrupted after its last epoch
                    events.append(JobMessage(name, "result", training.finish()))
            yield from events
        while active:
            yield from _advance_all(active, runner)
    finally:
        for training in active.values():
            training.close()


def _advance_all(
    active: dict[str, VAETraining], runner: GraphRunner
) -> Generator[JobMessage | None, None, None]:
    """Make as many updates of each training as all have prepared; end epochs and trainings."""
    for name, training in list(active.items()):
        if training.graphed is not None:
            with _events(active, name) as events:
                training.prepare_updates()
            yield from events
    graphed = [training.graphed for training in active.values() if training.graphed is not None]
    n = min((step.left for step in graphed), default=0)
    if n:
        runner.run(graphed, n)
    for name, training in list(active.items()):
        with _events(active, name) as events:
            _end_updates(training, n)
            if training.done:
                events.append(JobMessage(name, "result", training.finish()))
        yield from events
    yield None


def _end_updates(training: VAETraining, n_updates: int) -> None:
    """Take the results of updates, and end the epoch if they are its last ones.

    A training without CUDA graphs makes the updates of a whole epoch here.
    """
    ends = training.graphed is None or n_updates == training.updates_left_in_epoch
    if training.graphed is None:
        training.advance(training.updates_left_in_epoch)
    else:
        training.take_updates(n_updates)
    if ends:
        training.end_epoch()


@contextlib.contextmanager
def _events(active: dict[str, VAETraining], name: str) -> Iterator[list[JobMessage]]:
    """Collect the events of a run; an error is its last event. A run that is over is closed.

    Lines that are printed inside this context begin with the name of the run.
    """
    events: list[JobMessage] = []
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            yield events
    except RlVaeError as error:
        events.append(JobMessage(name, "failed", error))
    finally:
        for line in output.getvalue().splitlines():
            write_line(f"{name}: {line}")
    if events and name in active:
        active.pop(name).close()
