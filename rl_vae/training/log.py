"""TrainingLog: the record of every epoch, in metrics.jsonl and in trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.errors import FolderError
from rl_vae.frames import UInt8Array
from rl_vae.system import strict_json
from rl_vae.trackers.base import TrackedRun, Value
from rl_vae.trackers.registry import Sessions
from rl_vae.training.alarms import Alarm, read_alarms
from rl_vae.training.evaluate import HeldOut, beta_norm
from rl_vae.training.step import TrainStep, Update


class TrainingLog:
    """Records of a training's epochs; close it at the end.

    Args:
        run: The training. Records after its step are dropped: their epochs run again.
        track: Names of the trackers.
        writes: Whether this process writes files.
    """

    def __init__(self, run: TrackedRun, track: Sequence[str] = (), *, writes: bool = True) -> None:
        self._path = run.partial / "metrics.jsonl"
        self.records = _read_records(self._path, run.step)
        """One record for each epoch."""
        self._writes = writes
        if writes:
            strict_json.write_lines(self._path, self.records)
        self._sessions = Sessions(track if writes else (), run)

    def show(
        self,
        record: dict[str, Any],
        images: Mapping[str, UInt8Array],
        batch_size: int,
        total_steps: int,
    ) -> None:
        """Show a record in the trackers, with the speed and the time that is left.

        Args:
            record: Record of an epoch.
            images: Pictures of the model by name.
            batch_size: Number of frames of one update.
            total_steps: Number of updates of the whole training.
        """
        step, rate = record["step"], record["step"] / max(record["seconds"], 1e-3)
        scalars = {**record, **record["terms"]}
        scalars["images_per_second"] = rate * batch_size
        scalars["seconds_left"] = (total_steps - step) / rate
        values: dict[str, Value] = {
            f"vae/{name}": value
            for name, value in scalars.items()
            if isinstance(value, int | float) and name != "step"
        }
        values["vae/kl_per_dimension"] = np.asarray(record["kl_per_dimension"])
        self._sessions.log(values, step)
        self._sessions.log_images({f"vae/{name}": images[name] for name in images}, step)
        self._sessions.flush()

    def append(self, record: dict[str, Any]) -> None:
        """Keep a record, and write it to metrics.jsonl."""
        self.records.append(record)
        if self._writes:
            strict_json.append_line(self._path, record)

    def close(self, *, finished: bool = False) -> None:
        """End the sessions of the trackers, if they are open."""
        self._sessions.close(finished=finished)


def _read_records(path: Path, step: int) -> list[dict[str, Any]]:
    """The records of the epochs up to an update, which is the end of an epoch.

    Raises:
        FolderError: if a record has other fields, or the last one is missing.
    """
    try:
        records = [record for record in strict_json.read_lines(path) if record["step"] <= step]
        for record in records:
            HeldOut.of(record)
            read_alarms(record["alarms"])
        last = records[-1]["step"] if records else 0
        if last != step:
            raise ValueError(f"the last one of update {last}")
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError.damaged(path, f"the records up to update {step}", error) from error
    return records


def make_record(
    step: TrainStep, updates: Sequence[Update], held_out: HeldOut, alarms: Sequence[Alarm]
) -> dict[str, Any]:
    """Make the record of an epoch: one line of metrics.jsonl.

    Args:
        step: The update, with state and settings of the training.
        updates: Updates of the epoch that were not skipped, one or more.
        held_out: Measures after the epoch.
        alarms: Alarms of the epoch.
    """
    state = step.state
    return {
        "step": state.step,
        "seconds": round(state.seconds, 3),
        "train_loss": sum(update.loss for update in updates) / len(updates),
        "gradient_norm": sum(update.gradient_norm for update in updates) / len(updates),
        "weight": step.schedule(state.step),
        "beta_norm": beta_norm(step.config.objective, state.vae),
        "skipped": state.skipped,
        "alarms": [alarm._asdict() for alarm in alarms],
        **held_out._asdict(),
    }
