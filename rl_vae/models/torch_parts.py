"""Parts of a model that need torch: what `rl_vae.models.late_torch` imports late."""

import torch
from safetensors.torch import load

from rl_vae.models.device import check_device
from rl_vae.models.onnx_vae import OnnxVAE
from rl_vae.models.vae import VAE, learned_sigma
from rl_vae.objectives.registry import objective_from_dict

__all__ = [
    "VAE",
    "OnnxVAE",
    "check_device",
    "learned_sigma",
    "load",
    "objective_from_dict",
    "torch",
]
