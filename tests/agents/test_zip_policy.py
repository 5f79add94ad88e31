"""A zip of Stable-Baselines3 as a collection policy: loaded only if the user trusts it."""

import base64
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_games
import pytest
import stable_baselines3
from environments import COUNTING, refused

from rl_vae import FrameDataset, collect_frames
from rl_vae.agents.zip_policy import ZipPolicy
from rl_vae.errors import ConfigError

QUICK: dict[str, dict[str, Any]] = {
    "PPO": {"n_steps": 8, "batch_size": 8},
    "A2C": {},
    "DQN": {"buffer_size": 10},
    "SAC": {"buffer_size": 10},
    "TD3": {"buffer_size": 10},
}
ENV_IDS = {"SAC": little_games.PUSH, "TD3": little_games.PUSH}


def save(name: str, folder: Path) -> Path:
    """A model with random weights that observes raw pictures of 32 x 32."""
    env = gym.make(ENV_IDS.get(name, little_games.LINE))
    policy = {"policy_kwargs": {"net_arch": [8]}, "device": "cpu", **QUICK[name]}
    path = folder / f"{name}.zip"
    getattr(stable_baselines3, name)("MlpPolicy", env, **policy).save(path)
    return path


def collect(out: Path, policy: Any, env_id: str, workers: int = 1) -> FrameDataset:
    """Frames of 64 x 64."""
    return collect_frames(
        env_id, out, n_frames=32, policy=policy, workers=workers, engine="gymnasium", progress=False
    )


@pytest.mark.parametrize("name", QUICK)
def test_a_zip_acts_on_raw_observations(name: str, tmp_path: Path) -> None:
    """A model that observes raw pictures collects, and the dataset says which model it was."""
    path, env_id = save(name, tmp_path), ENV_IDS.get(name, little_games.LINE)
    dataset = collect(tmp_path / "data", ZipPolicy(path, trust=True), env_id)
    policy = dataset.header.policy
    assert (policy["kind"], policy["algorithm"]) == ("sb3", name) and len(policy["sha256"]) == 64


@pytest.mark.slow
def test_workers_do_not_change_the_dataset(tmp_path: Path) -> None:
    """The noise of a model depends on the dataset's seed and the shard alone."""
    policy = ZipPolicy(save("PPO", tmp_path), trust=True)
    digests = {
        collect(tmp_path / str(n), policy, little_games.LINE, workers=n).digest for n in (1, 2)
    }
    assert len(digests) == 1


class Payload:
    """Writes a file if it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def test_a_zip_is_not_unpickled_without_trust(tmp_path: Path) -> None:
    """Without trust nothing in the file runs; with trust it does, as the option says."""
    path, ran = tmp_path / "model.zip", tmp_path / "ran"
    payload = base64.b64encode(pickle.dumps(Payload(ran))).decode()
    data = {"clip_range": {":type:": "<class 'x'>", ":serialized:": payload}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", json.dumps(data))
    for trust in (False, 1, "yes", None):
        with refused(ConfigError, "unpickles", "--trust-zip"):
            ZipPolicy(path, trust=trust)  # type: ignore[arg-type]
    ZipPolicy(path, trust=True)
    assert not ran.exists()  # its description needs no unpickling
    with refused(ConfigError, "cannot be loaded"):
        collect(tmp_path / "data", ZipPolicy(path, trust=True), COUNTING)
    assert ran.exists() and not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK", b"{}"], ids=["missing", "empty", "PK", "{}"])
def test_what_is_no_zip_of_sb3_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """Other files are refused with a way out."""
    if content is not None:
        (tmp_path / "model.zip").write_bytes(content)
    with refused(ConfigError, "no model of Stable-Baselines3", "policy(observation, info)"):
        ZipPolicy(tmp_path / "model.zip", trust=True)


@pytest.mark.parametrize(
    ("env_id", "word"), [(COUNTING, "actions"), (little_games.LINE, "observations")]
)
def test_a_zip_of_another_environment_is_refused(env_id: str, word: str, tmp_path: Path) -> None:
    """Other actions are refused before anything is written, other observations at the first."""
    path = save("PPO", tmp_path)
    kwargs = {"shape": (40, 40, 3)} if word == "observations" else {}
    with refused(ConfigError, f"other {word}"):
        collect_frames(
            env_id,
            tmp_path / "data",
            n_frames=32,
            policy=ZipPolicy(path, trust=True),
            workers=1,
            env_kwargs=kwargs,
            progress=False,
        )
