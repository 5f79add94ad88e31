"""A script for Stable-Baselines3 as it was, with VecLatent around its environments.

EvalCallback plays every 5,000 steps and keeps the best model. `Agent.from_sb3` makes an agent of
it, which the commands evaluate, export and report on.
"""

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env

import rl_vae
from rl_vae.sb3 import VecLatent

FRAMES, UPDATES, STEPS = 4_000, 400, 20_000
CODES, VAE, OUT = "runs/cartpole/data", "runs/cartpole/vae", "runs/cartpole/ppo"


def latent_envs(n: int) -> VecLatent:
    """CartPole, drawn, and observed through the VAE: the codes of the last four frames."""
    make = rl_vae.make_env  # as gym.make; the observation is the picture that render() draws
    return VecLatent(make_vec_env(lambda: make("CartPole-v1"), n), VAE, stack=4)


if __name__ == "__main__":
    dataset = rl_vae.collect_frames("CartPole-v1", CODES, n_frames=FRAMES)
    rl_vae.train_vae(dataset, VAE, train_config=rl_vae.TrainConfig(steps=UPDATES))
    n_envs = 4
    callback = EvalCallback(
        latent_envs(2),
        best_model_save_path=OUT,
        log_path=OUT,
        eval_freq=5_000 // n_envs,  # counted in steps of all environments together
        n_eval_episodes=5,
    )
    settings = {"n_steps": 256, "batch_size": 128, "gamma": 0.98, "gae_lambda": 0.9}
    model = PPO("MlpPolicy", latent_envs(n_envs), learning_rate=1e-3, seed=0, **settings)
    model.learn(STEPS, callback=callback)
    print(f"last evaluation of EvalCallback: {callback.last_mean_reward:.0f}")
    agent = rl_vae.Agent.from_sb3(
        PPO.load(f"{OUT}/best_model"),
        VAE,
        rl_vae.Recipe("PPO", STEPS, stack=4, n_envs=n_envs),
        out="runs/cartpole/agent",
        env="CartPole-v1",
    )
    print(f"evaluated on other seeds: {rl_vae.evaluate_agent(agent, episodes=10).mean:.0f}")
