"""Arithmetic: in which numbers and in which form the networks of a training compute.

The rule, decided once and never timed while a training runs, so that a run can be repeated:

- bfloat16 where the processor itself multiplies such numbers (AVX-512 BF16, AMX), else float32.
  Likelihood, KL, objective and optimizer are float32 always.
- Weights and maps are channels-last, and the decoder's last layer is folded (`networks.Upsampling`)
  where its kernel is two strides wide.
- Nothing is compiled.

Its evidence: CPU time of one update, 64 frames of 64 x 64 x 3, milliseconds, least of five rounds
in turn, one thread of an AMD EPYC with AVX-512 BF16, torch 2.13.0:

    network        as written,      channels-  bfloat16   bfloat16,   bfloat16,      seconds to
                   channels first   last                  folded      compiled too   compile
    patch               49.2          50.2       38.7       32.5        33.7            7 to 23
    burgess             62.6          58.6       47.8       43.8        42.7            8 to 15
    world_models      165.4         162.8      124.5      139.4       128.3 (unfolded)    15
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

from rl_vae.vae import VAE

Engine = Literal["fast", "reference"]


class Arithmetic(NamedTuple):
    """How an update is computed."""

    bfloat16: bool
    """Convolutions and matrix products in bfloat16, by autocast."""
    folded: bool
    """The decoder's last layer folded, where it can be."""

    def autocast(self) -> torch.autocast:
        """The context in which the networks run."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)

    def prepare(self, vae: VAE) -> None:
        """Bring a VAE into the form that is trained."""
        vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.folded:
            vae.decoder.fold()


def choose_arithmetic(engine: Engine) -> Arithmetic:
    """What is fastest on this processor, or float32 layer by layer as the network is written."""
    if engine == "reference":
        return Arithmetic(bfloat16=False, folded=False)
    return Arithmetic(bfloat16=multiplies_bfloat16(), folded=True)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions that multiply bfloat16."""
    ask = getattr(torch.cpu, "get_capabilities", None)  # torch 2.10 has none
    has = ask() if ask is not None else {}
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
