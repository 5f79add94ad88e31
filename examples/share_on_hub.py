"""Push a model and an agent to the Hugging Face hub, and load them by their ids.

First: pip install "rl-vae[hub]", hf auth login, python examples/own_game.py
Then: python examples/share_on_hub.py YOUR_NAME
"""

import sys

import rl_vae

if __name__ == "__main__":
    name = sys.argv[1]
    for kind in ("vae", "agent"):
        rl_vae.push_folder(f"runs/meet/{kind}", f"{name}/meet-{kind}", private=True)

    # On any machine. Every byte is checked against its digest, and no code of theirs is run.
    encoder = rl_vae.Encoder.load(f"{name}/meet-vae")
    agent = rl_vae.Agent.load(f"{name}/meet-agent")
    print(f"{name}/meet-vae: {encoder.latent_dim} latents, digest {encoder.digest[:12]}")
    print(f"{name}/meet-agent plays {agent.env_id}")
