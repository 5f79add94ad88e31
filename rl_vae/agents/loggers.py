"""The logger of a training of SB3: TensorBoard by SB3's own writer, and other trackers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Image, KVWriter, Logger, TensorBoardOutputFormat

from rl_vae.frames import UInt8Array
from rl_vae.trackers.base import TrackedRun, Value
from rl_vae.trackers.registry import Sessions
from rl_vae.trackers.tensorboard_tracker import open_board, settings_text


class TrackerOutput(KVWriter):
    """Gives what SB3's logger records to trackers: numbers, tensors and `Image`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Write what was recorded since the last call."""
        values: dict[str, Value] = {}
        images: dict[str, UInt8Array] = {}
        for name, value in key_values.items():
            if isinstance(value, Image) and value.dataformats == "HWC":
                images[name] = np.asarray(value.image)
            elif isinstance(value, torch.Tensor):
                values[name] = value.detach().cpu().numpy()
            elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
                values[name] = float(value)
        self._sessions.log(values, step)
        if images:
            self._sessions.log_images(images, step)

    def close(self) -> None:
        """End the sessions, which are interrupted if they are open still."""
        self._sessions.close()


class TrackedLogger(Logger):
    """Logger of a run for each of several trackers.

    TensorBoard gets the values from SB3's own writer, which also knows videos and figures.

    Args:
        run: The run.
        track: Names of the trackers.
    """

    def __init__(self, run: TrackedRun, track: Sequence[str]) -> None:
        shows = "tensorboard" in track
        self._sessions = Sessions([name for name in track if name != "tensorboard"], run)
        super().__init__(None, [TrackerOutput(self._sessions)])
        if shows:
            self.output_formats.append(TensorBoardOutputFormat(str(open_board(run.partial))))
            self.record("config", settings_text(run))
            self.dump(run.step)

    def flush(self) -> None:
        """Write all that was dumped, before a checkpoint."""
        self._sessions.flush()

    def finish(self, step: int) -> None:
        """Write what was recorded since the last time, and end the sessions as finished."""
        self.dump(step)
        self._sessions.close(finished=True)
