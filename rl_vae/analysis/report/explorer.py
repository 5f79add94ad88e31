"""What the page's explorer needs: decoders and policies as programs, codes to start from.

Shape letters: S stack, Z latents, N codes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rl_vae.agents.agent import Agent
from rl_vae.agents.export import acting_policy
from rl_vae.analysis.report.program import Array, Layer, compact, of_decoder, of_modules
from rl_vae.frames import UInt8Array
from rl_vae.models import pictures
from rl_vae.models.encoder import Encoder

TRIED = 100
"""Codes on which a program with 16-bit numbers must draw the same picture."""
PIXEL = 0.5 / 255
"""By so much a pixel may differ, from 0 to 1."""
SHARE = 0.002
"""By such a share of the range of a policy's outputs may they differ."""


class Explored(NamedTuple):
    """One model as the explorer knows it."""

    said: dict[str, Any]
    """Plain JSON values."""
    error: float
    """How far the picture is from PyTorch's at most, of 255, on the codes that were tried."""


def data_uri(image: UInt8Array, *, exact: bool = False) -> str:
    """An (H, W, 1 or 3) image as an address that holds it."""
    content = pictures.as_webp(image, exact=exact)
    return "data:image/webp;base64," + base64.b64encode(content).decode()


def explored(name: str, encoder: Encoder, agent: Agent | None, frames: UInt8Array) -> Explored:
    """A model, its agent where there is one, and the codes of some frames (N, H, W, C)."""
    statistics = encoder.statistics
    mean, std = np.array(statistics.latent_mean), np.array(statistics.latent_std)
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(TRIED, encoder.latent_dim))
    codes = np.concatenate([draws, mean + 2 * std * draws])
    program, error = compact(of_decoder(encoder.vae), codes, PIXEL)
    starts = encoder.encode(frames)
    far = np.maximum(np.abs(mean) + 3 * std, np.abs(starts).max(0))
    reach = np.ceil(2 * np.maximum(3, far)) / 2
    return Explored(
        {
            "name": name,
            "shape": encoder.spec.shape,
            "mean": mean.round(5).tolist(),
            "std": std.round(5).tolist(),
            "reach": reach.tolist(),
            "order": np.argsort(-std, kind="stable").tolist(),
            "codes": starts.round(5).tolist(),
            "program": program.to_dict(),
            "policy": None if agent is None else policy_of(agent, mean + 2 * std * draws),
        },
        error * 255,
    )


def policy_of(agent: Agent, codes: Array) -> dict[str, Any]:
    """An agent's actions as a function of one code, as after a reset.

    Then the stack holds this code alone and past actions are zero, so that the first layer's
    weights of all S codes are added up.
    """
    modules, squashed = acting_policy(agent)
    first, *rest = of_modules(modules)
    stack, latents = agent.recipe.stack, codes.shape[1]
    seen = first.weight[: stack * latents].reshape(stack, latents, -1).sum(0)  # (Z, units)
    layers: list[Layer] = [first._replace(weight=seen), *rest]
    exact, _ = compact(layers, codes, -math.inf)
    out = exact.run(codes)
    program, _ = compact(layers, codes, SHARE * float(np.ptp(out)))
    space = agent.action_space
    if isinstance(space, gym.spaces.Discrete):
        kind = "values" if agent.recipe.algorithm == "DQN" else "shares"
        names = [f"action {int(space.start) + k}" for k in range(int(space.n))]
        low, high = np.zeros(len(names)), np.ones(len(names))
        shown = [low, high]
        if kind == "values":
            shown = [np.full(len(names), end) for end in (out.min(), out.max())]
    else:
        assert isinstance(space, gym.spaces.Box)
        low, high = (end.astype(np.float64).ravel() for end in (space.low, space.high))
        names = [f"action {k}" for k in range(len(low))] if len(low) > 1 else ["action"]
        kind = "squashed" if squashed else "clipped"
        acts = low + 0.5 * (np.tanh(out) + 1) * (high - low) if squashed else out.clip(low, high)
        room = 0.1 * np.ptp(acts, axis=0)
        shown = [(acts.min(0) - room).clip(low, high), (acts.max(0) + room).clip(low, high)]
    return {
        "kind": kind,
        "discrete": kind in ("values", "shares"),
        "names": names,
        "low": low.tolist(),
        "high": high.tolist(),
        "shown": [end.tolist() for end in shown],
        "program": program.to_dict(),
    }


def strips(
    encoder: Encoder, frame: UInt8Array, latents: Sequence[int] | NDArray[np.int64]
) -> list[str]:
    """Traversals of some latents of a frame as addresses of pictures, one a latent."""
    return [data_uri(row_of(encoder.traverse(frame, int(latent)))) for latent in latents]


def row_of(frames: UInt8Array) -> UInt8Array:
    """Frames (N, H, W, C) beside each other, at most 96 pixels high."""
    if frames.shape[1] > 96:
        frames = np.stack([pictures.at_height(frame, 96) for frame in frames])
    gap = np.full((frames.shape[1], 2, 3), 140, np.uint8)  # seen in light and dark
    parts = [part for frame in pictures.rgb(frames) for part in (frame, gap)]
    return np.concatenate(parts[:-1], axis=1)


HTML = """
<div class="explorer" id="explorer" hidden>
<div class="card stage">
<label class="hint" for="model"{only}>Model</label>
<select id="model" data-is="model"{only}>{options}</select>
<div class="pair">
<figure><img data-is="real" alt=""><figcaption>the real frame</figcaption></figure>
<figure><canvas data-is="canvas" role="img" aria-label="What the decoder makes of the sliders">
</canvas><figcaption>what the decoder makes of the sliders</figcaption></figure>
</div>
<div class="frames" data-is="frames" role="group" aria-label="Real frames to start from"></div>
<div class="buttons">
<button type="button" data-is="back">Back to the frame</button>
<button type="button" data-is="centre">Mean code</button>
<button type="button" data-is="draw">Random code</button>
</div>
<div class="action" data-is="action" hidden>
<strong>The agent's action</strong> <span class="hint" data-is="choice"></span>
<ul data-is="action-bars"></ul>
<p class="hint">In brackets, from where to where a curve's frame reaches.</p>
</div>
<p class="hint" data-is="speed"></p>
</div>
<div>
<ul class="latents" data-is="latents"></ul>
<details data-is="numbers"><summary>The numbers</summary>
<div class="scroll" tabindex="0"><table data-is="table"></table></div></details>
</div>
<template data-is="latent"><li>
<p><label data-part="name"></label><small data-part="note"></small>
<output data-part="value"></output></p>
<svg data-part="chart" viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true"></svg>
<input type="range" data-part="slider">
</li></template>
</div>
"""
