"""The encoder inside the policy: frozen, or trained on by the reward.

`LatentExtractor` makes a CnnPolicy that begins with the VAE's encoder. With fine_tune=True the
policy's loss changes its weights; the VAE's own loss plays no part in that.
"""

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import rl_vae
from rl_vae.sb3 import LatentExtractor

FRAMES, UPDATES, STEPS = 2_000, 300, 4_096
GAME = "own_game:Meet-v0"

if __name__ == "__main__":
    spec = rl_vae.FrameSpec(height=32, width=32)
    dataset = rl_vae.collect_frames(GAME, "runs/meet/data", n_frames=FRAMES, spec=spec)
    training = rl_vae.TrainConfig(steps=UPDATES, batch_size=32)
    rl_vae.train_vae(dataset, "runs/meet/vae", rl_vae.VAEConfig(latent_dim=8), training)
    for fine_tune in (False, True):
        model = PPO(
            "CnnPolicy",
            make_vec_env(lambda: rl_vae.make_env(GAME), 4),
            n_steps=128,
            policy_kwargs={
                "features_extractor_class": LatentExtractor,
                "features_extractor_kwargs": {
                    "encoder": "runs/meet/vae",
                    "fine_tune": fine_tune,
                    "learning_rate": 1e-4 if fine_tune else None,
                },
            },
            seed=0,
        )
        weights = sum(values.numel() for values in model.policy.parameters())
        model.learn(STEPS)
        mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=20)
        word = "fine-tuned" if fine_tune else "frozen"
        print(f"{word:10} {weights:9,} weights in training, mean return {mean:.2f}")
