"""Check what an agent of each algorithm can do, and write docs/algorithms.md.

train     a short training in a small game
resume    a training that is killed (kill -9) goes on from its last checkpoint with the parameters
          that were saved, and ends
save      weights as safetensors, without code
load      the agent is loaded while pickle and torch.load raise
evaluate  mean return of 10 episodes, twice the same
film      pictures of one episode
ONNX      largest difference between an action of the exported file and of the agent, over 200
          decisions in the environment; at most 1e-5
"""

import argparse
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from algorithm_games import PUSH, SIDE, STEP  # type: ignore[import-not-found]

from rl_vae import (
    Agent,
    FrameDataset,
    FrameSpec,
    Recipe,
    TrainConfig,
    VAEConfig,
    collect_frames,
    evaluate_agent,
    export_agent,
    train_agent,
    train_vae,
)
from rl_vae.agents.callback import TrainingCallback
from rl_vae.agents.checkpoint import read_checkpoint
from rl_vae.agents.film import film_agent
from rl_vae.agents.kinds import KINDS
from rl_vae.envs.seeds import evaluation_seeds
from rl_vae.models.state_dict import check_same_state, read_state

PAGE = Path(__file__).resolve().parents[1] / "docs" / "algorithms.md"
COLUMNS = ("train", "resume", "save", "load", "evaluate", "film", "ONNX")
MOST_DIFFERENCE = 1e-5
_NET: dict[str, Any] = {"net_arch": [32]}
_ROLLOUT: dict[str, Any] = {"n_steps": 64, "batch_size": 32, "policy_kwargs": _NET}
_REPLAY: dict[str, Any] = {
    "buffer_size": 2000,
    "learning_starts": 100,
    "batch_size": 32,
    "train_freq": 4,
    "policy_kwargs": _NET,
}
HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "PPO": _ROLLOUT,
    "A2C": {"n_steps": 32, "policy_kwargs": _NET},
    "SAC": _REPLAY,
    "TD3": {**_REPLAY, "action_noise": 0.1},
    "DDPG": {**_REPLAY, "action_noise": 0.1},
    "DQN": _REPLAY,
    "RecurrentPPO": {**_ROLLOUT, "policy_kwargs": {**_NET, "lstm_hidden_size": 16}},
    "TQC": _REPLAY,
    "QRDQN": _REPLAY,
    "TRPO": _ROLLOUT,
    "ARS": {"n_delta": 4, "policy_kwargs": _NET},
    "CrossQ": _REPLAY,
    "MaskablePPO": _ROLLOUT,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="algorithms; default: all")
    parser.add_argument("--steps", type=int, default=800, help="decisions of a training")
    parser.add_argument("--write", action="store_true", help="write docs/algorithms.md")
    parser.add_argument("--train", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.train:  # the process that is killed
        name, folder = arguments.train
        train(name, Path(folder), "killed", arguments.steps)
        return
    rows = {}
    with tempfile.TemporaryDirectory(prefix="algorithms-") as folder:
        make_model(Path(folder))
        for name in arguments.only or KINDS:
            rows[name] = check(name, Path(folder), arguments.steps)
            print(f"{name:13}", *(f"{rows[name][column]} |" for column in COLUMNS), flush=True)
    failed = [name for name, row in rows.items() if any("FAILED" in cell for cell in row.values())]
    if arguments.write:
        PAGE.write_text(page(rows, arguments.steps), "utf-8")
    print(f"{len(rows) - len(failed)} of {len(rows)} algorithms pass in all {len(COLUMNS)} columns")
    sys.exit(bool(failed))


def make_model(folder: Path) -> None:
    """Collect frames of the game and train a VAE."""
    data = collect_frames(
        STEP, folder / "data", n_frames=512, spec=FrameSpec(SIDE, SIDE), workers=1, progress=False
    )
    config = TrainConfig(steps=150, batch_size=32)
    train_vae(FrameDataset.open(data.path), folder / "model", VAEConfig(4), config, progress=False)


def train(name: str, folder: Path, out: str, steps: int) -> Any:
    """Train an agent, or go on with its training."""
    discrete = gym.spaces.Discrete in KINDS[name].actions
    recipe = Recipe(
        name,  # type: ignore[arg-type]
        steps,
        n_envs=2,
        stack=2,
        actions=1,
        hyperparameters=HYPERPARAMETERS[name],
    )
    return train_agent(
        STEP if discrete else PUSH,
        folder / "model",
        folder / out,
        recipe,
        evaluations=1,
        evaluation_episodes=2,
        workers=1,
        progress=False,
    )


def check(name: str, folder: Path, steps: int) -> dict[str, str]:
    """Fill the row of an algorithm."""
    path = folder / name
    cells: dict[str, Callable[[], str]] = {
        "train": lambda: f"{train(name, folder, name, steps).steps:,} steps",
        "resume": lambda: kill_and_resume(name, folder, steps),
        "save": lambda: f"{(path / 'policy.safetensors').stat().st_size:,} bytes",
        "load": lambda: load_without_code(path),
        "evaluate": lambda: evaluate(path),
        "film": lambda: f"{film(path)} pictures",
        "ONNX": lambda: compare_export(path),
    }
    row = {}
    for column, fill in cells.items():
        try:
            row[column] = fill()
        except Exception as error:
            row[column] = f"FAILED: {type(error).__name__}: {error}".replace("\n", " ")[:200]
    return row


def kill_and_resume(name: str, folder: Path, steps: int) -> str:
    """Kill a training in another process after a checkpoint, and go on here."""
    unfinished = folder / "killed.partial"
    command = [sys.executable, __file__, "--steps", str(steps), "--train", name, str(folder)]
    with subprocess.Popen(command) as process:
        while not (unfinished / "checkpoint" / "state.json").is_file():
            assert process.poll() is None, "the training ended before it was killed"
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
    checkpoint = next(
        path for end in ("", ".old") if (path := unfinished / f"checkpoint{end}").is_dir()
    )
    saved = read_state(checkpoint / "model.bin")["parameters"]
    at, resumed = read_checkpoint(checkpoint)["steps"], []
    resume = TrainingCallback.resume

    def watched(callback: TrainingCallback, model: Any) -> None:
        resume(callback, model)
        resumed.append(model.num_timesteps)
        ours = model.get_parameters()
        check_same_state("parameters", saved, ours)
        for key, value in saved["policy"].items():
            assert torch.equal(value, ours["policy"][key]), key

    with mock.patch.object(TrainingCallback, "resume", watched):
        result = train(name, folder, "killed", steps)
    assert resumed == [at] and result.steps >= steps
    Agent.load(result.path)
    result.path.rename(folder / f"killed-{name}")
    return f"at {at:,}"


def load_without_code(path: Path) -> str:
    """Load an agent while everything that could run code raises."""
    refuse = mock.Mock(side_effect=AssertionError("something was unpickled"))
    names = ("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load")
    assert pickle.loads is not refuse
    patches = [mock.patch(name, refuse) for name in names]
    for patch in patches:
        patch.start()
    try:
        Agent.load(path)
    finally:
        for patch in patches:
            patch.stop()
    return "no code"


def evaluate(path: Path) -> str:
    first, second = (evaluate_agent(path, episodes=10, workers=1) for _ in range(2))
    assert np.array_equal(first.returns, second.returns)
    return f"{first.mean:.1f} ({first.ci_low:.1f} to {first.ci_high:.1f})"


def film(path: Path) -> int:
    return len(film_agent(Agent.load(path), seed=evaluation_seeds(1)[0]).images)


def compare_export(path: Path, decisions: int = 200) -> str:
    """Largest difference of an action of the exported file from the agent's."""
    agent = Agent.load(path)
    file = export_agent(path, path.with_suffix(".onnx"))
    session: Any = onnxruntime.InferenceSession(str(file))
    env, pipeline = gym.make(agent.env_id), agent.make_pipeline(1, raw=True)
    names = [value for value in session.get_inputs() if value.name not in ("observation", "first")]
    history = {
        value.name: np.zeros([1, *value.shape[1:]], np.float32)
        for value in names
        if value.name != "mask"
    }
    image, start, own, state, largest = env.reset(seed=0)[0], True, None, None, 0.0
    for _ in range(decisions):
        # The file
        mask = np.asarray(env.unwrapped.action_masks())[None]  # type: ignore[attr-defined]
        masks = {"mask": mask} if agent.kind.has_masks else {}
        feed = {"observation": image[None], "first": np.array([start]), **masks, **history}
        action, *new = session.run(None, feed)
        history = dict(zip(history, new, strict=True))
        # The agent
        observed = pipeline.reset([image], [None]) if start else pipeline.step([image], own)
        named = mask if masks else None
        own, state = agent.predict(observed.now, state, np.array([start]), True, named)
        right = agent.converter.to_environment(own)
        largest = max(largest, float(np.abs(action - right).max()))
        # The environment
        image, _, terminated, truncated, _ = env.step(right[0])
        start = bool(terminated or truncated)
        if start:
            image = env.reset()[0]
    assert largest <= MOST_DIFFERENCE, f"actions differ by {largest:g}"
    return f"{largest:.0e}" if largest else "0"


def page(rows: dict[str, dict[str, str]], steps: int) -> str:
    """The page docs/algorithms.md."""
    head = ("algorithm", "library", "actions", *COLUMNS)
    lines = [
        "# Algorithms",
        "",
        "Written by `python benchmarks/check_algorithms.py --write`. Each agent was trained for",
        f"{steps:,} decisions in a small game, seed 0. The columns are:",
        "",
        *(line for line in str(__doc__).splitlines()[2:] if line),
        "",
        f"| {' | '.join(head)} |",
        f"|{' --- |' * len(head)}",
    ]
    for name, row in rows.items():
        kind = KINDS[name]
        library = "stable_baselines3" if kind.library == "stable_baselines3" else "sb3_contrib"
        actions = ", ".join(space.__name__ for space in kind.actions)
        cells = (name, library, actions, *(row[column] for column in COLUMNS))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *CLOSING, ""])


CLOSING = (
    "The algorithms of sb3_contrib need `pip install 'rl-vae[contrib]'`. MaskablePPO needs an",
    "environment, or a wrapper around it, with a method `action_masks()`; its file takes the mask",
    "as an input. RecurrentPPO's file has its state as inputs and outputs. A training that was",
    "interrupted goes on in new episodes and with new random numbers.",
    "",
    "Left out: SBX, whose policies are parameters of JAX: they would need a second way to save",
    "policies, and a second exporter. HER: its replay buffer computes rewards of new goals with",
    "the environment's `compute_reward`, which takes images, and the buffer holds latents.",
)


if __name__ == "__main__":
    main()
