"""ARS of sb3_contrib, which can go on from a checkpoint."""

from __future__ import annotations

from typing import Any

import sb3_contrib
import torch


class ARS(sb3_contrib.ARS):
    """Augmented random search, with schedules and weights that survive an interruption."""

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        # sb3_contrib passes the steps of this call of learn(), without those before it.
        super()._update_current_progress_remaining(num_timesteps, self._total_timesteps)

    def set_parameters(self, load_path_or_dict: Any, *args: Any, **named: Any) -> None:
        """Set the parameters; the search goes on from them."""
        super().set_parameters(load_path_or_dict, *args, **named)
        vector: Any = torch.nn.utils.parameters_to_vector(self.policy.parameters())
        self.weights = vector.detach()
