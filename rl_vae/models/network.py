"""Interface of networks: a class that builds the encoder and the decoder of a VAE."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class Network(ABC):
    """Base class of networks: builds an encoder and a decoder for frames of a given shape.

    A user's subclass takes no arguments: `VAEConfig(network=MyNetwork)`, or
    `VAEConfig(network="my_network.py:MyNetwork")`. Both modules must be exportable to ONNX: after
    training only their ONNX files are used, so a model folder holds no code.

    Shape letters: B batch, C H W frame (channels first), Z latents.
    """

    centred: bool = False
    """Whether the network gets (x - mean frame) / spread instead of x, and logit(mean frame) is
    added to its logits. Mean frame and spread are computed from the training frames."""

    @abstractmethod
    def build_encoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> nn.Module:
        """Build a module that maps frames (B, C, H, W) in [0, 1] to parameters of q(z | x).

        Args:
            frame_shape: (H, W, C) of a frame.
            latent_dim: Z.

        Returns:
            A module whose output is (B, 2 Z): means, then raw log-variances; or a tuple of both,
            (B, Z) each. The VAE bounds the log-variances (`vae.LOGVAR_BOUND`).
        """

    @abstractmethod
    def build_decoder(self, frame_shape: tuple[int, int, int], latent_dim: int) -> nn.Module:
        """Build a module that maps latents (B, Z) to logits of the frame, (B, C, H, W).

        Args:
            frame_shape: (H, W, C) of a frame.
            latent_dim: Z.
        """
