"""Precision: number format and layer form in which the networks of a training compute.

The choice follows a fixed rule and is never timed during a training, so that a run can be repeated:

- bfloat16 if the processor multiplies bfloat16 (AVX-512 BF16, AMX, NVIDIA GPUs from Ampere on),
  else float32. Likelihood, KL, objective and optimizer always compute in float32.
- Weights and activations are channels-last. In bfloat16 transposed convolutions are mirrored. A
  last layer whose kernel is two strides wide is folded (`rl_vae.models.networks.Upsampling`).
- Nothing is compiled on a CPU.
- On a GPU inductor compiles forward pass and loss if Triton, a C compiler and Python's headers are
  installed. The network "world_models" is not compiled: the channels-last backward pass of its
  convolutions over 1 x 1 maps fails. Layers keep torch's own form: the others are for oneDNN.

Processor time of one update with 64 frames of 64 x 64 x 3, in milliseconds: the minimum of five
alternating rounds, one thread of an AMD EPYC with AVX-512 BF16, torch 2.13.0:

    network        float32,         float32,        float32,   bfloat16   bfloat16,
                   channels first   channels-last   reshaped              reshaped
    patch               44.8             45.5         39.6       35.5       28.0
    burgess             61.8             59.4         55.8       47.3       39.2
    world_models       152.5            148.2        144.7      116.7      103.2

Compilation of the whole loss by inductor took 7 to 23 seconds in another run, and an update in
bfloat16 then took:

    network        eager    compiled
    patch           38.7        40.3
    burgess         47.8        44.9
    world_models   124.5       128.3

The convolutions of oneDNN take most of this time, and inductor leaves them as they are. Folding
the last layer of "world_models", whose kernel is three strides wide, made an update 15 ms slower.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from rl_vae.models.convolutional import ConvDecoder
from rl_vae.models.networks import NETWORKS
from rl_vae.models.vae import VAE

Compute = Literal["fast", "reference"]


class Precision(NamedTuple):
    """Number format and layer form of an update."""

    bfloat16: bool
    """Whether convolutions and matrix products compute in bfloat16, by autocast."""
    reshaped: bool
    """Whether the layers of the decoder have the form that trains fastest."""
    compiled: bool = False
    """Whether inductor compiles forward pass and loss (`rl_vae.training.cuda_graphs`)."""

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the networks run. Each weight is used once: nothing is cached."""
        return torch.autocast(
            device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False
        )

    def prepare(self, vae: VAE) -> None:
        """Change a VAE into the form that is trained."""
        if vae.config.has_own_network:
            return  # its modules may need contiguous tensors
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.reshaped and isinstance(vae.decoder, ConvDecoder):
            vae.decoder.choose_forms(bfloat16=self.bfloat16)


FLOAT32 = Precision(bfloat16=False, reshaped=False)
"""float32, layer by layer as the network is written."""


def choose_precision(compute: Compute, network: str = "patch", device: str = "cpu") -> Precision:
    """Choose the precision of a training.

    Args:
        compute: "reference" for `FLOAT32`, "fast" for the rule of this module.
        network: Name of the network.
        device: "cpu", or a torch device such as "cuda".
    """
    if compute == "reference":
        return FLOAT32
    bfloat16 = multiplies_bfloat16(device)
    if torch.device(device).type == "cpu":
        return Precision(bfloat16, reshaped=True)
    compiled = network in NETWORKS and network != "world_models" and builds_kernels()
    return Precision(bfloat16, reshaped=False, compiled=compiled)


def builds_kernels() -> bool:
    """Whether Triton, a C compiler and Python's headers are installed, so that kernels compile."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_config_var("INCLUDEPY") or "", "Python.h")
    return find_spec("triton") is not None and compiler is not None and header.is_file()


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Whether a device of this machine has instructions that multiply bfloat16.

    Args:
        device: "cpu", or a torch device such as "cuda".
    """
    kind = torch.device(device).type
    if kind != "cpu":
        return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 has none
    capabilities = {} if get_capabilities is None else get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
