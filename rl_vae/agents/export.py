"""export_agent: an agent as one ONNX graph that needs onnxruntime and numpy, and nothing else.

Inputs, N environments at once:

    observation   (N, h, w, c) or (N, h, w) uint8: raw images, as the environment gives them, or
                  as it renders them where it gives none
    first         (N,) bool: whether an episode begins here
    latents       (N, stack, Z) float32: zeros at first, then what the graph gave last
    actions       (N, past actions, A) float32: the same; only where the recipe has past actions

Outputs: `action`, (N, ...) for the environment; `next_latents` and `next_actions`, to be fed back
as `latents` and `actions`. Where `first` is true, those that come in count for nothing: the graph
fills the stack with the first latent and zeroes the actions, as every adapter does.

The file's metadata says what it was made from; `frame_skip` is for how many environment steps each
action is to be held.

Shape letters: N environments, S stack, Z latents, K past actions, A numbers of one action, m of the
environment's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import onnx
import torch
from torch import Tensor, nn

from rl_vae.agents.agent import Agent, space_to_dict
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.onnx import export_graph
from rl_vae.models.preprocessing import Framing
from rl_vae.models.vae import ByteEncoder
from rl_vae.sb3.action_map import ActionMap
from rl_vae.system import files
from rl_vae.system.provenance import package_versions

KIND = "rl_vae exported agent"
FORMAT = "1"


def export_agent(agent: str | Path, out: str | Path) -> Path:
    """Write an agent as one ONNX file: raw observation and history in, action and history out.

    It acts as the agent does without noise. An agent with an action map has its environment
    opened, for the bounds of its actions. To let the file act:

        import gymnasium as gym
        import numpy as np
        import onnxruntime

        session = onnxruntime.InferenceSession("agent.onnx")
        facts = session.get_modelmeta().custom_metadata_map
        env = gym.make(facts["env_id"])
        memory = {i.name: np.zeros([1, *i.shape[1:]], "f4") for i in session.get_inputs()[2:]}
        image, total, step, over = env.reset(seed=0)[0], 0.0, 0, False
        while not over:
            if step % int(facts["frame_skip"]) == 0:
                feed = {"observation": image[None], "first": np.array([step == 0]), **memory}
                action, *new = session.run(None, feed)
                memory = dict(zip(memory, new))
            image, reward, terminated, truncated, _ = env.step(action[0])
            over, total, step = terminated or truncated, total + float(reward), step + 1

    Args:
        agent: Folder of the agent.
        out: The file, NAME.onnx; an earlier export there is replaced.

    Returns:
        The file.

    Raises:
        ConfigError: where `out` does not end in .onnx.
        ArtifactError: where the agent is missing or damaged, or `out` is something else.
        EnvironmentFault: where the environment cannot be opened.
    """
    out = Path(out)
    _check_free(out)
    loaded = Agent.load(agent)
    space = _environment_space(loaded)
    played = _Played(loaded, space)
    examples = {
        "observation": torch.zeros(2, *loaded.encoder.observation_shape, dtype=torch.uint8),
        "first": torch.tensor([True, False]),
        "latents": torch.zeros(2, loaded.recipe.stack, loaded.encoder.latent_dim),
        "actions": torch.zeros(2, loaded.recipe.actions, played.acting.width),
    }
    if loaded.recipe.actions == 0:
        del examples["actions"]
    memory = [name for name in examples if name not in ("observation", "first")]
    metadata = {
        "kind": KIND,
        "format": FORMAT,
        "env_id": loaded.env_id,
        "env_kwargs": json.dumps(loaded.env_kwargs),
        "image_key": json.dumps(loaded.image_key),
        "frame_skip": str(loaded.recipe.frame_skip),
        "action_space": json.dumps(space_to_dict(space)),
        "algorithm": loaded.recipe.algorithm,
        "agent": loaded.digest,
        "encoder": loaded.encoder.digest,
        "versions": json.dumps(package_versions()),
    }
    graph = export_graph(
        played, examples, ["action", *(f"next_{name}" for name in memory)], metadata
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(out, graph)
    return out


class _Played(nn.Module):
    """One decision: framing, encoder, history, policy and action map."""

    def __init__(self, agent: Agent, space: gym.Space[Any]) -> None:
        super().__init__()
        encoder, recipe = agent.encoder, agent.recipe
        self.framing = Framing(encoder.spec, encoder.observation_shape)
        self.encode = ByteEncoder(encoder.torch_vae)
        self.policy, squashed = acting_policy(agent)
        own = agent.action_space
        self.acting = _Pick(own) if isinstance(own, gym.spaces.Discrete) else _Push(own, squashed)
        self.mapping = (
            nn.Identity() if recipe.action_map is None else _Map(recipe.action_map, space)
        )

    def forward(
        self, observation: Tensor, first: Tensor, latents: Tensor, actions: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        mu = self.encode(self.framing(observation)).mu.unsqueeze(1)  # (N, 1, Z)
        fresh = first[:, None, None]
        latents = torch.where(fresh, mu, torch.cat([latents[:, 1:], mu], 1))  # (N, S, Z)
        seen = latents.flatten(1)
        if actions is not None:
            actions = torch.where(fresh, 0.0, actions)  # (N, K, A)
            seen = torch.cat([seen, actions.flatten(1)], 1)
        action, numbers = self.acting(self.policy(seen))
        action = self.mapping(action)
        if actions is None:
            return action, latents
        return action, latents, torch.cat([actions[:, 1:], numbers.unsqueeze(1)], 1)


class _Pick(nn.Module):
    """Discrete actions: the one of the highest value, and its one-hot row."""

    def __init__(self, space: gym.spaces.Discrete) -> None:
        super().__init__()
        self.width, self.start = int(space.n), int(space.start)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) -> (N,) int64 and (N, A) float32."""
        action = values.argmax(1)
        return action, torch.eye(self.width)[action - self.start]


