"""export_agent: an agent as one ONNX file that needs onnxruntime and numpy only.

Inputs, for N environments:

    observation       (N, ...) raw images that the environment observes or, if the metadata `pixels`
                      is "render", renders; the graph holds their conversion
    observation.PATH  instead, if the environment's observation is a Dict or Tuple: its entries that
                      the agent observes, (N, ...), images first; the metadata `inputs` maps each
                      input to its keys. The picture of a goal is such an entry
    first             (N,) bool: whether an episode starts
    latents           (N, stack, width of a code) float32: zeros, then the last `next_latents`
    actions           (N, past actions, width of an action) float32: zeros, then the last
                      `next_actions`; only if the recipe has past actions

    hidden, cell      (N, layers, units) float32: zeros, then the last `next_hidden` and
                      `next_cell`; only if the policy is recurrent (RecurrentPPO)
    mask              (N, number of actions) bool, after `first`: the environment's action_masks();
                      only for MaskablePPO

Outputs: `action`, (N, ...) actions for the environment; `next_latents` and so on for each part of
the history. If `first` is true, the history is not used: the graph fills the stack with the first
code and sets past actions, `hidden` and `cell` to zero, as every wrapper does.

The metadata describe the agent: `pixels` and `conversion` say where its pixels come from,
`env_kwargs` are the arguments of `gymnasium.make`, `frame_skip` is the number of environment steps
for which an action is repeated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import torch

from rl_vae.agents.agent import Agent
from rl_vae.agents.encoding_graph import encoding_graph
from rl_vae.agents.graph import MEMORY, DecisionGraph
from rl_vae.agents.observed_extras import leaf_spaces, observed_extras
from rl_vae.agents.spaces import space_to_dict
from rl_vae.constraints import check_arguments
from rl_vae.envs.pixel_source import PixelSource
from rl_vae.errors import ConfigError
from rl_vae.models.exported_file import (
    check_reduction,
    check_target,
    image_inputs,
    write_export,
)
from rl_vae.models.onnx import export_graph
from rl_vae.models.onnx_graphs import connect, read_graph
from rl_vae.system.json_values import encode_values
from rl_vae.system.outputs import output_path
from rl_vae.system.provenance import package_versions

KIND = "rl_vae exported agent"
FORMAT = "1"


@check_arguments
def export_agent(agent: str | Path, out: str | Path) -> Path:
    """Write an agent as one ONNX file: raw observation and history in, action and history out.

    The file acts like the agent without noise. This loop runs it in the environment:

        import json
        from functools import reduce
        from operator import getitem

        import gymnasium as gym
        import numpy as np
        import onnxruntime

        session = onnxruntime.InferenceSession("agent.onnx")
        facts, inputs = session.get_modelmeta().custom_metadata_map, session.get_inputs()
        paths = json.loads(facts["inputs"])
        memory = {i.name: np.zeros([1, *i.shape[1:]], "f4") for i in inputs[len(paths) + 1 :]}
        env = gym.make(facts["env_id"], **json.loads(facts["env_kwargs"]))
        seen, total, step, over = env.reset(seed=0)[0], 0.0, 0, False
        while not over:
            if step % int(facts["frame_skip"]) == 0:
                shown = env.render() if facts["pixels"] == "render" else seen
                feed = {n: np.array(reduce(getitem, p, shown))[None] for n, p in paths.items()}
                action, *new = session.run(None, {**feed, "first": np.array([step == 0]), **memory})
                memory = dict(zip(memory, new))
            seen, reward, terminated, truncated, _ = env.step(action[0])
            over, total, step = terminated or truncated, total + float(reward), step + 1

    Args:
        agent: Folder of the agent.
        out: The file, NAME.onnx; an earlier export is replaced.

    Returns:
        The file.

    Raises:
        ConfigError: if `out` does not end in .onnx, the agent's code is "sample", or
            if a raw image has more than 64 times the height or width of a frame.
        FolderError: if the agent is missing or damaged, or `out` is something else or cannot be
            written.
    """
    out = output_path(out)
    check_target(out, KIND)
    loaded = Agent.load(agent)
    if loaded.recipe.code == "sample":
        raise ConfigError(
            "An agent that observes sampled latents cannot be exported.",
            expected='code="mu" or code="mu_logvar", without noise',
            got='code="sample"',
            remedy='train an agent with code="mu"',
        )
    for source in _sources(loaded):
        check_reduction(source, loaded.encoder.spec)
    write_export(out, _merge(loaded))
    return out


def _merge(agent: Agent) -> bytes:
    """Connect preprocessing, the model folder's encoder.onnx and the agent's decision."""
    encoder = agent.encoder
    extras = {f"observation.{name}": space for name, space in leaf_spaces(observed_extras(agent))}

    # Preprocessing and encoder: raw images -> posterior, or the means of image and goals.
    encoded = encoding_graph(encoder, _sources(agent))
    goals = [f"goal_{key}" for key in agent.goal_sources]
    posteriors = {"mu": "agent_mu", "logvar": "agent_logvar"}
    if goals:
        posteriors = {f"mu_{i}": name for i, name in enumerate(["agent_mu", *goals])}

    # Decision: posterior, history and extras -> action and history.
    fields = agent.fields
    mu, logvar = torch.zeros(2, 2, encoder.latent_dim)
    history = {"latents": torch.zeros(2, fields.stack, fields.code_width)}
    if fields.actions:
        history["actions"] = torch.zeros(2, fields.actions, fields.action_width)
    parts = agent.kind.parts(agent.policy)
    if parts.memory is not None:
        shape = (2, parts.memory.num_layers, parts.memory.hidden_size)
        history |= {name: torch.zeros(shape) for name in MEMORY}
    masks = {}
    if agent.kind.has_masks:
        n_actions = sum(gym.spaces.flatten_space(agent.action_space).shape or ())
        masks["mask"] = torch.ones(2, n_actions, dtype=torch.bool)
    inputs = {
        **{"agent_mu": mu, "agent_logvar": logvar, "first": torch.tensor([True, False])},
        **history,
        **{name: _example(space) for name, space in extras.items()},
        **{name: torch.zeros_like(mu) for name in goals},
        **masks,
    }
    outputs = ["action", *(f"next_{name}" for name in history)]
    decision = read_graph(export_graph(DecisionGraph(agent), inputs, outputs), "decision_")

    # One graph of the three, with the inputs in the documented order.
    used = {name: other for name, other in posteriors.items() if _takes(decision, other)}
    model = connect(encoded, decision, used, outputs)
    by_name = {value.name: value for value in model.graph.input}
    ordered = [
        by_name[name] for name in (*_image_inputs(agent), *extras, "first", *masks, *history)
    ]
    del model.graph.input[:]
    model.graph.input.extend(ordered)
    onnx.helper.set_model_props(model, _metadata(agent))
    return bytes(model.SerializeToString(deterministic=True))


def _sources(agent: Agent) -> list[PixelSource]:
    """Where the agent's images are: that of the environment, then its goals."""
    return [agent.pixels, *agent.goal_sources.values()]


