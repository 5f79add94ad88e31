"""A game of one's own, drawn by render(): collect frames, train a VAE and an agent, evaluate it.

The agent never sees the numbers that `reset` and `step` return, only what `render` draws.
"""

import gymnasium as gym
import numpy as np

import rl_vae

FRAMES, UPDATES, STEPS = 2_000, 300, 12_000
GAME = "own_game:Meet-v0"  # this file and the id: commands and other programs find it, too


class Meet(gym.Env):
    """Move the blue square left or right until it meets the yellow one. Each step costs 0.1."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(0, 7, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.me, self.other = self.np_random.choice(8, 2, replace=False)
        return self.numbers(), {}

    def step(self, action):
        self.me = int(np.clip(self.me + 2 * action - 1, 0, 7))
        met = bool(self.me == self.other)
        return self.numbers(), 1.0 if met else -0.1, met, False, {}

    def numbers(self):
        return np.array([self.me, self.other], np.float32)

    def render(self):
        image = np.full((32, 32, 3), 30, np.uint8)
        image[20:28, 4 * self.me : 4 * self.me + 4] = (60, 160, 250)
        image[4:12, 4 * self.other : 4 * self.other + 4] = (250, 200, 40)
        return image


if __name__ != "__main__":  # whoever opens GAME imports this file
    gym.register("Meet-v0", Meet, max_episode_steps=20)

if __name__ == "__main__":
    spec = rl_vae.FrameSpec(height=32, width=32)
    dataset = rl_vae.collect_frames(GAME, "runs/meet/data", n_frames=FRAMES, spec=spec)
    training = rl_vae.TrainConfig(steps=UPDATES, batch_size=32)
    rl_vae.train_vae(dataset, "runs/meet/vae", rl_vae.VAEConfig(latent_dim=8), training)
    recipe = rl_vae.Recipe("PPO", STEPS, stack=1, hyperparameters={"n_steps": 128})
    rl_vae.train_agent(GAME, "runs/meet/vae", "runs/meet/agent", recipe)
    result = rl_vae.evaluate_agent("runs/meet/agent", episodes=20)
    print(f"mean return {result.mean:.2f}; the shortest way gives 0.80 on average")
