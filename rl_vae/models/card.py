"""Model card: README.md of a model folder."""

from __future__ import annotations

from typing import Any


def make_card(config: dict[str, Any]) -> str:
    """Write the model card of a config.json.

    Raises:
        KeyError, TypeError, ValueError: if the config does not hold what the card shows.
    """
    spec, provenance = config["spec"], config["provenance"]
    held_out = provenance["held_out"]
    return f"""# Encoder of {provenance["env_id"]}

A {config["vae"]["network"]} VAE with {config["vae"]["latent_dim"]} latents and
{config["vae"]["likelihood"]} likelihood, trained by rl_vae on {provenance["frames"]:,} frames of
{spec["height"]} x {spec["width"]} x {spec["channels"]} (engine {provenance["engine"]}, seed
{provenance["seed"]}, {provenance["steps"]:,} updates).

On held-out frames, nats a frame: loss {held_out["loss"]:.1f}, distortion
{held_out["distortion"]:.1f}, KL {held_out["rate"]:.1f}; mean squared error of a value
{held_out["mse"]:.1f} (range 0 to 255); {held_out["active_units"]} active latents.

```python
import gymnasium as gym
import rl_vae

env = rl_vae.LatentObservation(rl_vae.make_env("{provenance["env_id"]}"), "THIS FOLDER", stack=4)
```
"""
