"""LatentExtractor: the encoder of a model folder as the features extractor of an SB3 policy.

Shape letters: N observations, k stacked images, h w c raw image, H W C frame, Z latents.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

import gymnasium as gym
import torch
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from rl_vae.constraints import Range, check_value
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.models.encoder import Encoder
from rl_vae.models.folder import ModelFolder, read_model
from rl_vae.models.preprocessing import FrameConversion, RawToFrames
from rl_vae.models.vae import VAE
from rl_vae.sb3.add_loss import add_loss


# SB3 passes normalized_image only to subclasses of NatureCNN.
class LatentExtractor(NatureCNN):
    """Mean latents as features of a CnnPolicy, in PPO, SAC, DQN and their relatives.

    Observations are images of the kind that the encoder was made for, or, if those have another
    height or width, frames after its FrameSpec. SB3 itself transposes them to channels first. If
    VecFrameStack has stacked k images, there are k Z features, the oldest image first. The black
    images with which it begins an episode are encoded like any other.

    Frozen, the VAE is not a part of the policy: no optimizer, initialisation or averaging changes
    it, and a saved agent holds only its digest. SB3's `load` reads the model folder again, from its
    path. Fine-tuned, the VAE is a part of the policy and of the saved agent, and its training
    begins at the weights of the model folder. The actor, the critic and its target each have a
    copy.

    Every update encodes its observations again, while VecLatent encodes each observation once.

    With `reconstruction`, the VAE goes on with its own task beside that of the policy. Each update
    of the policy minimises

        L = L_RL + reconstruction * mean over frames of [-log p(x | z) + w KL(q(z | x) || p(z))]

    over the frames x of its batch of the rollout or of the replay buffer, with z sampled from
    q(z | x) and w the largest weight of the KL in the VAE's own training (beta, for `Beta`). Both
    terms are in nats per frame, summed over pixels and latents: often hundreds, while L_RL is about
    1. PPO limits the norm of the gradient of the sum (`max_grad_norm`). The decoder is a part of
    the policy, too. For algorithms that call `backward`, as PPO, SAC and DQN do; not for TRPO.

        kwargs = dict(
            features_extractor_class=LatentExtractor,
            features_extractor_kwargs=dict(encoder="models/car"),
        )
        PPO("CnnPolicy", env, policy_kwargs=kwargs)

    Args:
        observation_space: Observation space of the policy. SB3 passes it.
        encoder: Model folder.
        fine_tune: Whether the losses of the policy train the encoder.
        learning_rate: Constant learning rate of a separate Adam for the encoder, above 0. Its
            moments are not saved. None: the optimizer of the policy trains the encoder as well.
        reconstruction: Weight of the VAE's loss in nats per frame, at least 0; above 0 with
            fine_tune=True only. 1e-4 is a start.
        normalized_image: Whether the policy has normalize_images=False. SB3 passes it.

    Raises:
        ConfigError: if the encoder is not a path, or the learning rate is out of its range.
        FolderError: if the model folder is missing or damaged, or, when an agent is loaded, if it
            is not the one that the agent was trained with.
        ObservationError: if the encoder was made for other observations.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        encoder: str | Path,
        fine_tune: bool = False,
        learning_rate: float | None = None,
        reconstruction: float = 0.0,
        normalized_image: bool = False,
    ) -> None:
        if not isinstance(encoder, str | Path):
            raise ConfigError(
                "The encoder of the extractor is not a path.",
                expected="a model folder: SB3 would train a module and save it three times",
                got=type(encoder).__name__,
                remedy='features_extractor_kwargs=dict(encoder="models/car")',
            )
        _check_training(fine_tune, learning_rate, reconstruction)
        folder = read_model(encoder)
        preprocessing, shape = _preprocessing(folder, observation_space)
        self._takes_raw = shape is None
        k = 1 if shape is None else observation_space.shape[0] // shape[0]  # type: ignore[index]
        # Skips the constructor of NatureCNN, which builds a network that is not needed here.
        BaseFeaturesExtractor.__init__(self, observation_space, k * folder.vae_config.latent_dim)
        self._path, self._digest = folder.path, folder.digest
        self._shape, self._scaled, self._fine_tune = shape, not normalized_image, fine_tune
        self._reconstruction, self._kl_weight = reconstruction, 0.0
        vae = folder.build()
        if reconstruction > 0:
            self._kl_weight = Encoder.load(encoder, lazy=True).objective.max_kl_weight()
        else:
            del vae.decoder
        # torch does not register the modules of a tuple, so they are not a part of the policy.
        self._unregistered = (preprocessing, vae)
        if fine_tune:
            self.vae = vae.requires_grad_(True)
            if learning_rate is not None:
                _train_separately(self, learning_rate)

    def forward(self, observations: Tensor) -> Tensor:
        """Encode observations (N, k c, h, w), as SB3 preprocesses them: (N, k Z) float32.

        Raw images that SB3 does not take for images, such as floats, arrive as they are, (N, ...).

        Raises:
            ObservationError: if SB3 has not scaled the pixels as announced.
        """
        preprocessing, vae = self._unregistered
        with torch.set_grad_enabled(self._fine_tune and torch.is_grad_enabled()):
            if self._takes_raw:
                images = observations
            else:
                images = self._to_bytes(observations).permute(0, 2, 3, 1)  # (N k, h, w, c)
            x = VAE.to_input(preprocessing(images))  # (N k, C, H, W)
            posterior = vae.encode(x)
            mu: Tensor = posterior.mu  # (N k, Z)
            if self._reconstruction > 0 and mu.requires_grad:
                distortion, kl = vae.losses(x, posterior, torch.randn_like(mu))
                loss = (distortion + self._kl_weight * kl.sum(1)).mean()
                mu = add_loss(mu, self._reconstruction * loss)
        return mu.reshape(len(observations), self.features_dim)

    def _to_bytes(self, observations: Tensor) -> Tensor:
        """The bytes of images that SB3 has scaled: (N, k c, h, w) -> (N k, c, h, w) uint8."""
        assert self._shape is not None
        pixels = observations * 255.0 if self._scaled else observations
        rounded = pixels.round()
        if not bool(((pixels - rounded).abs() < 0.01).all() & (rounded <= 255.0).all()):
            raise ObservationError(
                "The policy does not scale pixels as it announced to its extractor.",
                expected="values from 0 to 1" if self._scaled else "whole numbers up to 255",
                got=f"values from {float(observations.min())} to {float(observations.max())}",
                remedy="give each policy its own features_extractor_kwargs dictionary: SB3 writes "
                "into it",
            )
        return rounded.byte().reshape(-1, *self._shape)

    def apply(self, fn: Callable[[nn.Module], None]) -> Self:
        """Do nothing: PPO (`ortho_init`) would overwrite the weights through this method."""
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module in self._unregistered:
            module._apply(fn, recurse)
        return self

    def get_extra_state(self) -> Tensor:
        """Digest of the model folder, (32,) uint8, which a saved agent holds."""
        return torch.tensor(list(bytes.fromhex(self._digest)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Check the digest of a saved agent.

        Raises:
            FolderError: if the agent was trained with another model folder.
        """
        digest = bytes(state.tolist()).hex()
        if digest != self._digest:
            raise FolderError(
                f"The agent was trained with another encoder than {self._path}.",
                expected=f"digest {digest}",
                got=f"digest {self._digest}",
                remedy="put the model folder that it was trained with at this path",
            )


def _preprocessing(
    folder: ModelFolder, space: gym.Space[Any]
) -> tuple[nn.Module, tuple[int, int, int] | None]:
    """Preprocessing of single images of a space, and their shape, channels first.

    The shape is None for raw images that SB3 neither scales nor transposes.
    """
    height, width, channels = (*folder.observation_shape, 1)[:3]
    raw: tuple[int, int, int] = (channels, height, width)
    spec = folder.spec
    conversion = folder.pixels.conversions[0]
    to_frame: nn.Module = FrameConversion(spec, folder.observation_shape)
    if len(folder.pixels.conversions) == 1 and not conversion.is_plain:
        given = (conversion.shape, conversion.dtype)
        if not is_image_space(space) and (space.shape, str(space.dtype)) == given:
            return RawToFrames(folder.pixels, spec), None
        if conversion.layout == "hwc" and conversion.dtype == "uint8":
            height, width, channels = conversion.shape
            raw = (channels, height, width)
            to_frame = RawToFrames(folder.pixels, spec)
    frame = (spec.channels, spec.height, spec.width)
    if isinstance(space, gym.spaces.Box) and is_image_space(space):
        # If raw images and frames have the same size, observations are raw images.
        shape = raw if space.shape[1:] == raw[1:] else frame
        if space.shape[1:] == shape[1:] and space.shape[0] % shape[0] == 0:
            return (to_frame if shape == raw else nn.Identity()), shape
    raise ObservationError(
        f"The encoder {folder.path} was made for other observations.",
        expected=f"uint8 images of shape {raw}, channels first, or frames of shape {frame} if that "
        "is another size; or several of them stacked along the first axis",
        got=space,
        remedy="train an encoder on this environment's frames; use VecLatent for a Dict",
    )


def _check_training(fine_tune: bool, learning_rate: float | None, reconstruction: float) -> None:
    check_value("fine_tune", fine_tune, bool, False)
    check_value("learning_rate", learning_rate, Annotated[float, Range(above=0)] | None)
    check_value("reconstruction", reconstruction, Annotated[float, Range(low=0)], 0.0)
    given = {"learning_rate": learning_rate, "reconstruction": reconstruction or None}
    for name, value in given.items():
        if value is not None and not fine_tune:
            raise ConfigError(
                f"A frozen encoder has no {name}.",
                expected=f"no {name}, or fine_tune=True",
                got=f"fine_tune=False, {name}={value!r}",
                remedy=f"leave {name} out, or choose fine_tune=True",
            )


def _train_separately(extractor: LatentExtractor, learning_rate: float) -> None:
    """Train the VAE with a separate Adam, which steps before the optimizer of the policy.

    A parameter group of the policy's optimizer does not work: before each update SB3 sets the
    learning rate of all groups to that of the policy. A step within `backward` does not work
    either: SAC's actor loss leaves gradients in the critic that no step may use.
    """
    parameters = list(extractor.vae.parameters())
    own = torch.optim.Adam(parameters, lr=learning_rate)

    def step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        params = (value for group in optimizer.param_groups for value in group["params"])
        if optimizer is not own and any(value is parameters[0] for value in params):
            own.step()
            own.zero_grad()  # the policy's optimizer skips parameters without a gradient

    weakref.finalize(extractor, register_optimizer_step_pre_hook(step).remove)
