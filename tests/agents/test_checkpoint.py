"""Checkpoints of agents: one with right digests and other content is refused, not used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from environments import refused
from stable_baselines3 import PPO

from rl_vae.agents.checkpoint import CheckedPolicy, load_checkpoint, save_checkpoint
from rl_vae.errors import FolderError
from rl_vae.models.state_dict import pack_state, unpack_state
from rl_vae.system import hashing

Change = Callable[[dict[str, Any], dict[str, Any]], object]


def make_algorithm() -> PPO:
    """A small algorithm with moments in its optimizer."""
    policy = {"net_arch": [4]}
    model = PPO("MlpPolicy", "CartPole-v1", 1e-3, 8, 8, 1, policy_kwargs=policy, device="cpu")
    return model.learn(8)


def rewrite(folder: Path, change: Change) -> None:
    """Change a checkpoint's parameters and its state.json, and correct all digests."""
    parts = unpack_state((folder / "model.bin").read_bytes())
    state = json.loads((folder / "state.json").read_bytes())
    change(parts["parameters"], state)
    (folder / "model.bin").write_bytes(pack_state(parts))
    body = {name: value for name, value in state.items() if name != "digest"}
    body["files"] = {"model.bin": hashing.file_digest(folder / "model.bin")}
    body["digest"] = hashing.digest(body)
    (folder / "state.json").write_bytes(hashing.canonical_json(body))


CHANGES: dict[str, Change] = {
    "steps as text": lambda _, state: state.update(steps="8"),
    "steps below 0": lambda _, state: state.update(steps=-8),
    "seconds missing": lambda _, state: state.pop("seconds"),
    "no policy": lambda parts, _: parts.pop("policy"),
    "other type": lambda parts, _: parts["policy"].update(
        {"action_net.bias": torch.zeros(2, dtype=torch.int64)}
    ),
    "rate as text": lambda parts, _: parts["policy.optimizer"]["param_groups"][0].update(lr="x"),
    "eps as text": lambda parts, _: parts["policy.optimizer"]["param_groups"][0].update(eps="x"),
    "moments of another shape": lambda parts, _: parts["policy.optimizer"]["state"][0].update(
        exp_avg=torch.zeros(1)
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_signed_but_strange_checkpoints(tmp_path: Path, change: Change) -> None:
    """A checkpoint with correct digests, but with other content, is refused by its name."""
    model = make_algorithm()
    save_checkpoint(tmp_path, model, 1.0)
    assert load_checkpoint(tmp_path, model) == (1.0, None)
    rewrite(tmp_path / "checkpoint", change)
    with refused(FolderError, "is damaged", "train from the beginning"):
        load_checkpoint(tmp_path, model)


def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too few descriptors the remedy is another limit, not to delete the training."""
    model = make_algorithm()
    save_checkpoint(tmp_path, model, 1.0)

    def fails(*_: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("rl_vae.agents.checkpoint.read_checkpoint", fails)
    with refused(FolderError, "could not be read", "ulimit -n"):
        load_checkpoint(tmp_path, model)


def test_a_strange_check_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    """A check with other types or weights of other shapes makes a checkpoint damaged."""
    model = make_algorithm()
    policy: dict[str, torch.Tensor] = dict(model.policy.state_dict())
    save_checkpoint(tmp_path, model, 1.0, CheckedPolicy(8, 2.5, policy, (2.0, 3.0)))
    chosen = load_checkpoint(tmp_path, model).chosen
    assert chosen is not None and (chosen.steps, chosen.mean_return) == (8, 2.5)
    assert chosen.returns == (2.0, 3.0)
    wrong_ones: Any = [
        CheckedPolicy(8, 2.5, {**policy, "action_net.bias": torch.zeros(7)}, (2.5,)),
        CheckedPolicy("8", 2.5, policy, (2.5,)),  # type: ignore[arg-type]
        CheckedPolicy(8, None, policy, (2.5,)),  # type: ignore[arg-type]
        CheckedPolicy(8, 2.5, policy, ()),
        CheckedPolicy(8, 2.5, policy, ("2.5",)),  # type: ignore[arg-type]
    ]
    for wrong in wrong_ones:
        save_checkpoint(tmp_path, model, 1.0, wrong)
        with refused(FolderError, "is damaged"):
            load_checkpoint(tmp_path, model)