def _image_inputs(agent: Agent) -> dict[str, list[str | int]]:
    """Keys of each image in an observation, by the name of its input."""
    return {name: keys for one in _sources(agent) for name, keys in image_inputs(one).items()}


def _extra_inputs(agent: Agent) -> dict[str, list[str | int]]:
    """Keys of each extra in an observation, by the name of its input."""
    observed = observed_extras(agent)
    extras = {} if observed is None else observed.spaces
    return {
        f"observation.{leaf}": [*agent.pixels.path_of(name), *leaf[len(name) + 1 :].split(".")]
        if leaf != name
        else [*agent.pixels.path_of(name)]
        for name, space in extras.items()
        for leaf, _ in leaf_spaces(space, name)
    }


def _example(space: Any) -> torch.Tensor:
    """Two values of an extra, (2, ...)."""
    value = np.zeros(space.shape, space.dtype) + getattr(space, "start", 0)
    return torch.from_numpy(np.stack([value, value]).astype(space.dtype))


def _takes(model: onnx.ModelProto, name: str) -> bool:
    """Whether a graph has an input; the exporter leaves out what is not used."""
    return any(value.name == name for value in model.graph.input)


def _metadata(agent: Agent) -> dict[str, str]:
    """Description of the agent that the file contains."""
    rendering = {"render_mode": "rgb_array"} if agent.pixels.pixels == "render" else {}
    return {
        "kind": KIND,
        "format": FORMAT,
        "env_id": agent.env_id,
        "env_kwargs": json.dumps(encode_values({**agent.env_kwargs, **rendering})),
        "pixels": agent.pixels.pixels,
        "image_key": json.dumps(agent.pixels.key),
        "conversion": agent.pixels.describe(),
        "inputs": json.dumps({**_image_inputs(agent), **_extra_inputs(agent)}),
        "frame_skip": str(agent.recipe.frame_skip),
        "action_space": json.dumps(space_to_dict(agent.environment_action_space)),
        "algorithm": agent.recipe.algorithm,
        "agent": agent.digest,
        "encoder": agent.encoder.digest,
        "versions": json.dumps(package_versions()),
    }
