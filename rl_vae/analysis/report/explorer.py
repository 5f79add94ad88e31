"""Data of the page's explorer: decoders and policies as programs, and codes to start from.

Shape letters: N frames, Z latents, H W C frame, M test codes, S stack, A actions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from rl_vae.agents.agent import Agent
from rl_vae.analysis.report.program import Array, Layer, compress, decoder_layers, module_layers
from rl_vae.frames import UInt8Array
from rl_vae.models.encoder import Encoder
from rl_vae.wrappers.fields import ObservationFields

TEST_CODES = 100
"""Number of random codes on which 16-bit numbers are tried."""
PIXEL_TOLERANCE = 0.5 / 255
"""Largest change of a pixel by 16-bit numbers, from 0 to 1."""
ACTION_TOLERANCE = 0.002
"""Largest change of a policy's output by 16-bit numbers, as a share of the output's range."""


class LiveModel(NamedTuple):
    """A model that the explorer decodes in the browser."""

    data: dict[str, Any]
    """Plain JSON values for explorer.js."""
    error: float
    """Largest difference of a pixel from PyTorch's on the test codes, from 0 to 255."""


def is_live(encoder: Encoder) -> bool:
    """Whether the decoder is a built-in network, which the page's script can run."""
    return not encoder.vae_config.has_own_network


def live_model(name: str, encoder: Encoder, agent: Agent | None, frames: UInt8Array) -> LiveModel:
    """Data of a model with a built-in decoder.

    Args:
        name: Name of the model.
        encoder: The model.
        agent: Agent that observes the model's codes, or None.
        frames: (N, H, W, C) frames to start from.
    """
    statistics = encoder.statistics
    mean, std = np.array(statistics.latent_mean), np.array(statistics.latent_std)
    noise = np.random.default_rng(0).normal(size=(TEST_CODES, encoder.latent_dim))
    test_codes = mean + 2 * std * noise
    program, error = compress(
        decoder_layers(encoder.torch_vae), np.concatenate([noise, test_codes]), PIXEL_TOLERANCE
    )
    codes = encoder.encode(frames)
    # A slider reaches 3 standard deviations, 3 itself, and every code to start from.
    farthest = np.maximum(np.abs(mean) + 3 * std, np.abs(codes).max(0))
    reach = np.ceil(2 * np.maximum(3, farthest)) / 2
    data = {
        "name": name,
        "shape": encoder.spec.shape,
        "mean": mean.round(5).tolist(),
        "std": std.round(5).tolist(),
        "reach": reach.tolist(),
        "order": np.argsort(-std, kind="stable").tolist(),
        "codes": codes.round(5).tolist(),
        "program": program.to_dict(),
        "policy": None if agent is None else live_policy(agent, test_codes),
    }
    return LiveModel(data, error * 255)


def live_policy(agent: Agent, codes: Array) -> dict[str, Any] | None:
    """Actions of an agent after a reset, as a function of the first code.

    After a reset the stack holds the first code S times and past actions are zero. So the weights
    of the S codes in the first layer are added up.

    Args:
        agent: The agent.
        codes: (M, Z) test codes.

    Returns:
        Plain JSON values for explorer.js; None if the agent also observes log-variances or extras,
        which a slider does not set, or has a memory.
    """
    fields = agent.fields
    parts = agent.kind.parts(agent.policy)
    no_extras, only_means = agent.extras_space is None, fields.code_width == codes.shape[1]
    if not no_extras or not only_means or parts.memory is not None:
        return None
    layers = _on_first_code(module_layers(parts.network), fields)
    exact, _ = compress(layers, codes, -math.inf)
    outputs = exact.run(codes)  # (M, A)
    program, _ = compress(layers, codes, ACTION_TOLERANCE * float(np.ptp(outputs)))
    return {**_actions(agent, outputs, parts.is_squashed), "program": program.to_dict()}


def _on_first_code(layers: list[Layer], fields: ObservationFields) -> list[Layer]:
    """The same layers as a function of the first code (Z,), before it is standardised."""
    first, *rest = layers
    stacked = first.weight[fields.latents].reshape(fields.stack, fields.code_width, -1)
    weight = stacked.sum(0) / fields.code_std[:, None]  # (Z, units)
    bias = first.bias - fields.code_mean @ weight
    return [first._replace(weight=weight, bias=bias), *rest]


def _actions(agent: Agent, outputs: Array, is_squashed: bool) -> dict[str, Any]:
    """How the outputs (M, A) of a policy become actions, with names and ranges."""
    space = agent.action_space
    if isinstance(space, gym.spaces.Discrete):
        kind = "values" if agent.kind.has_values else "shares"
        names = [f"action {int(space.start) + k}" for k in range(int(space.n))]
        low, high = np.zeros(len(names)), np.ones(len(names))
        shown = [low, high]
        if kind == "values":
            shown = [np.full(len(names), end) for end in (outputs.min(), outputs.max())]
    else:
        assert isinstance(space, gym.spaces.Box)
        kind = "squashed" if is_squashed else "clipped"
        low, high = (end.astype(np.float64).ravel() for end in (space.low, space.high))
        names = [f"action {k}" for k in range(len(low))] if len(low) > 1 else ["action"]
        actions = outputs.clip(low, high)
        if is_squashed:
            actions = low + 0.5 * (np.tanh(outputs) + 1) * (high - low)
        margin = 0.1 * np.ptp(actions, axis=0)
        shown = [
            (actions.min(0) - margin).clip(low, high),
            (actions.max(0) + margin).clip(low, high),
        ]
    return {
        "kind": kind,
        "discrete": kind in ("values", "shares"),
        "names": names,
        "low": low.tolist(),
        "high": high.tolist(),
        "shown": [end.tolist() for end in shown],
    }
