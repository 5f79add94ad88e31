"""export_agent: one file that acts like the agent, without torch."""

import inspect
import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
import numpy as np
import onnx
import pytest
from environments import COUNTING, Moment, frame_of, length_of, refused
from model_files import correct_digests
from numpy.typing import NDArray
from toys import STEERED

from rl_vae import ActionMap, Agent, Encoder, Recipe, export_agent, make_env
from rl_vae.agents.train import train_agent
from rl_vae.envs.image_conversion import ImageConversion
from rl_vae.errors import ConfigError, FolderError
from rl_vae.models.description import read_model_description
from rl_vae.training.result import Trained
from rl_vae.wrappers.history import History

pytestmark = pytest.mark.slow

ONE_AXIS = ActionMap(matrix=((1.5,), (-0.5,)), offset=(0.1, 0.3))
CASES: dict[str, tuple[str, Recipe]] = {
    "PPO, discrete": (COUNTING, replace(little_models.PPO, total_steps=128, frame_skip=2)),
    "PPO, continuous": (STEERED, replace(little_models.PPO, total_steps=128, stack=3)),
    "PPO, mapped": (STEERED, replace(little_models.PPO, total_steps=128, action_map=ONE_AXIS)),
    "SAC": (STEERED, replace(little_models.SAC, total_steps=100, actions=2)),
    "DQN": (COUNTING, replace(little_models.DQN, total_steps=100, stack=1, actions=0)),
}
ALONE = "import sys; sys.modules |= dict.fromkeys(('torch', 'cv2', 'stable_baselines3'))\n"
"""Whatever imports one of them then fails."""


