"""train_sweep: train several VAEs on the same frames, one per CPU core or all on one GPU.

On CPUs each run is a `train_vae` in its own process. The processes read the same memory maps, so
the frames are in memory once. With as many runs as cores each process has one thread and waits for
no other. Processor time of one update of one model (64 frames of 64 x 64 x 3, float32, network
"patch") in milliseconds, from benchmarks/bench_sweep.py: the minimum of five alternating rounds, on
an AMD EPYC with two cores, torch 2.13.0:

    one process per model, one thread each          53
    one model after another, two threads            64
    weights of four models stacked, one vmap        75

On a GPU all runs train in this process: one CUDA graph holds an update of each model, with one
stream per model, and the frames are on the GPU once (`rl_vae.training.cuda_graphs`). On several
GPUs each has a process that does the same with its share of the runs.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated

import torch

from rl_vae.constraints import Range, check_arguments
from rl_vae.data.concat import open_paths, paths_of
from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, RlVaeError, TrainingError
from rl_vae.executors.job import Here, Job
from rl_vae.executors.jobs import JobMessage, run_jobs
from rl_vae.executors.local import LocalExecutor
from rl_vae.executors.log import note_failure, note_start
from rl_vae.models.config import VAEConfig
from rl_vae.models.device import check_device
from rl_vae.system import strict_json
from rl_vae.system.outputs import output_path, partial_folder
from rl_vae.system.progress import progress_bar, write_line
from rl_vae.training.config import TrainConfig
from rl_vae.training.device_sweep import train_on_device, train_on_devices
from rl_vae.training.distributed import started_by_torchrun
from rl_vae.training.result import Trained
from rl_vae.training.train import train_vae


@check_arguments
def train_sweep(
    dataset: FrameDataset,
    out: str | Path,
    runs: Mapping[str, TrainConfig],
    vae_config: VAEConfig | None = None,
    *,
    workers: Annotated[int, Range(low=1)] | None = None,
    devices: Sequence[str] = (),
    executor: Executor | None = None,
    progress: bool = True,
) -> dict[str, Trained]:
    """Train several VAEs on a dataset, or resume an interrupted sweep.

    On CPUs each model equals, to the bit, the model of `train_vae` with the same settings and the
    same number of torch threads: the number of cores divided by the number of processes, at least
    one. With another number of threads sums have another order; so a resumed sweep gives the same
    bits if `workers` and the number of cores are the same. A run that fails does not stop the
    others: its error is printed at once and raised at the end.

    Args:
        dataset: Frames from `collect_frames`; `ConcatDataset` joins several datasets.
        out: Folder of the models. Run NAME becomes the model folder OUT/NAME. Finished models of
            the same settings are kept, interrupted ones (OUT/NAME.partial) are resumed. More runs
            can be added later.
        runs: Settings of each run, by its name.
        vae_config: The model, the same for all runs. None: `VAEConfig()`.
        workers: Number of processes at once, on CPUs. None: the number of cores. If a dataset is
            streamed, each process holds up to `TrainConfig.memory` of frames.
        devices: Several devices that share the runs, such as ("cuda:0", "cuda:1") for runs with
            device="cuda". Each trains its share side by side.
        executor: Where the runs train: `RayExecutor`, or another executor of `concurrent.futures`.
            None: in processes on this machine, or together on its GPU.
        progress: Whether to show a progress bar on a terminal.

    Returns:
        The result of each run, in the order of `runs`.

    Raises:
        ConfigError: if there are no runs, a name or a setting is out of its range, or a device
            does not exist.
        DatasetError: if the dataset is incomplete or damaged.
        FolderError: if OUT/NAME holds something else.
        TrainingError: if runs failed, with their names, after the others are finished.
    """
    # Check the settings and the data, and read finished models
    out, vae_config = output_path(out), vae_config or VAEConfig()
    _check(runs, vae_config, trained_here=executor is None)
    if devices:
        _check_devices(devices, runs, executor)
    dataset.require_complete()
    dataset.verify()
    results: dict[str, Trained] = {}
    for name, config in runs.items():
        if (out / name).exists():
            results[name] = train_vae(dataset, out / name, vae_config, config, progress=False)

    # Train the others
    missing = {name: config for name, config in runs.items() if name not in results}
    note_start(out, runs)
    with contextlib.ExitStack() as open_executors:
        if devices:
            messages = train_on_devices(dataset, out, vae_config, missing, devices)
        elif executor is None and not on_cpu(runs):
            messages = train_on_device(dataset, out, vae_config, missing)
        else:
            if executor is None:
                at_once = min(workers or os.cpu_count() or 1, len(runs))
                local = LocalExecutor.sharing_cores(at_once)
                executor = open_executors.enter_context(local)
            messages = _train_apart(executor, dataset, out, vae_config, missing, workers)
        failures = _follow(messages, runs, results, dataset, out, progress=progress)
    if failures:
        name, first = next(iter(failures.items()))
        raise TrainingError(
            f"{len(failures)} of {len(runs)} runs failed: {', '.join(failures)}. {name}: {first}",
            remedy="correct the settings of these runs or remove them, and run the sweep again: "
            "finished models are kept, interrupted ones resume",
        ) from first
    return {name: results[name] for name in runs}


def on_cpu(runs: Mapping[str, TrainConfig]) -> bool:
    """Whether the runs train on CPUs."""
    return torch.device(next(iter(runs.values())).device).type == "cpu"


def _check(runs: Mapping[str, TrainConfig], vae_config: VAEConfig, *, trained_here: bool) -> None:
    """Raise ConfigError if a sweep cannot start."""
    if started_by_torchrun():
        raise ConfigError(
            "A sweep was started by torchrun.",
            expected="one process, because a sweep starts its own processes",
            got="a process of torchrun",
            remedy="start the sweep without torchrun, or train one model at a time with torchrun",
        )
    if not runs:
        raise ConfigError(
            "The sweep has no runs.",
            expected="one run or more",
            got="no run",
            remedy='give runs such as {"beta4": TrainConfig(objective=Beta(4.0))}',
        )
    # Each name becomes a folder
    for name in runs:
        if not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(".partial"):
            raise ConfigError(
                "The name of a run cannot be the name of a folder.",
                expected="a letter or digit, then letters, digits, and . _ + -",
                got=repr(name),
                remedy="choose a name such as beta4-seed0",
            )
    # Each run must fit the model and the device
    for config in runs.values():
        config.objective.check_latent_dim(vae_config.latent_dim)
        if trained_here:
            check_device(config.device)
    devices = sorted({config.device for config in runs.values()})
    if len(devices) > 1:
        raise ConfigError(
            "The runs of this sweep train on different devices.",
            expected="one device for all runs",
            got=", ".join(devices),
            remedy='give all runs the device "cuda", and several GPUs to train_sweep by devices=',
        )


def _check_devices(
    devices: Sequence[str], runs: Mapping[str, TrainConfig], executor: Executor | None
) -> None:
    """Raise ConfigError if runs cannot be shared by these devices."""
    kind = torch.device(next(iter(runs.values())).device)
    for device in devices:
        check_device(device)
    kinds = [torch.device(device).type for device in devices]
    if set(kinds) != {kind.type} or kind.index is not None or len({*devices}) < len(devices):
        raise ConfigError(
            f"Runs of the device {kind} cannot be shared by these devices.",
            expected='different devices such as "cuda:0" and "cuda:1", and runs with device="cuda"',
            got=", ".join(devices),
            remedy="name each device once, and give the runs its kind",
        )
    if executor is not None:
        raise ConfigError(
            "Devices and an executor are given.",
            expected="one of the two, because an executor chooses the device of each run",
            got=f"devices={tuple(devices)} and {type(executor).__name__}",
            remedy="leave one of the two out",
        )


def _follow(
    messages: Generator[JobMessage | None, None, None],
    runs: Mapping[str, TrainConfig],
    results: dict[str, Trained],
    dataset: FrameDataset,
    out: Path,
    *,
    progress: bool,
) -> dict[str, RlVaeError]:
    """Show the progress of runs, add their results to `results`, and return their failures."""
    # Number of updates of each run, for the progress bar
    updates = {
        name: config.total_steps(len(dataset.split(config.held_out, config.seed).train))
        for name, config in runs.items()
    }
    failures: dict[str, RlVaeError] = {}
    with (
        contextlib.closing(messages),
        progress_bar(
            total=sum(updates.values()),
            initial=sum(updates[name] for name in results),
            unit=" updates",
            desc=f"training {len(runs)} VAEs",
            progress=progress,
        ) as bar,
    ):
        # A message is None while nothing happens: then the bar is updated
        for message in messages:
            if message is None:
                ended = [*results, *failures]
                done = sum(updates[name] for name in ended)
                done += sum(_saved_updates(out, name) for name in runs if name not in ended)
                bar.update(done - bar.n)
                bar.set_postfix(finished=len(results))
                continue
            if message.kind == "result":
                results[message.job] = message.value
            else:
                write_line(f"{message.job}: {message.value}")
                failures[message.job] = message.value
                note_failure(out, message.job, message.value)
    return failures


def _saved_updates(out: Path, name: str) -> int:
    """Number of updates in the last checkpoint of an unfinished run."""
    records = strict_json.read_lines(partial_folder(out / name) / "metrics.jsonl")
    return int(records[-1]["step"]) if records else 0


def _train_apart(
    executor: Executor,
    dataset: FrameDataset,
    out: Path,
    vae_config: VAEConfig,
    runs: Mapping[str, TrainConfig],
    workers: int | None,
) -> Generator[JobMessage | None, None, None]:
    """Train each run as a job of its own."""
    paths = paths_of(dataset)
    jobs = [
        Job(
            name,
            _train_run,
            (config, paths, out / name, vae_config),
            gpus=0.0 if torch.device(config.device).type == "cpu" else 1.0,
            reads=paths,
            writes=(out / name, partial_folder(out / name)),
        )
        for name, config in runs.items()
    ]
    with contextlib.closing(run_jobs(executor, jobs, workers)) as messages:
        for message in messages:
            if message is not None and message.kind == "result":  # with the path of its machine
                message = message._replace(value=message.value._replace(path=out / message.job))
            yield message


def _train_run(
    here: Here, config: TrainConfig, paths: tuple[Path, ...], out: Path, vae_config: VAEConfig
) -> Trained:
    """Train one run; where its frames and its model are on the machine that trains it."""
    dataset = open_paths([here(path) for path in paths])
    return train_vae(dataset, here(out), vae_config, config, progress=False)
