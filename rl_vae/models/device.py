"""Check of a torch device: can this machine compute on it?"""

from __future__ import annotations

import torch

from rl_vae.errors import ConfigError


def check_device(device: str) -> None:
    """Check that torch can compute on a device of this machine, also in float64, for the metrics.

    Raises:
        ConfigError: if torch cannot use the device.
    """
    try:
        torch.ones(1, dtype=torch.float64, device=torch.device(device)).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(
            "The device cannot be used on this machine.",
            expected="cpu, or a device that this build of torch supports, such as cuda",
            got=repr(device),
            remedy="choose device='cpu'",
        ) from error
