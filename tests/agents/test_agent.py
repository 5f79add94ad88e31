"""Agents on disk: strict reading without running code, and the same actions as SB3's load."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import little_models
import numpy as np
import pytest
import safetensors.torch
import torch
from folder_files import flip_random_bits
from little_games import LINE, PUSH, SIDE
from little_models import DQN, PPO, SAC, game_of
from stable_baselines3 import DQN as SB3_DQN
from stable_baselines3 import PPO as SB3_PPO
from stable_baselines3 import SAC as SB3_SAC

from rl_vae.agents.agent import Agent
from rl_vae.agents.recipe import Recipe
from rl_vae.data.collect import collect_frames
from rl_vae.data.policies import PolicyContext
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import training_seeds
from rl_vae.errors import ConfigError, FolderError
from rl_vae.frames import FrameSpec
from rl_vae.sb3 import PixelVecEnv, VecLatent
from rl_vae.system import hashing, strict_json

pytestmark = pytest.mark.slow

ALL: dict[str, tuple[Recipe, Any]] = {
    "PPO": (PPO, SB3_PPO),
    "SAC": (SAC, SB3_SAC),
    "DQN": (DQN, SB3_DQN),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An agent's folder that may be damaged."""
    return Path(shutil.copytree(little_models.agent("PPO"), tmp_path / "agent"))


def observations(agent: Agent, n: int = 200) -> Any:
    """What an agent sees while actions are drawn uniformly."""
    venv = agent.make_venv(1)
    venv.action_space.seed(0)
    seen: list[Any] = [venv.reset()]
    for _ in range(n):
        seen.append(venv.step(np.array([venv.action_space.sample()]))[0])
    venv.close()
    return np.concatenate(seen)


@pytest.mark.parametrize("algorithm", ALL)
def test_an_agent_acts_as_sb3_loads_it(algorithm: str) -> None:
    """The mean actions of Agent.load are bit for bit those of SB3's own load of agent.zip."""
    folder = little_models.agent(algorithm)
    agent = Agent.load(folder)
    theirs = ALL[algorithm][1].load(folder / "agent.zip", device="cpu")
    seen = observations(agent)
    far = np.random.default_rng(0).normal(0, 30, seen.shape).astype(np.float32)
    seen = np.concatenate([seen, far])  # a hardly trained agent does the same thing everywhere
    actions = agent.predict(seen, deterministic=True)[0]
    assert len(np.unique(actions)) > 1
    assert np.array_equal(actions, theirs.predict(seen, deterministic=True)[0])


@pytest.mark.parametrize("algorithm", ALL)
def test_an_agent_says_what_it_was_trained_with(algorithm: str) -> None:
    """A loaded agent knows its recipe, environment and encoder."""
    agent = Agent.load(little_models.agent(algorithm))
    recipe = ALL[algorithm][0]
    assert (agent.recipe, agent.env_id, agent.engine) == (recipe, game_of(recipe), "gymnasium")
    assert agent.encoder.digest == little_models.encoder_digest()


@pytest.mark.parametrize("zip_content", [None, b"not a zip"])
def test_agent_zip_is_never_opened(copy: Path, zip_content: bytes | None) -> None:
    """An agent loads and acts the same if agent.zip is missing or damaged."""
    before = Agent.load(copy)
    (copy / "agent.zip").unlink()
    if zip_content is not None:
        (copy / "agent.zip").write_bytes(zip_content)
    after = Agent.load(copy)
    seen = observations(before, 20)
    assert np.array_equal(*(one.predict(seen, deterministic=True)[0] for one in (before, after)))


@pytest.mark.parametrize("algorithm", ALL)
def test_loading_unpickles_nothing(algorithm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agent.load calls neither pickle nor torch.load."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something was unpickled")

    folder = little_models.agent(algorithm)
    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    Agent.load(folder)


def test_a_copy_of_an_agent_costs_its_path() -> None:
    """A pickled agent is a path, and the copy acts the same."""
    agent = Agent.load(little_models.agent("PPO"))
    pickled = pickle.dumps(agent)
    assert len(pickled) < 500
    again = pickle.loads(pickled)
    seen = observations(agent, 20)
    assert again.digest == agent.digest
    assert np.array_equal(*(one.predict(seen, deterministic=True)[0] for one in (agent, again)))


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(FolderError) as caught:
        Agent.load(folder)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.expected and caught.value.got and caught.value.remedy


