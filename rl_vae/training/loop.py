"""VAETraining: the training of one VAE, from random weights or a checkpoint to a model folder.

During the training FOLDER.partial holds everything: checkpoints, the weights that the model gets,
metrics.jsonl, TensorBoard's files and pictures. At the end the model is written beside them and the
folder gets its final name: a model folder that exists is complete.

Shape letters: N frames, H W C frame.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from rl_vae.data.dataset import FrameDataset
from rl_vae.errors import FolderError
from rl_vae.models.config import VAEConfig
from rl_vae.models.folder import ModelFolder
from rl_vae.system import described_folder, files, locks, strict_json
from rl_vae.system.outputs import partial_folder
from rl_vae.system.progress import progress_bar
from rl_vae.trackers.base import TrackedRun
from rl_vae.training.alarms import AlarmPrinter, check_beta, check_epoch, last_alarms, read_alarms
from rl_vae.training.batches import BatchReader, shards_in_memory
from rl_vae.training.checkpoint import load_checkpoint, save_checkpoint
from rl_vae.training.config import TrainConfig
from rl_vae.training.cuda_graphs import (
    GraphedStep,
    GraphRunner,
    copy_to_device,
    replays_updates,
)
from rl_vae.training.distributed import SINGLE_PROCESS, ProcessGroup
from rl_vae.training.evaluate import HeldOut, evaluate_vae
from rl_vae.training.head_alarms import check_head_targets, check_heads
from rl_vae.training.head_targets import make_head_targets
from rl_vae.training.log import TrainingLog, make_record
from rl_vae.training.model_pictures import make_pictures
from rl_vae.training.moving_errors import measure_still_picture
from rl_vae.training.result import Trained, describe_run, save_weights, write_model
from rl_vae.training.state import initial_state
from rl_vae.training.step import TrainStep, Update, check_skipped, not_finite
from rl_vae.training.user_errors import user_errors


class VAETraining:
    """The training of one VAE. It continues an interrupted training of the same settings.

        with VAETraining(out, dataset, vae_config, config) as training:
            while not training.done:
                training.advance(training.updates_left_in_epoch)
                training.end_epoch()
            result = training.finish()

    Args:
        out: The model folder.
        dataset: The frames.
        vae_config: The model.
        config: Settings of the training. batch_size counts the frames of all processes.
        parent: Model whose weights the training starts from. None: random weights.
        group: The processes that train together.
        frames: (N, H, W, C) uint8 frames of the whole dataset, if they are on the GPU already.
        progress: Whether to show a progress bar on a terminal.
        track: Names of the trackers.

    Raises:
        DatasetError: if the dataset has fewer than two episodes.
        FolderError: if the folder holds an interrupted training of other settings, or is in use.
        TrainingError: if a file cannot be written, the device has too little memory, or the loss
            is not finite. `advance`, `end_epoch` and `finish` raise it, too.
    """

    def __init__(
        self,
        out: Path,
        dataset: FrameDataset,
        vae_config: VAEConfig,
        config: TrainConfig,
        *,
        parent: ModelFolder | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
        frames: torch.Tensor | None = None,
        progress: bool = False,
        track: Sequence[str] = ("tensorboard",),
    ) -> None:
        fits = shards_in_memory(dataset, config) is None
        dataset = dataset.in_memory() if fits else dataset.unmapped()
        self.out, self.partial = out, partial_folder(out)
        self.dataset, self.vae_config, self.config = dataset, vae_config, config
        self.parent, self.group = parent, group
        self.run = describe_run(dataset, vae_config, config, parent)
        self.split = dataset.split(config.held_out, config.seed)
        self._targets = make_head_targets(dataset, self.split.train, config.heads)
        self.batch_size = min(config.batch_size, len(self.split.train))
        self.total_steps = config.total_steps(len(self.split.train))
        self._updates: list[Update] = []  # of this epoch
        self._alarms = AlarmPrinter(prints=group.is_main_process)
        self._device_frames, self._progress, self._track = frames, progress, track
        self._resources, self._readers = ExitStack(), ExitStack()

    def __enter__(self) -> VAETraining:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    def open(self) -> VAETraining:
        """Lock the folder, load the last checkpoint if there is one, and open the frames."""
        with ExitStack() as stack, user_errors(self.partial):
            self._open_folder(stack)
            self._load_state()
            self._readers = stack.enter_context(ExitStack())
            self._open_readers()
            self._resources = stack.pop_all()
        return self

    def close(self) -> None:
        """Close files, thread and progress bar, and release the folder."""
        self._resources.close()

    @property
    def done(self) -> bool:
        """Whether all updates are finished."""
        return self.state.step >= self.total_steps

    @property
    def updates_left_in_epoch(self) -> int:
        """Number of updates until `end_epoch`."""
        per_epoch = self.config.updates_per_epoch(len(self.split.train))
        left = per_epoch - self.state.step % per_epoch
        return min(left, self.total_steps - self.state.step)

    def advance(self, n_updates: int) -> None:
        """Make updates.

        Args:
            n_updates: Number of updates, at most `updates_left_in_epoch`.
        """
        with user_errors(self.partial):
            while n_updates and self.graphed is not None:
                self.prepare_updates()
                n = min(n_updates, self.graphed.left)
                self._runner.run([self.graphed], n)
                self.take_updates(n)
                n_updates -= n
            for _ in range(n_updates):
                rows, device = self._reader.next_indices(), self.state.vae.device
                frames = torch.from_numpy(self._reader.read(rows)).to(device)
                self._count([self.step.update(frames, torch.from_numpy(rows).to(device))])

    def prepare_updates(self) -> None:
        """Copy the next batches of this epoch to the GPU, if none are left there."""
        assert self.graphed is not None
        if not self.graphed.left:
            with user_errors(self.partial):
                self.graphed.load(self._reader, self.updates_left_in_epoch)

    def take_updates(self, n_updates: int) -> None:
        """Wait for updates of the GPU and count them."""
        assert self.graphed is not None
        self._count(self.graphed.take(n_updates))

    def end_epoch(self) -> dict[str, Any]:
        """Measure the held-out frames, print alarms, write a checkpoint; returns the record."""
        with user_errors(self.partial):
            # Measure
            held_out = evaluate_vae(
                self.state.vae,
                self.dataset,
                self.split.held_out,
                self.config.objective,
                self.config.batch_size,
                self.state.discriminator,
                self.step.median_frame,
                self.config.moving_weight,
                self._device_frames,
                self.step.heads,
            )
            finite = [update for update in self._updates if update.finite]
            if not (math.isfinite(held_out.loss) and finite):
                raise not_finite(self.state.step, held_out.loss)
            self.state.seconds = time.perf_counter() - self._start
            # Raise alarms
            alarms = check_epoch(
                self.state.vae,
                self.config,
                held_out,
                step=self.state.step,
                total_steps=self.total_steps,
                skipped=len(self._updates) - len(finite),
                peak=self._peak,
            )
            terms, step = held_out.terms, self.state.step
            alarms += check_heads(self._targets, terms, self.config, step, self.total_steps)
            self._alarms.print(alarms)
            # Write
            record = make_record(self.step, finite, held_out, alarms)
            self._save(record, held_out)
            self._updates.clear()
        return record

    def finish(self) -> Trained:
        """Write the model folder.

        Returns:
            The result, in all processes.
        """
        with user_errors(self.partial):
            self._log.close(finished=True)
            self._readers.close()
            records = self._log.records
            best = records[-1]
            if self.state.discriminator is None:
                best = min(records, key=lambda record: float(record["loss"]))
            held_out = HeldOut.of(best)
            alarms = last_alarms([read_alarms(record["alarms"]) for record in records])
            result = Trained(self.out, held_out, self.total_steps, self.state.seconds, alarms)
            if self.group.is_main_process:
                write_model(self.partial, result, self.dataset, self.split, self.step, self.run)
            self.group.wait()
        return result

    def _open_folder(self, stack: ExitStack) -> None:
        """Lock the folder of the unfinished training."""
        described_folder.check_run(self.partial, self.run, FolderError)
        if self.group.is_main_process:
            files.make_folder(self.partial)
            stack.enter_context(locks.locked(self.partial, FolderError))
            strict_json.write_json(self.partial / "run.json", self.run)

    def _load_state(self) -> None:
        """Make the first state, or load the last checkpoint."""
        train, config = self.split.train, self.config
        self.state = initial_state(
            self.vae_config, config, self.dataset, train, self.parent, self.group, self._targets
        )
        load_checkpoint(self.partial, self.state, self.total_steps)
        self.group.share_gradients(self.state.trained)
        median, self._peak = measure_still_picture(self.dataset, train)
        median = median.to(self.state.vae.device)
        if self._targets is not None:
            self._targets = self._targets.to(self.state.vae.device)
        self.step = TrainStep(self.state, config, len(train), median, self.group, self._targets)

    def _open_readers(self) -> None:
        """Open the log, the batches and the progress bar."""
        state, config, main = self.state, self.config, self.group.is_main_process
        tracked = TrackedRun(self.out.name, self.out.parent, self.partial, self.run, state.step)
        self._log = TrainingLog(tracked, self._track, writes=main)
        self._readers.callback(self._log.close)
        self._reader = BatchReader(self.dataset, self.split.train, config, state.step, self.group)
        self._readers.callback(self._reader.close)
        bar = progress_bar(
            total=self.total_steps * self.batch_size,
            initial=state.step * self.batch_size,
            unit=" images",
            unit_scale=True,
            desc="training the VAE",
            progress=self._progress and main,
        )
        self._bar = self._readers.enter_context(bar)
        self._start = time.perf_counter() - state.seconds
        self._alarms.print(check_beta(config.objective, state.vae))
        self._alarms.print(check_head_targets(self._targets, config.heads))
        self.graphed: GraphedStep | None = None
        if replays_updates(config, self.group):
            if self._device_frames is None and shards_in_memory(self.dataset, config) is None:
                self._device_frames = copy_to_device(self.dataset, state.vae.device)
            self.graphed = GraphedStep(self.step, self.batch_size, self._device_frames)
            self._runner = GraphRunner()

    def _count(self, updates: list[Update]) -> None:
        """Keep the results of updates; too many skipped ones end the training."""
        self._updates += updates
        self._bar.update(len(updates) * self.batch_size)
        check_skipped(self._updates, self.state.step)

    def _save(self, record: dict[str, Any], held_out: HeldOut) -> None:
        """Write the record, a checkpoint, and the weights if they are the best so far."""
        self._bar.set_postfix(held_out=f"{held_out.loss:.1f}", kl=f"{held_out.rate:.1f}")
        # Losses against a discriminator of different epochs do not compare: the last epoch counts.
        best = held_out.loss < self.state.best or self.state.discriminator is not None
        if best:
            self.state.best = held_out.loss
        main = self.group.is_main_process
        if main and self._track:
            kl = held_out.kl_per_dimension
            images = make_pictures(self.state.vae, self.dataset, self.split.held_out, kl)
            self._log.show(record, images, self.batch_size, self.total_steps)
        if best and main:
            save_weights(self.partial, self.state)
        self._log.append(record)
        if main:
            save_checkpoint(self.partial, self.state)
