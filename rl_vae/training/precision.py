"""Arithmetic: in which numbers and in which form the networks of a training compute.

The rule, decided once and never timed while a training runs, so that a run can be repeated:

- bfloat16 where the processor itself multiplies such numbers (AVX-512 BF16, AMX; NVIDIA GPUs from
  Ampere on), else float32. Likelihood, KL, objective and optimizer are float32 always.
- Weights and maps are channels-last. In bfloat16 transposed convolutions are mirrored, and a last
  layer whose kernel is two strides wide is folded in either (`networks.Upsampling`).
- On a CPU nothing is compiled.
- On a GPU inductor compiles pass and loss, where Triton is at hand and a C compiler and Python's
  headers, which it asks for; not World Models' network, whose convolutions over 1 x 1 maps its
  channels-last backward cannot take. Layers are those of torch: the other forms are for oneDNN.

Its evidence on a CPU: processor time of one update, 64 frames of 64 x 64 x 3, in milliseconds,
least of five rounds in turn, one thread of an AMD EPYC with AVX-512 BF16, torch 2.13.0:

    network        float32,         float32,        float32,   bfloat16   bfloat16,
                   channels first   channels-last   reshaped              reshaped
    patch               44.8             45.5         39.6       35.5       28.0
    burgess             61.8             59.4         55.8       47.3       39.2
    world_models       152.5            148.2        144.7      116.7      103.2

In another run, compiling the whole loss by inductor took 7 to 23 seconds and then gave 40.3 ms
(eager 38.7), 44.9 (47.8) and 128.3 (124.5) in bfloat16: oneDNN's convolutions take most of the
time, and those it leaves alone. Folding World Models' last layer, three strides wide, cost 15 ms.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from rl_vae.models.networks import NetworkName
from rl_vae.models.vae import VAE

Compute = Literal["fast", "reference"]


class Precision(NamedTuple):
    """How an update is computed."""

    bfloat16: bool
    """Convolutions and matrix products in bfloat16, by autocast."""
    reshaped: bool
    """The decoder's layers in the forms that train fastest; the same functions."""
    compiled: bool = False
    """Pass and loss by inductor, before the whole update is captured (rl_vae.training.cuda_graphs)."""

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the networks run. Each weight is used once: nothing to cache."""
        return torch.autocast(
            device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False
        )

    def prepare(self, vae: VAE) -> None:
        """Bring a VAE into the form that is trained."""
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.reshaped:
            vae.decoder.quicken(bfloat16=self.bfloat16)


def choose_precision(
    engine: Compute, network: NetworkName = "patch", device: str = "cpu"
) -> Precision:
    """What is fastest there, or float32 layer by layer as the network is written."""
    if engine == "reference":
        return Precision(bfloat16=False, reshaped=False)
    bfloat16 = multiplies_bfloat16(device)
    if torch.device(device).type == "cpu":
        return Precision(bfloat16, reshaped=True)
    compiled = network != "world_models" and builds_kernels()
    return Precision(bfloat16, reshaped=False, compiled=compiled)


def builds_kernels() -> bool:
    """Whether Triton is here, and what it builds the calls of its kernels with."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_config_var("INCLUDEPY") or "", "Python.h")
    return find_spec("triton") is not None and compiler is not None and header.is_file()


def multiplies_bfloat16(device: str = "cpu") -> bool:
    """Whether this processor, or this machine's GPU, has instructions that multiply bfloat16."""
    kind = torch.device(device).type
    if kind != "cpu":
        return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    ask = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 has none
    has = ask() if ask is not None else {}
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
