"""Model card: README.md of a model folder."""

from __future__ import annotations

from typing import Any

from rl_vae.system.text import markdown, python_string


def make_card(config: dict[str, Any], folder: str = "THIS FOLDER") -> str:
    """Write the model card of a config.json.

    Args:
        config: Content of config.json.
        folder: What the lines that load the model name: a path or an id of the hub.

    Raises:
        KeyError, TypeError, ValueError: if the config does not hold what the card shows.
    """
    spec, provenance = config["spec"], config["provenance"]
    if "source" in provenance:
        return _foreign_card(spec, provenance, config, folder)
    held_out, env_id = provenance["held_out"], python_string(provenance["env_id"])
    network, likelihood = markdown(config["vae"]["network"]), markdown(config["vae"]["likelihood"])
    engine, seed = markdown(provenance["engine"]), markdown(provenance["seed"])
    return f"""# Encoder of {markdown(provenance["env_id"])}

A {network} VAE with {config["vae"]["latent_dim"]} latents and
{likelihood} likelihood, trained by rl_vae on {provenance["frames"]:,} frames of
{spec["height"]} x {spec["width"]} x {spec["channels"]} (engine {engine}, seed
{seed}, {provenance["steps"]:,} updates).

On held-out frames, nats a frame: loss {held_out["loss"]:.1f}, distortion
{held_out["distortion"]:.1f}, KL {held_out["rate"]:.1f}; mean squared error of a value
{held_out["mse"]:.1f} (range 0 to 255); {markdown(held_out["active_units"])} active latents.

```python
import gymnasium as gym
import rl_vae

env = rl_vae.LatentObservation(rl_vae.make_env({env_id}), "{folder}", stack=4)
```
"""


def _foreign_card(
    spec: dict[str, Any], provenance: dict[str, Any], config: dict[str, Any], folder: str
) -> str:
    shape = " x ".join(str(int(side)) for side in config["observation_shape"])
    return f"""# Encoder {markdown(provenance["source"])}

The encoder {markdown(provenance["source"])} of another project, saved with rl_vae. It maps frames
of {int(spec["height"])} x {int(spec["width"])} x {int(spec["channels"])}, made of observations of
{shape}, to {int(config["vae"]["latent_dim"])} numbers.

```python
import rl_vae

codes = rl_vae.Encoder.load("{folder}").encode_observations(observations)
```
"""