@pytest.mark.parametrize("name", ["policy.safetensors", "config.json", "encoder/model.safetensors"])
def test_any_flipped_bit_is_found(copy: Path, name: str) -> None:
    """A flipped bit anywhere in a file that is read is a FolderError."""
    for _ in flip_random_bits(copy / name, 25, seed=0):
        with pytest.raises(FolderError):
            Agent.load(copy)
    Agent.load(copy)


@pytest.mark.parametrize("name", ["policy.safetensors", "config.json", "encoder/config.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "half"])
def test_a_missing_or_torn_file_is_found(copy: Path, name: str, how: str) -> None:
    """A file that is missing or torn is a FolderError."""
    content = (copy / name).read_bytes()
    if how == "missing":
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content[: len(content) // 2 if how == "half" else 0])
    refused(copy, str(copy))


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    """Weights that do not fit the recipe are refused, even if every digest is right."""
    path = copy / "policy.safetensors"
    weights = safetensors.torch.load_file(path)
    name = next(name for name in weights if name.endswith("weight"))
    weights[name] = weights[name][:, :-1].contiguous()
    safetensors.torch.save_file(weights, path)
    rewrite(copy, files={"policy.safetensors": hashing.file_digest(path)})
    refused(copy, "policy.safetensors")


def rewrite(folder: Path, **changes: Any) -> None:
    """Change config.json, its digest with it."""
    config = json.loads((folder / "config.json").read_bytes())
    config.pop("digest")
    config |= changes
    strict_json.write_json(folder / "config.json", {**config, "digest": hashing.digest(config)})


def _first(weights: dict[str, torch.Tensor]) -> str:
    return next(name for name in sorted(weights) if name.endswith("weight"))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda w: w[_first(w)].view(-1)[0].fill_(float("nan")), "finite"),
        (lambda w: w[_first(w)].view(-1)[0].fill_(float("inf")), "finite"),
        (lambda w: w.pop(_first(w)), "the tensors"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra"),
        (lambda w: w.update({_first(w): w[_first(w)].double()}), "float64"),
        (lambda w: w.clear(), "more weights"),
    ],
    ids=["nan", "inf", "missing", "extra", "float64", "empty"],
)
def test_other_weights_are_refused(copy: Path, change: Any, word: str) -> None:
    """Weights that are no numbers, or others than the recipe's, are refused with digests right."""
    path = copy / "policy.safetensors"
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path)
    rewrite(copy, files={"policy.safetensors": hashing.file_digest(path)})
    refused(copy, "policy.safetensors", word)


@pytest.mark.parametrize("how", ["pipe", "link", "pickle", "giant header"])
def test_what_is_no_policy_is_refused_unrun(copy: Path, tmp_path: Path, how: str) -> None:
    """A pipe, a link out of the folder, a pickle and a lying header in the policy's place."""
    path = copy / "policy.safetensors"
    content = path.read_bytes()
    path.unlink()

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "mark"),))

    if how == "pipe":
        os.mkfifo(path)
    elif how == "link":
        (tmp_path / "outside").write_bytes(content)
        path.symlink_to(tmp_path / "outside")
    else:
        giant = (2**40).to_bytes(8, "little") + content[8:]
        path.write_bytes(pickle.dumps(Payload()) if how == "pickle" else giant)
        rewrite(copy, files={"policy.safetensors": hashing.file_digest(path)})
    refused(copy, "policy.safetensors")
    assert not (tmp_path / "mark").exists()


def test_an_encoder_elsewhere_is_refused(copy: Path, tmp_path: Path) -> None:
    """A link in the place of an agent's encoder is not followed out of its folder."""
    shutil.move(copy / "encoder", tmp_path / "outside")
    (copy / "encoder").symlink_to(tmp_path / "outside")
    refused(copy, "a link out of")


