"""VAECallback: what a user's program may do while a VAE is trained."""

from __future__ import annotations

from typing import Any

from rl_vae.training.alarms import Alarm
from rl_vae.training.result import Trained


class VAECallback:
    """Is called by `train_vae` in the main process. Override what is needed.

    An error that a method raises ends the training, which goes on from the end of that epoch when
    it is started again.
    """

    def on_epoch(self, record: dict[str, Any]) -> None:
        """Called after an epoch is measured and its checkpoint is written.

        Args:
            record: The line of metrics.jsonl.
        """

    def on_alarm(self, alarm: Alarm) -> None:
        """Called after `on_epoch` for each alarm of the epoch."""

    def on_end(self, trained: Trained) -> None:
        """Called when the model's folder is complete, but not if it was complete before."""