@pytest.fixture(scope="module")
def agents(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained agent of each kind, with its file agent.onnx beside its own."""
    folder = tmp_path_factory.mktemp("agents")
    paths = {}
    for name, (game, recipe) in CASES.items():
        paths[name] = folder / name
        train_agent(game, trained.path, paths[name], recipe, evaluations=0, progress=False)
        out = paths[name] / "new" / "agent.onnx"
        assert export_agent(str(paths[name]), str(out)) == out
        out.rename(paths[name] / "agent.onnx")
    return paths


def raw_frames() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """1,000 raw frames, whole episodes of Counting with noise here and there, and which of them
    begin one."""
    moments = [Moment(s, 0, t) for s in range(150) for t in range(length_of(s, 0) + 1)][:1000]
    frames = np.stack([frame_of(moment) for moment in moments])
    rng = np.random.default_rng(0)
    frames[::3] = rng.integers(0, 256, frames[::3].shape, dtype=np.uint8)
    frames[1::6] &= rng.integers(0, 2, (len(frames[1::6]), 1, 1, 3), dtype=np.uint8) * 255
    return frames, np.array([moment.step == 0 for moment in moments])


def by_sb3(folder: Path, frames: NDArray[np.uint8], first: NDArray[np.bool_]) -> NDArray[Any]:
    """What SB3's own predict does, loaded from agent.zip, on what VecLatent would show it."""
    agent = Agent.load(folder)
    recipe, space = agent.recipe, agent.action_space
    model: Any = agent.kind.load_class().load(folder / "agent.zip", device="cpu")
    mu = agent.encoder.encode_observations(frames)
    history = History(1, agent.encoder.latent_dim, recipe.stack, recipe.actions, space)
    action: Any = None
    actions = []
    for code, begins in zip(mu, first, strict=True):
        if begins:
            history.restart(np.array([0]), code[None])
        else:
            history.push(code[None], action)
        action = model.predict(history.observation(), deterministic=True)[0]
        actions.append(action[0])
    if recipe.action_map is None:
        return np.array(actions)
    return recipe.action_map.apply(np.array(actions), gym.spaces.Box(-1.0, 1.0, (2,)))


def alone(code: str, folder: Path) -> str:
    """What a program prints that can import neither torch nor OpenCV nor SB3."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE + code], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ACT = """
import numpy as np, onnxruntime, json
seen = np.load("seen.npz")
for name in json.loads(open("names.json").read()):
    session = onnxruntime.InferenceSession(name + "/agent.onnx")
    memory = {i.name: np.full([1, *i.shape[1:]], 9, "f4") for i in session.get_inputs()[2:]}
    actions = []
    for frame, first in zip(seen["frames"], seen["first"]):
        feed = {"observation": frame[None], "first": first[None], **memory}
        action, *new = session.run(None, feed)
        memory = dict(zip(memory, new))
        actions.append(action[0])
    np.save(name + "/actions.npy", np.stack(actions))
"""


def test_an_exported_agent_acts_as_sb3_predicts(agents: dict[str, Path]) -> None:
    """On 1,000 raw frames, without torch, discrete actions are those of SB3's
    predict(deterministic=True), continuous ones within 1e-4; whatever was in the memory counts for
    nothing at an episode's start."""
    folder = next(iter(agents.values())).parent
    frames, first = raw_frames()
    np.savez(folder / "seen.npz", frames=frames, first=first)
    (folder / "names.json").write_text(json.dumps(list(agents)))
    alone(ACT, folder)
    for name, agent in agents.items():
        ours, theirs = np.load(agent / "actions.npy"), by_sb3(agent, frames, first)
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert len(np.unique(ours)) > 1, name
        if ours.dtype == np.int64:
            assert np.array_equal(ours, theirs), name
        else:
            assert np.abs(ours - theirs).max() < 1e-4, name


def test_many_environments_act_at_once(agents: dict[str, Path]) -> None:
    """N observations give what each gives alone, whichever of them begin an episode."""
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(agents["SAC"] / "agent.onnx")
    rng = np.random.default_rng(0)
    feed = {
        "observation": raw_frames()[0][:5],
        "first": np.array([True, False, True, False, False]),
        "latents": rng.normal(size=(5, 2, 4)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (5, 2, 2)).astype(np.float32),
    }
    together = session.run(None, feed)
    for i in range(5):
        single = session.run(None, {name: value[i : i + 1] for name, value in feed.items()})
        for one, all_of_them in zip(single, together, strict=True):
            assert np.allclose(one[0], all_of_them[i], atol=1e-5)


@pytest.mark.parametrize("name", ["PPO, discrete", "PPO, mapped", "DQN"])
def test_the_example_plays_as_the_agent_does(agents: dict[str, Path], name: str) -> None:
    """The example in the documentation plays the episode that the agent plays."""
    text = inspect.getdoc(export_agent)
    assert text is not None
    code = textwrap.dedent(text[text.index("    import json") : text.index("\nArgs:")])
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    here = f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n"
    total = float(alone(here + code + "\nprint(total)", agents[name]))
    agent = Agent.load(agents[name])
    env = make_env(agent.env_id, frame_skip=agent.recipe.frame_skip)
    images, rewards, over = [env.reset(seed=0)[0]], 0.0, False
    while not over:
        first = np.arange(len(images)) == 0
        action = by_sb3(agents[name], np.stack(images), first)[-1]
        image, reward, terminated, truncated, _ = env.step(action)
        images, rewards = [*images, image], rewards + float(reward)
        over = terminated or truncated
    assert total == pytest.approx(rewards, abs=1e-4)


def metadata(file: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(file).metadata_props}


def test_a_file_says_what_it_is(agents: dict[str, Path], encoder: Encoder) -> None:
    """Its metadata names environment, actions, digests and versions, and no folder of the machine
    on which the agent was exported."""
    folder = agents["PPO, mapped"]
    facts = metadata(folder / "agent.onnx")
    agent = Agent.load(folder)
    assert (facts["env_id"], facts["agent"], facts["encoder"]) == (
        STEERED,
        agent.digest,
        encoder.digest,
    )
    assert json.loads(facts["action_space"]) == {
        "kind": "Box",
        "low": -1.0,
        "high": 1.0,
        "shape": [2],
        "dtype": "float32",
    }
    assert facts["frame_skip"] == "1" and "numpy" in json.loads(facts["versions"])
    content = (folder / "agent.onnx").read_bytes()
    assert str(folder.parent).encode() not in content and str(Path.home()).encode() not in content
    assert b"site-packages" not in content and b".py" not in content


def test_the_command_replaces_an_earlier_export(
    agents: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`rl-vae export AGENT --out FILE` puts the agent in an older export's place, whole, as the
    function does, and says so."""
    from rl_vae.cli import main

    out = Path(shutil.copy(agents["SAC"] / "agent.onnx", tmp_path))
    main(["export", str(agents["DQN"]), "--out", str(out)])
    assert out.read_bytes() == (agents["DQN"] / "agent.onnx").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["agent.onnx"]
    assert capsys.readouterr().out.startswith(f"{out}: ")


def test_something_else_is_never_overwritten(agents: dict[str, Path], tmp_path: Path) -> None:
    """A folder, another file, or another ONNX model in the place of the output stays as it is."""
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "words.onnx").write_text("mine")
    (tmp_path / "empty.onnx").write_bytes(b"")
    model = (agents["SAC"] / "encoder" / "encoder.onnx").read_bytes()
    (tmp_path / "encoder.onnx").write_bytes(model)
    for name in ("folder", "words", "empty", "encoder"):
        with refused(FolderError, f"{name}.onnx", "something else"):
            export_agent(agents["SAC"], tmp_path / f"{name}.onnx")
    assert (tmp_path / "words.onnx").read_text() == "mine"
    assert (tmp_path / "encoder.onnx").read_bytes() == model


def test_what_cannot_be_exported_is_refused(agents: dict[str, Path], tmp_path: Path) -> None:
    """A missing agent, a model in its place, or a name without .onnx: refused, nothing written."""
    with refused(FolderError, "There is no"):
        export_agent(tmp_path / "nothing", tmp_path / "a.onnx")
    with refused(FolderError):
        export_agent(agents["SAC"] / "encoder", tmp_path / "a.onnx")
    with refused(ConfigError, ".onnx"):
        export_agent(agents["SAC"], tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def with_images(agent: Path, out: Path, **conversion: Any) -> Path:
    """A copy of an agent whose files say, with right digests, that its images are others."""
    shutil.copytree(agent, out)
    first = {"values": None, "clip": False, "small": None, **conversion}
    shape = list(ImageConversion.from_dict(first).output_shape)

    def change(config: dict[str, Any]) -> None:
        config["pixels"]["conversions"] = [first]
        if "observation_shape" in config:
            config["observation_shape"] = shape
        else:
            config["encoder"] = read_model_description(out / "encoder").digest

    correct_digests(out / "encoder", change)
    correct_digests(out, change)
    return out


def test_images_of_a_stranger_are_not_allocated(tmp_path: Path, limited_memory: None) -> None:
    """An agent whose files name images of 2 GB is exported within 1 GiB."""
    shape = (20, 2048, 2048, 3)
    stack = {"shape": shape, "dtype": "float64", "layout": "nhwc", "channels": (57, 60)}
    agent = with_images(little_models.agent("PPO"), tmp_path / "agent", **stack, values=(0.0, 1.0))
    assert export_agent(agent, tmp_path / "agent.onnx").stat().st_size < 2**21


def test_images_too_large_for_a_graph_are_refused(tmp_path: Path) -> None:
    """Images of more than 64 times the height of a frame would need thousands of nodes."""
    images = {"shape": (3000, 64, 3), "dtype": "uint8", "layout": "hwc", "channels": (0, 3)}
    agent = with_images(little_models.agent("PPO"), tmp_path / "agent", **images)
    with refused(ConfigError, "too large to export"):
        export_agent(agent, tmp_path / "agent.onnx")
