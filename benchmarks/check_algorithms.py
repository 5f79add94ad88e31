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
HER       all of this again in a goal environment whose goals are pictures, with hindsight
          experience replay; the second table has its cells
"""

import argparse
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import onnxruntime
import torch
from algorithm_games import PUSH, SIDE, STEP  # type: ignore[import-not-found]
from goal_games import DOT, DOT_PUSH  # type: ignore[import-not-found]
from goal_games import SIDE as GOAL_SIDE
from write_algorithms import COLUMNS, page  # type: ignore[import-not-found]

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
    parser.add_argument("--goals", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.train:  # the process that is killed
        name, folder = arguments.train
        train(name, Path(folder), "killed", arguments.steps, arguments.goals)
        return
    rows, goal_rows = {}, {}
    with tempfile.TemporaryDirectory(prefix="algorithms-") as temporary:
        folder, goals = Path(temporary), Path(temporary) / "goals"
        make_model(folder, STEP, FrameSpec(SIDE, SIDE))
        make_model(goals, DOT, FrameSpec(GOAL_SIDE, GOAL_SIDE), image_key="achieved_goal")
        for name in arguments.only or KINDS:
            rows[name] = check(name, folder, arguments.steps)
            rows[name]["HER"] = why_no_hindsight(name)
            if not rows[name]["HER"]:
                goal_rows[name] = check(name, goals, arguments.steps, goals=True)
                rows[name]["HER"] = "FAILED" if has_failed(goal_rows[name]) else "all cells"
            print(f"{name:13}", *(f"{rows[name][column]} |" for column in (*COLUMNS, "HER")))
            if name in goal_rows:
                print("   with HER: ", *(f"{goal_rows[name][column]} |" for column in COLUMNS))
            sys.stdout.flush()
    failed = [name for name, row in rows.items() if has_failed(row)]
    if arguments.write:
        PAGE.write_text(page(rows, goal_rows, arguments.steps, str(__doc__)), "utf-8")
    print(f"{len(rows) - len(failed)} of {len(rows)} algorithms pass in all columns")
    sys.exit(bool(failed))


def has_failed(row: dict[str, str]) -> bool:
    return any("FAILED" in cell for cell in row.values())


def why_no_hindsight(name: str) -> str:
    """Why HER does not apply to an algorithm; "" if it does."""
    if not KINDS[name].has_replay:
        return "no replay buffer"
    return "" if KINDS[name].has_dicts else "no MultiInputPolicy"


def make_model(folder: Path, env: str, spec: FrameSpec, **pixels: Any) -> None:
    """Collect frames of a game and train a VAE."""
    data = collect_frames(
        env, folder / "data", n_frames=512, spec=spec, workers=1, progress=False, **pixels
    )
    config = TrainConfig(steps=150, batch_size=32)
    train_vae(FrameDataset.open(data.path), folder / "model", VAEConfig(4), config, progress=False)


def train(name: str, folder: Path, out: str, steps: int, goals: bool = False) -> Any:
    """Train an agent, or go on with its training."""
    discrete = gym.spaces.Discrete in KINDS[name].actions
    options: dict[str, Any] = {"extras": "goals", "standardise": True} if goals else {}
    moves, pushes = (DOT, DOT_PUSH) if goals else (STEP, PUSH)
    recipe = Recipe(
        name,  # type: ignore[arg-type]
        steps,
        n_envs=2,
        stack=2,
        actions=1,
        hyperparameters=HYPERPARAMETERS[name],
        **options,
    )
    return train_agent(
        moves if discrete else pushes,
        folder / "model",
        folder / out,
        recipe,
        evaluations=1,
        evaluation_episodes=2,
        workers=1,
        progress=False,
    )


def check(name: str, folder: Path, steps: int, goals: bool = False) -> dict[str, str]:
    """Fill the row of an algorithm."""
    path = folder / name
    cells: dict[str, Callable[[], str]] = {
        "train": lambda: f"{train(name, folder, name, steps, goals).steps:,} steps",
        "resume": lambda: kill_and_resume(name, folder, steps, goals),
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


def kill_and_resume(name: str, folder: Path, steps: int, goals: bool) -> str:
    """Kill a training in another process after a checkpoint, and go on here."""
    unfinished = folder / "killed.partial"
    command = [sys.executable, __file__, "--steps", str(steps), "--train", name, str(folder)]
    command += ["--goals"] if goals else []
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
        result = train(name, folder, "killed", steps, goals)
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
    paths = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])
    env, pipeline = gym.make(agent.env_id), agent.make_pipeline(1, raw=True)
    history = {
        value.name: np.zeros([1, *value.shape[1:]], np.float32)
        for value in session.get_inputs()
        if value.name not in (*paths, "first", "mask")
    }
    seen, start, own, state, largest = env.reset(seed=0)[0], True, None, None, 0.0
    for _ in range(decisions):
        # The file
        masks = {}
        if agent.kind.has_masks:
            masks["mask"] = np.asarray(env.unwrapped.action_masks())[None]  # type: ignore[attr-defined]
        images = {
            name: np.asarray(reduce(getitem, path, seen))[None] for name, path in paths.items()
        }
        feed = {**images, "first": np.array([start]), **masks, **history}
        action, *new = session.run(None, feed)
        history = dict(zip(history, new, strict=True))
        # The agent
        extras = {key: seen[key] for key in agent.extras_space or ()}
        raw = [agent.raw_observations(agent.pixels.apply(seen), extras)]
        observed = pipeline.reset(raw, [None]) if start else pipeline.step(raw, own)
        now = observed.now
        if isinstance(now, list):  # with extras: a Dict for each environment
            now = {key: np.stack([row[key] for row in now]) for key in now[0]}
        own, state = agent.predict(now, state, np.array([start]), True, masks.get("mask"))
        right = agent.converter.to_environment(own)
        largest = max(largest, float(np.abs(action - right).max()))
        # The environment
        seen, _, terminated, truncated, _ = env.step(right[0])
        start = bool(terminated or truncated)
        if start:
            seen = env.reset()[0]
    assert largest <= MOST_DIFFERENCE, f"actions differ by {largest:g}"
    return f"{largest:.0e}" if largest else "0"


if __name__ == "__main__":
    main()
