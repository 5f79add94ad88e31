"""What a notebook shows of an Encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from rl_vae.frames import UInt8Array
from rl_vae.models.decoding import DecodingModel
from rl_vae.system import html

_LATENTS, _STEPS = 4, 9
"""Number of latents in the picture, and of decoded frames for each."""


def encoder_html(encoder: DecodingModel) -> str:
    """A table of facts, and decoded frames along the latents that vary most."""
    height, width, channels = encoder.spec.shape
    values = {
        "folder": html.place(encoder.path),
        "code": f"{height} x {width} x {channels} to {encoder.latent_dim} latents",
        **_training(encoder.provenance),
        "digest": html.short(encoder.digest),
    }
    caption = f"Decoded: {_STEPS} values of the {_LATENTS} latents that vary most, the others mean"
    return html.facts("Encoder", values, html.picture(lambda: _traversals(encoder), caption))


def _training(provenance: dict[str, Any]) -> dict[str, object]:
    """Where the model comes from, as far as its folder says so."""
    try:
        if "source" in provenance:
            return {"from": provenance["source"]}
        objective, held_out = dict(provenance["train"]["objective"]), provenance["held_out"]
        return {
            "objective": objective["kind"]
            + "".join(f", beta {beta:g}" for beta in [objective.get("beta")] if beta is not None),
            "trained on": f"{provenance['frames']:,} frames of {provenance['env_id']}, "
            f"{provenance['steps']:,} updates, seed {provenance['seed']}",
            "active latents": held_out["active_units"],
        }
    except (AttributeError, KeyError, TypeError, ValueError):  # a network that was not trained
        return {}


def _traversals(encoder: DecodingModel) -> list[UInt8Array]:
    """A row of frames for each latent."""
    statistics = encoder.statistics
    mean, std = np.array(statistics.latent_mean), np.array(statistics.latent_std)
    latents = np.argsort(std)[::-1][:_LATENTS]
    codes = np.tile(mean, (len(latents), _STEPS, 1))  # (L, steps, Z)
    for row, latent in enumerate(latents):
        codes[row, :, latent] += std[latent] * np.linspace(-2.5, 2.5, _STEPS)
    frames = encoder.decode(codes.reshape(-1, encoder.latent_dim).astype(np.float32))
    return list(frames.reshape(len(latents), _STEPS, *frames.shape[1:]))
