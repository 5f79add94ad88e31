"""LatentExtractor: an artifact inside a Stable-Baselines3 policy that sees pixels.

Shape letters: N observations, k stacked images, h w c raw image, H W C frame, Z latents.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import gymnasium as gym
import torch
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.models.preprocessing import Framing
from rl_vae.models.vae import VAE


class LatentExtractor(NatureCNN):  # SB3 tells only NatureCNN's heirs whether it scales pixels
    """Mean latents as features: for CnnPolicy, in PPO, SAC, DQN and their relatives.

    Observations are images that the artifact was made for, or, where those have another height or
    width, frames that its FrameSpec has already been applied to; SB3 itself brings them to channels
    first. k images that VecFrameStack has stacked become k Z features, the oldest first; the black
    ones with which it begins an episode are encoded like any other.

    Frozen, the VAE is no part of the policy: no optimizer, initialisation or average reaches it,
    and a saved agent holds its digest alone; SB3's `load` reads the artifact again, from its path.
    Fine-tuned, it is a part of the policy and of what is saved, from the artifact's weights on; the
    actor, the critic and its target each have a copy.

    Every update encodes its observations again; VecLatent encodes them once.

        kwargs = dict(
            features_extractor_class=LatentExtractor,
            features_extractor_kwargs=dict(encoder="models/car"),
        )
        PPO("CnnPolicy", env, policy_kwargs=kwargs)

    Args:
        observation_space: The policy's, which SB3 hands over.
        encoder: Folder of the artifact.
        fine_tune: Whether the policy's losses train it.
        learning_rate: Its own, constant, of an Adam whose moments are not saved; None: the policy's
            optimizer trains it with everything else.
        normalized_image: SB3 hands it over, where the policy has normalize_images=False.

    Raises:
        ConfigError: where the encoder is not a path, or the learning rate makes no sense.
        ArtifactError: where the artifact is missing or damaged, or, when an agent is loaded, is
            another one than it was trained with.
        ObservationError: where the observations are not the artifact's.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        encoder: str | Path,
        fine_tune: bool = False,
        learning_rate: float | None = None,
        normalized_image: bool = False,
    ) -> None:
        if not isinstance(encoder, str | Path):
            raise ConfigError(
                "The extractor's encoder is not a path.",
                expected="the folder of an artifact: SB3 would train a module, and save it thrice",
                got=type(encoder).__name__,
                remedy='features_extractor_kwargs=dict(encoder="models/car")',
            )
        _check_rate(fine_tune, learning_rate)
        artifact = read_model(encoder)
        framing, shape = _framing(artifact, observation_space)
        k = observation_space.shape[0] // shape[0]  # type: ignore[index]
        # Past NatureCNN's own constructor, which makes the network that this one stands for.
        BaseFeaturesExtractor.__init__(self, observation_space, k * artifact.vae_config.latent_dim)
        self._path, self._digest = artifact.path, artifact.digest
        self._shape, self._scaled, self._fine_tune = shape, not normalized_image, fine_tune
        vae = artifact.build()
        del vae.decoder
        # torch does not look into a tuple: what is only here is no part of the policy.
        self._hidden = (framing, vae)
        if fine_tune:
            self.vae = vae.requires_grad_(True)
            if learning_rate is not None:
                _train_apart(self, learning_rate)

    def forward(self, observations: Tensor) -> Tensor:
        """(N, k c, h, w), as SB3 preprocesses them -> (N, k Z) float32.

        Raises:
            ObservationError: where SB3 has not scaled them as it said.
        """
        framing, vae = self._hidden
        pixels = observations * 255.0 if self._scaled else observations
        whole = pixels.round()
        if not bool(((pixels - whole).abs() < 0.01).all() & (whole <= 255.0).all()):
            raise ObservationError(
                "The policy does not scale pixels as it told its extractor.",
                expected="values from 0 to 1" if self._scaled else "whole numbers up to 255",
                got=f"values from {float(observations.min())} to {float(observations.max())}",
                remedy="give each policy a features_extractor_kwargs dictionary of its own: SB3 "
                "writes into it",
            )
        images = whole.byte().reshape(-1, *self._shape).permute(0, 2, 3, 1)  # (N k, h, w, c)
        with torch.set_grad_enabled(self._fine_tune and torch.is_grad_enabled()):
            mu: Tensor = vae.encode(VAE.to_input(framing(images))).mu  # (N k, Z)
        return mu.reshape(len(observations), self.features_dim)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Do nothing: it is by this that PPO would overwrite the weights (`ortho_init`)."""
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module in self._hidden:
            module._apply(fn, recurse)
        return self

    def get_extra_state(self) -> Tensor:
        """The artifact's digest, (32,) uint8: a saved agent is bound to it."""
        return torch.tensor(list(bytes.fromhex(self._digest)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Raise ArtifactError unless a saved agent was trained with this artifact."""
        digest = bytes(state.tolist()).hex()
        if digest != self._digest:
            raise FolderError(
                f"The agent was trained with another encoder than {self._path}.",
                expected=f"digest {digest}",
                got=self._digest,
                remedy="put the encoder that it was trained with back in that place",
            )


def _framing(
    artifact: ModelFolder, space: gym.Space[Any]
) -> tuple[nn.Module, tuple[int, int, int]]:
    """What is done to single images of a space, and their shape, channels first."""
    height, width, channels = (*artifact.observation_shape, 1)[:3]
    raw, spec = (channels, height, width), artifact.spec
    frame = (spec.channels, spec.height, spec.width)
    if isinstance(space, gym.spaces.Box) and is_image_space(space):
        # Raw where both have that size: the same numbers may not mean two things.
        shape = raw if space.shape[1:] == raw[1:] else frame
        if space.shape[1:] == shape[1:] and space.shape[0] % shape[0] == 0:
            framing = Framing(spec, artifact.observation_shape) if shape == raw else nn.Identity()
            return framing, shape
    raise ObservationError(
        f"The encoder {artifact.path} was made for other observations.",
        expected=f"uint8 images of shape {raw}, channels first, or frames of shape {frame} where "
        "that is another size; or several of them stacked along the first side",
        got=space,
        remedy="train an encoder on this environment's frames; for a Dict take VecLatent",
    )


def _check_rate(fine_tune: bool, learning_rate: float | None) -> None:
    number = isinstance(learning_rate, int | float) and not isinstance(learning_rate, bool)
    right = learning_rate is None or (
        fine_tune and number and math.isfinite(learning_rate) and learning_rate > 0
    )
    if not isinstance(fine_tune, bool) or not right:
        raise ConfigError(
            "The extractor's training makes no sense.",
            expected="fine_tune True or False; where it is True, a learning_rate above 0 or None",
            got=f"fine_tune={fine_tune!r}, learning_rate={learning_rate!r}",
            remedy="leave both out: the encoder stays as it is",
        )


def _train_apart(extractor: LatentExtractor, learning_rate: float) -> None:
    """Let an Adam of its own step in for the policy's, whenever that steps.

    A parameter group of the policy's optimizer would not do: before each update SB3 sets the
    learning rate of all groups to the policy's. A step of its own within `backward` would not do:
    SAC's actor loss leaves gradients in the critic that no step may take.
    """
    parameters = list(extractor.vae.encoder.parameters())
    own = torch.optim.Adam(parameters, lr=learning_rate)

    def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        held = (value for group in optimizer.param_groups for value in group["params"])
        if optimizer is not own and any(value is parameters[0] for value in held):
            own.step()
            own.zero_grad()  # an optimizer passes over what has no gradient

    weakref.finalize(extractor, register_optimizer_step_pre_hook(step).remove)
