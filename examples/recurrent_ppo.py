"""RecurrentPPO of sb3_contrib on single codes: the LSTM has to find the velocity by itself.

`pip install 'rl-vae[contrib]'`. A single picture of CartPole has no velocity. The other examples
stack four codes; here `stack=1`, and the memory of the policy takes the place of the stack.
"""

from sb3_contrib import RecurrentPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

import rl_vae
from rl_vae.sb3 import VecLatent

FRAMES, UPDATES, STEPS = 4_000, 400, 20_000

if __name__ == "__main__":
    dataset = rl_vae.collect_frames("CartPole-v1", "runs/cartpole/data", n_frames=FRAMES)
    training = rl_vae.TrainConfig(steps=UPDATES)
    rl_vae.train_vae(dataset, "runs/cartpole/vae", train_config=training)
    games = make_vec_env(lambda: rl_vae.make_env("CartPole-v1"), 4)
    venv = VecLatent(games, "runs/cartpole/vae", stack=1, standardise=True)
    model = RecurrentPPO(
        "MlpLstmPolicy",
        venv,
        n_steps=128,
        batch_size=128,
        learning_rate=1e-3,
        policy_kwargs={"lstm_hidden_size": 64},
        seed=0,
    )
    before, _ = evaluate_policy(model, venv, n_eval_episodes=8)
    model.learn(STEPS)
    after, _ = evaluate_policy(model, venv, n_eval_episodes=8)
    print(f"mean return {before:.0f} before the training, {after:.0f} after {STEPS:,} steps")