class _Push(nn.Module):
    """Bounded actions: clipped or, where the policy squashes, scaled; and the same in [-1, 1]."""

    def __init__(self, space: gym.Space[Any], squashed: bool) -> None:
        super().__init__()
        assert isinstance(space, gym.spaces.Box)
        self.width, self.shape, self.squashed = int(space.low.size), space.shape, squashed
        self.low, self.high = (
            torch.tensor(end).float().flatten() for end in (space.low, space.high)
        )

    def forward(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """(N, A) -> (N, ...) and (N, A), float32."""
        low, high = self.low, self.high
        if self.squashed:
            action = low + 0.5 * (torch.tanh(mean) + 1.0) * (high - low)
        else:
            action = mean.clamp(low, high)
        width = torch.where(high > low, high - low, 1.0)
        return action.reshape(-1, *self.shape), 2 * (action - low) / width - 1


class _Map(nn.Module):
    """An ActionMap, in float64 as `ActionMap.apply` computes."""

    def __init__(self, action_map: ActionMap, space: gym.Space[Any]) -> None:
        super().__init__()
        assert isinstance(space, gym.spaces.Box)
        self.matrix = torch.tensor(action_map.matrix, dtype=torch.float64)
        self.offset = torch.tensor(action_map.offset, dtype=torch.float64)
        self.low, self.high = (torch.tensor(end).double() for end in (space.low, space.high))

    def forward(self, action: Tensor) -> Tensor:
        """(N, n) of the agent -> (N, m) of the environment."""
        mapped = action.double() @ self.matrix.T + self.offset
        return mapped.clamp(self.low, self.high).float()


def acting_policy(agent: Agent) -> tuple[nn.Module, bool]:
    """What SB3's `predict(deterministic=True)` computes, up to whether it squashes its actions."""
    policy: Any = agent.policy
    match agent.recipe.algorithm:
        case "PPO":
            return nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net), (
                policy.squash_output
            )
        case "SAC":
            return nn.Sequential(policy.actor.latent_pi, policy.actor.mu), True
        case "DQN":
            return policy.q_net.q_net, False


def _environment_space(agent: Agent) -> gym.Space[Any]:
    """What the environment acts in: where actions are mapped, only it knows its bounds."""
    if agent.recipe.action_map is None:
        return agent.action_space
    venv = agent.make_venv(1)
    try:
        space: gym.Space[Any] = venv.unwrapped.action_space
    finally:
        venv.close()
    return space


def _check_free(out: Path) -> None:
    if out.suffix != ".onnx":
        raise ConfigError(
            "An agent is exported as an ONNX file.",
            expected="a name that ends in .onnx",
            got=repr(str(out)),
            remedy="rename it",
        )
    if not out.exists():
        return
    try:
        model = onnx.load(out, load_external_data=False)
        ours = {entry.key: entry.value for entry in model.metadata_props}.get("kind") == KIND
    except Exception:  # protobuf's exceptions have no public base; a folder, a damaged file
        ours = False
    if not ours:
        raise FolderError(
            f"{out} holds something else.",
            expected="a name that is free, or an agent exported before",
            got="a folder" if out.is_dir() else "another file",
            remedy="choose another name, or delete it",
        )
