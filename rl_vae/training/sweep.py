"""train_sweep: several VAEs from the same frames, one a core at once, or all on a GPU.

On CPUs each run is a `train_vae` in a process of its own. The processes read the same memory maps,
so that the frames are in memory once, and with as many runs as cores each has one thread, which
waits for no other. Its evidence, by benchmarks/bench_sweep.py: processor time of one model's update,
64 frames of 64 x 64 x 3, float32, patch network, in milliseconds, least of five rounds in turn, on
an AMD EPYC with two cores, torch 2.13.0. What takes more of it cannot end sooner:

    a process each, one thread                          53
    one after the other, two threads                    64
    four models' weights stacked, under one vmap        75

On a GPU all runs train in this process: an update of each is one CUDA graph, a stream for each
model, and the frames lie there once (rl_vae.training.cuda_graphs).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import ConfigError, RlVaeError, TrainingError
from rl_vae.models.device import check_device
from rl_vae.models.vae import VAEConfig
from rl_vae.system import files
from rl_vae.system.jobs import JobMessage, run_jobs
from rl_vae.system.worker_process import ParentLink
from rl_vae.training.cuda_graphs import enough_memory, to_device
from rl_vae.training.distributed import ALONE, started_by_torchrun
from rl_vae.training.train import (
    TrainConfig,
    Trained,
    Training,
    run_trainings,
    shards_held,
    train_in,
    train_vae,
)


def train_sweep(
    dataset: FrameDataset,
    out: str | Path,
    runs: Mapping[str, TrainConfig],
    vae_config: VAEConfig | None = None,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Trained]:
    """Train several VAEs on a dataset, or go on with an interrupted sweep.

    On CPUs each model equals, to the bit, what `train_vae` makes of the same settings with as many
    torch threads as a run has here: the number of cores divided by the processes, at least one.
    (With another number of threads sums are taken in another order: so a sweep goes on to the same
    bits where `workers` and the number of cores stay the same.) A run that fails does not stop the
    others: its failure is printed at once and raised in the end.

    Args:
        dataset: What `collect_frames` made, or several as `ConcatDataset`.
        out: The folder of the models. Run NAME becomes the model OUT/NAME. Finished models of the
            same settings are kept, interrupted ones (OUT/NAME.partial) go on; more runs may be
            added later.
        runs: How each model is trained, by its name.
        vae_config: What is trained, the same for all.
        workers: Processes at once, on CPUs. None: the number of cores. Where a dataset is streamed,
            each holds up to `TrainConfig.memory` of frames.
        progress: Whether to show a progress bar, where there is a terminal.

    Returns:
        What `train_vae` made of each run, in the order of `runs`.

    Raises:
        ConfigError: where there are no runs, or a name or a setting is out of range.
        DatasetError: where the dataset is incomplete or damaged.
        ArtifactError: where OUT/NAME holds something else.
        TrainingError: where runs failed, with their names, after the others are finished.
    """
    out, vae_config = Path(out), vae_config or VAEConfig()
    _check(runs, vae_config, workers)
    dataset.require_complete()
    dataset.verify()
    cores = os.cpu_count() or 1
    at_once = min(workers or cores, len(runs))
    made: dict[str, Trained] = {}
    for name, config in runs.items():
        if (out / name).exists():  # read, or refused, before anything is trained
            made[name] = train_vae(dataset, out / name, vae_config, config, progress=False)
    arguments = (dataset, out, vae_config, max(1, cores // at_once))
    if _on_cpu(runs):
        telling = _in_processes(runs, made, arguments, at_once)
    else:
        telling = _on_one_device(runs, made, dataset, out, vae_config)
    failures = _follow(telling, runs, made, dataset, out, progress)
    if failures:
        name, first = next(iter(failures.items()))
        raise TrainingError(
            f"{len(failures)} of {len(runs)} runs failed: {', '.join(failures)}. {name}: {first}",
            remedy="cure that or leave it out; finished models are kept, others go on",
        ) from first
    return {name: made[name] for name in runs}


def _check(runs: Mapping[str, TrainConfig], vae_config: VAEConfig, workers: int | None) -> None:
    if started_by_torchrun():
        raise ConfigError(
            "A sweep was started by torchrun.",
            expected="one process: a sweep starts its own",
            got="several",
            remedy="leave torchrun out, or train one model at a time with it",
        )
    if not runs:
        raise ConfigError(
            "There are no runs.",
            expected="one or more",
            got="none",
            remedy='give such as {"beta4": TrainConfig(objective=Beta(4.0))}',
        )
    for name in runs:
        if not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(".partial"):
            raise ConfigError(
                "A run's name cannot be a folder's.",
                expected="letters, digits, and . _ + - within",
                got=repr(name),
                remedy="choose one such as beta4-seed0",
            )
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ConfigError(
            "workers is out of range.",
            expected="a whole number from 1 up",
            got=repr(workers),
            remedy="leave workers out for the number of cores",
        )
    for config in runs.values():
        config.objective.check_latent_dim(vae_config.latent_dim)
        check_device(config.device)
    if len({config.device for config in runs.values()}) > 1:
        raise ConfigError(
            "Runs of one sweep are to train on different devices.",
            expected="one device for all",
            got=", ".join(sorted({config.device for config in runs.values()})),
            remedy="sweep them one device after the other",
        )


def _on_cpu(runs: Mapping[str, TrainConfig]) -> bool:
    return torch.device(next(iter(runs.values())).device).type == "cpu"


def _follow(
    telling: Generator[JobMessage | None, None, None],
    runs: Mapping[str, TrainConfig],
    made: dict[str, Trained],
    dataset: FrameDataset,
    out: Path,
    progress: bool,
) -> dict[str, RlVaeError]:
    """Show what is told of runs in work; fills `made`, returns why the others are not."""
    updates = {
        name: config.total_steps(len(dataset.split(config.held_out, config.seed).train))
        for name, config in runs.items()
    }
    failures: dict[str, RlVaeError] = {}
    with (
        contextlib.closing(telling),
        tqdm(
            total=sum(updates.values()),
            initial=sum(updates[name] for name in made),
            unit=" updates",
            desc=f"training {len(runs)} VAEs",
            disable=None if progress else True,
        ) as bar,
    ):
        for told in telling:
            if told is None:
                done = sum(updates[name] for name in [*made, *failures])
                going = [name for name in runs if name not in made and name not in failures]
                bar.update(done + sum(_saved(out, name) for name in going) - bar.n)
                bar.set_postfix(finished=len(made))
            elif told.kind == "result":
                made[told.job] = told.value
            else:
                tqdm.write(f"{told.job}: {told.value}")
                if told.kind == "failed":
                    failures[told.job] = told.value
    return failures


def _in_processes(
    runs: Mapping[str, TrainConfig],
    made: Mapping[str, Trained],
    arguments: tuple[FrameDataset, Path, VAEConfig, int],
    at_once: int,
) -> Generator[JobMessage | None, None, None]:
    """Train what is not made yet, a process each."""
    jobs = {name: (name, config, *arguments) for name, config in runs.items() if name not in made}
    return run_jobs(_serve, jobs, at_once)


def _on_one_device(
    runs: Mapping[str, TrainConfig],
    made: Mapping[str, Trained],
    dataset: FrameDataset,
    out: Path,
    vae_config: VAEConfig,
) -> Generator[JobMessage | None, None, None]:
    """Train what is not made yet, side by side in this process; the frames are there once."""
    missing = {name: config for name, config in runs.items() if name not in made}
    frames = None
    if missing and all(shards_held(dataset, config) is None for config in missing.values()):
        with enough_memory():
            frames = to_device(dataset, torch.device(next(iter(missing.values())).device))
    trainings = {
        name: _named(
            name, train_in(out / name, dataset, vae_config, config, None, False, ALONE, frames)
        )
        for name, config in missing.items()
    }
    for ended in run_trainings(trainings):
        if ended is None:
            yield None
        else:
            kind = "failed" if isinstance(ended.result, RlVaeError) else "result"
            yield JobMessage(ended.name, kind, ended.result)


def _named(name: str, training: Training) -> Training:
    """The same training; what it prints, its alarms, begins with its name."""
    answer: Any = None
    with contextlib.closing(training):
        while True:
            said = io.StringIO()
            try:
                with contextlib.redirect_stdout(said):
                    asked = training.send(answer)
            except StopIteration as end:
                made: Trained = end.value
                return made
            finally:
                for line in said.getvalue().splitlines():
                    tqdm.write(f"{name}: {line}")
            answer = yield asked


def _saved(out: Path, name: str) -> int:
    """Updates after which a run in work can go on."""
    records = files.read_lines(out / f"{name}.partial" / "metrics.jsonl")
    return int(records[-1]["step"]) if records else 0


def _serve(
    parent: ParentLink,
    name: str,
    config: TrainConfig,
    dataset: FrameDataset,
    out: Path,
    vae_config: VAEConfig,
    threads: int,
) -> None:
    """A run's own process."""
    torch.set_num_threads(threads)
    with contextlib.redirect_stdout(_Said(parent)):
        trained = train_vae(dataset, out / name, vae_config, config, progress=False)
    parent.send(("result", trained))


class _Said(io.StringIO):
    """Hands what a run prints, its alarms, to the parent, which says whose they are."""

    def __init__(self, parent: ParentLink) -> None:
        super().__init__()
        self._parent = parent

    def write(self, text: str) -> int:
        if text.strip():
            self._parent.send(("progress", text.strip()))
        return len(text)