@pytest.mark.parametrize(
    "change",
    [
        {"stack": 10**9},
        {"actions": 10**9},
        {"hyperparameters": {"policy_kwargs": {"net_arch": [10**9]}}},
        {"hyperparameters": {"policy_kwargs": {"net_arch": [60_000, 60_000]}}},
        {"hyperparameters": {"policy_kwargs": {"net_arch": [8] * 100_000}}},
        {"hyperparameters": {"policy_kwargs": {"net_arch": "os.system"}}},
        {"hyperparameters": {"policy_kwargs": {"features_extractor_class": "os.system"}}},
        {"hyperparameters": {"policy_kwargs": {"activation_fn": "os.system"}}},
        {"hyperparameters": {"policy_kwargs": 5}},
        {"hyperparameters": {"rollout_buffer_class": "os.system"}},
        {"hyperparameters": {"_init_setup_model": True}},
        {"hyperparameters": {"no_such_argument": 1}},
        {"hyperparameters": {"n_steps": 10**12}, "algorithm": "PPO", "stack": 3},
    ],
    ids=lambda change: str(change)[:60],
)
def test_recipes_that_cost_too_much_or_make_no_policy_are_refused(
    copy: Path, change: dict[str, Any]
) -> None:
    """A recipe that is too expensive is refused before it is built; no class is looked up."""
    recipe = json.loads((copy / "config.json").read_bytes())["recipe"]
    rewrite(copy, recipe={**recipe, **change})
    refused(copy, str(copy))


@pytest.mark.parametrize(
    "space",
    [
        {"kind": "Discrete", "n": 10**12, "start": 0},
        {"kind": "Discrete", "n": "3", "start": 0},
        {"kind": "Box", "low": [0.0], "high": [[1.0]]},
        {"kind": "Box", "low": [1.0], "high": [0.0]},
        {"kind": "Box", "low": ["a"], "high": [1.0]},
        {"kind": "os.system", "low": [0.0], "high": [1.0]},
        [],
    ],
    ids=str,
)
def test_action_spaces_that_are_none_are_refused(copy: Path, space: Any) -> None:
    """Bounds that are none, of another shape or giant are refused."""
    rewrite(copy, action_space=space)
    refused(copy, "config.json")


