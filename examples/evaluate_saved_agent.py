"""Load a saved agent, and evaluate it in two ways. First: python examples/own_game.py

`evaluate_agent` plays seeds that nothing was trained on, and gives an interval.
Stable-Baselines3's `evaluate_policy` works, too: an agent predicts like a model.
"""

from stable_baselines3.common.evaluation import evaluate_policy

import rl_vae

EPISODES = 50

if __name__ == "__main__":
    agent = rl_vae.Agent.load("runs/meet/agent")
    print(f"{agent}: digest {agent.digest[:12]}, encoder {agent.encoder.digest[:12]}")
    for deterministic in (True, False):
        result = rl_vae.evaluate_agent(agent, episodes=EPISODES, deterministic=deterministic)
        word = "best actions" if deterministic else "sampled actions"
        print(f"{word}: {result.mean:.2f} ({result.ci_low:.2f} to {result.ci_high:.2f})")
    venv = agent.make_venv(4)
    mean, std = evaluate_policy(agent, venv, n_eval_episodes=EPISODES)
    venv.close()
    print(f"evaluate_policy: {mean:.2f} +/- {std:.2f}")