def test_another_encoder_is_refused(copy: Path) -> None:
    """An agent with another encoder than the one it was trained with is refused."""
    rewrite(copy, encoder="0" * 64)
    refused(copy, "encoder")


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": {}},
        {"recipe": {"algorithm": "PPO", "total_steps": -1}},
        {"action_space": {"kind": "Discrete"}},
        {"files": {}},
        {"format": 99},
        {"kind": "rl_vae encoder"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(copy: Path, changes: dict[str, Any]) -> None:
    """A config.json of another kind or format, or with impossible settings, is refused."""
    rewrite(copy, **changes)
    refused(copy)


def test_an_interrupted_training_is_distinguished_from_a_missing_agent(tmp_path: Path) -> None:
    """If only FOLDER.partial exists, the remedy is to continue the training."""
    refused(tmp_path / "agent", "no such folder", "make one")
    (tmp_path / "agent.partial").mkdir()
    refused(tmp_path / "agent", "interrupted", "again")


def collected(folder: Path, env_id: str, agent: Agent, **changes: Any) -> str:
    arguments = {"n_frames": 120, "spec": FrameSpec(SIDE, SIDE), "workers": 1, "progress": False}
    return collect_frames(env_id, folder, policy=agent, **{**arguments, **changes}).digest


@pytest.mark.parametrize("algorithm", ALL)
def test_an_agent_collects_the_same_frames_again(algorithm: str, tmp_path: Path) -> None:
    """As an exploration an agent gives the same dataset for the same seed, another for another."""
    agent = Agent.load(little_models.agent(algorithm))
    game = game_of(agent.recipe)
    first = collected(tmp_path / "a", game, agent)
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - SB3 draws from it
    assert collected(tmp_path / "b", game, agent) == first
    assert collected(tmp_path / "c", game, agent, seed=1) != first


@pytest.mark.parametrize("algorithm", ALL)
def test_a_collecting_agent_sees_what_it_saw_in_training(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every environment, across the ends of episodes, an agent that collects observes the same
    as with VecLatent, and its actions are taken there."""
    agent = Agent.load(little_models.agent(algorithm))
    game, n_envs, rng = game_of(agent.recipe), 3, np.random.default_rng(0)
    drawn = (
        rng.integers(0, 3, (60, n_envs)) if game == LINE else rng.uniform(-1, 1, (60, n_envs, 1))
    )
    seen: list[Any] = []

    def predict(observations: Any, *rest: Any) -> Any:
        seen.append(observations)
        return drawn[len(seen) - 1], None

    monkeypatch.setattr(agent, "predict", predict)
    arguments: dict[str, Any] = {"engine": "gymnasium", "spec": agent.encoder.spec, "workers": 1}
    engine = make_engine(game, n_envs, **arguments)
    act = agent.start(PolicyContext(engine.action_space, agent.encoder.spec, 1, n_envs, (0,)))
    images, is_first = engine.reset(training_seeds(n_envs, 0, 0)), np.ones(n_envs, np.bool_)
    venv = VecLatent(
        PixelVecEnv(make_engine(game, n_envs, **arguments)),
        agent.encoder,
        stack=agent.recipe.stack,
        actions=agent.recipe.actions,
    )
    expected: Any = venv.reset()
    ended = 0
    for actions in drawn:
        assert np.array_equal(act(images, is_first), actions)
        assert np.allclose(seen[-1], expected, atol=1e-6)
        images, _, terminated, truncated, *_ = engine.step(actions)
        is_first = terminated | truncated
        expected, _, dones, _ = venv.step(actions)
        assert np.array_equal(dones, is_first)
        ended += int(dones.sum())
    assert ended >= 6


def test_worker_processes_act_as_one(tmp_path: Path) -> None:
    """An agent in two worker processes collects the dataset that it collects in this one."""
    agent = Agent.load(little_models.agent("PPO"))
    first = collected(tmp_path / "a", LINE, agent)
    assert collected(tmp_path / "b", LINE, agent, workers=2) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": FrameSpec(SIDE, 64)},
        {"spec": FrameSpec(SIDE, SIDE, crop=(0, 1, 0, 0))},
        {"frame_skip": 2},
        {"env_id": PUSH},
    ],
    ids=str,
)
def test_an_agent_collects_only_what_it_knows(changes: dict[str, Any], tmp_path: Path) -> None:
    """Frames, frame skip or actions that an agent was not trained with are refused, unwritten."""
    agent = Agent.load(little_models.agent("PPO"))
    with pytest.raises(ConfigError) as caught:
        collected(tmp_path / "a", **{"env_id": LINE, "agent": agent, **changes})
    assert caught.value.expected and caught.value.got and caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_names_the_agent_that_collected_it(tmp_path: Path) -> None:
    """The header of a dataset holds the digests of the agent's policy and encoder."""
    agent = Agent.load(little_models.agent("PPO"))
    collected(tmp_path / "a", LINE, agent)
    header = json.loads((tmp_path / "a" / "dataset.json").read_bytes())
    assert header["policy"] == {
        "kind": "agent",
        "policy": agent.digest,
        "encoder": agent.encoder.digest,
    }


def test_mapped_actions_stay_in_the_environments_space(tmp_path: Path) -> None:
    """An agent with an action map collects with actions of the environment, not its own."""
    from rl_vae.agents.train import train_agent
    from rl_vae.sb3 import ActionMap

    mapped = ActionMap(((1.0,), (0.0,), (-3.0,)), (0.0, 0.5, 0.0))
    recipe = Recipe(**{**vars(PPO), "action_map": mapped, "total_steps": 64})
    kwargs = {"axes": 3}
    train_agent(
        PUSH, little_models.model(), tmp_path / "agent", recipe, env_kwargs=kwargs, evaluations=0
    )
    agent = Agent.load(tmp_path / "agent")
    assert agent.recipe.action_map == mapped
    dataset = collect_frames(
        PUSH,
        tmp_path / "data",
        n_frames=64,
        spec=FrameSpec(SIDE, SIDE),
        policy=agent,
        workers=1,
        env_kwargs=kwargs,
        progress=False,
    )
    actions = dataset.steps()["action"]
    assert actions.shape == (64, 3)
    assert np.all(actions[:, 1] == 0.5)
    assert np.allclose(actions[:, 2], np.clip(-3 * actions[:, 0], -1, 1), atol=1e-6)
    assert actions[:, 0].std() > 0.1
