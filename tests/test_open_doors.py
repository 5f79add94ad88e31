"""A user's objective and network: they train from files, and the model needs no code afterwards.

The files are the examples of docs/contributing.
"""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environments import COUNTING, refused

from rl_vae import Encoder, FrameDataset, TrainConfig, VAEConfig, train_classifier, train_vae
from rl_vae.analysis.classifier import Labels
from rl_vae.errors import ConfigError
from rl_vae.models.folder import read_model
from rl_vae.objectives.registry import StoredObjective, objective_from

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs" / "contributing"
SHORT = {"steps": 6, "batch_size": 16}
RECIPE = """
from rl_vae import Recipe

RECIPE = Recipe("PPO", 32, n_envs=1, stack=2, hyperparameters={"n_steps": 16, "batch_size": 16})
"""
USE = """
import sys
from dataclasses import replace
from rl_vae.cli import main

data, model, out = sys.argv[1:]
for command in (
    ["verify", model],
    ["show", model, data, "--out", out + "/pictures"],
    ["score", model, data],
    ["report", model, "--dataset", data, "--out", out + "/page.html"],
    ["train-agent", "{env}", "--encoder", model, "--out", out + "/agent", "--agent", "recipe.py"],
    ["evaluate", out + "/agent", "--episodes", "1"],
    ["export", out + "/agent", "--out", out + "/agent.onnx"],
    ["verify", out + "/agent"],
):
    try:
        main(command)
    except SystemExit as end:
        assert not end.code, command
assert not [name for name in sys.modules if "dip_vae" in name or "small_net" in name]
"""


def example(name: str) -> str:
    """The Python file in a page of the documentation."""
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), flags=re.DOTALL)
    return str(code)


def train(dataset: FrameDataset, folder: Path, out: str, objective: Any, **config: Any) -> Path:
    """Train a model with the network of a file."""
    network = f"{folder}/small_net.py:SmallNet"
    vae_config = VAEConfig(latent_dim=3, network=network, **config)
    train_config = TrainConfig(objective=objective, **SHORT)
    return train_vae(dataset, folder / out, vae_config, train_config, progress=False).path


@pytest.fixture(scope="module")
def folder(dataset: FrameDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both files, and a model "python" that was trained with them from Python."""
    path = tmp_path_factory.mktemp("user")
    (path / "dip_vae.py").write_text(example("add_an_objective.md"))
    (path / "small_net.py").write_text(example("add_a_network.md"))
    train(dataset, path, "python", objective_from(f"{path}/dip_vae.py:DipVaeI", off_diagonal=5.0))
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """The model that was trained from Python."""
    return folder / "python"


def python(*arguments: object, cwd: Path) -> str:
    """Run Python in a folder; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_train_from_the_command_line(
    dataset: FrameDataset, folder: Path, model: Path
) -> None:
    """The command line makes the model that Python makes; an objective's fields are flags."""
    command = "-m rl_vae.cli train-vae DATA --out command --latent-dim 3 --steps 6 --batch-size 16"
    command += " --objective dip_vae.py:DipVaeI --off-diagonal 5 --network small_net.py:SmallNet"
    python(*command.replace("DATA", str(dataset.path)).split(), cwd=folder)
    one, other = Encoder.load(folder / "command"), Encoder.load(model)
    assert one.objective.to_dict() == other.objective.to_dict()
    assert one.vae_config == other.vae_config
    for name, weight in read_model(one.path).weights.items():
        np.testing.assert_array_equal(weight, read_model(model).weights[name])


def test_a_model_is_used_without_its_files(
    dataset: FrameDataset, model: Path, tmp_path: Path
) -> None:
    """verify, show, score, report, train-agent, evaluate and export never import the files."""
    (tmp_path / "recipe.py").write_text(RECIPE)
    (tmp_path / "use.py").write_text(USE.replace("{env}", COUNTING))
    python("use.py", dataset.path, model, tmp_path, cwd=tmp_path)
    assert (tmp_path / "agent" / "encoder" / "decoder.onnx").is_file()
    assert (tmp_path / "page.html").is_file() and (tmp_path / "agent.onnx").is_file()


def test_a_model_plays_from_onnx(dataset: FrameDataset, folder: Path, model: Path) -> None:
    """Encoder and decoder of a model folder give the numbers of the torch modules."""
    encoder, read = Encoder.load(model), read_model(model)
    config = VAEConfig(latent_dim=3, network=f"{folder}/small_net.py:SmallNet")
    vae = replace(read, vae_config=config).build()
    frames = dataset.frames(np.arange(5))
    np.testing.assert_allclose(encoder.encode(frames), vae.encode_frames(frames).mu, atol=1e-4)
    mu = encoder.encode(frames)
    drawn = encoder.decode(mu).astype(int) - vae.decode_frames(vae.encode_frames(frames).mu)
    assert np.abs(drawn).max() <= 1
    assert encoder.sample(2).shape == (2, *dataset.spec.shape)
    assert isinstance(encoder.objective, StoredObjective)


def test_what_needs_torch_modules_is_refused(dataset: FrameDataset, model: Path) -> None:
    """Without its code a network is neither built nor fine-tuned; the error names the class."""
    labels = Labels(np.arange(len(dataset)) % 2, ("even", "odd"))
    encoder = Encoder.load(model)
    for use in (
        read_model(model).build,
        lambda: encoder.torch_vae,
        lambda: Encoder.load(model, runtime="torch"),
        lambda: train_classifier(encoder, dataset, labels, fine_tune=True),
        lambda: train_vae(dataset, model.with_name("next"), start=model, progress=False),
    ):
        with refused(ConfigError, "SmallNet", "FILE.py"):
            use()


def test_a_model_is_trained_further_with_its_file(
    dataset: FrameDataset, folder: Path, model: Path
) -> None:
    """With the network named again, training continues from the model's weights."""
    config = VAEConfig(latent_dim=3, network=f"{folder}/small_net.py:SmallNet")
    train_config = TrainConfig(**SHORT, learning_rate=1e-9)
    trained = train_vae(dataset, folder / "more", config, train_config, start=model, progress=False)
    before, after = read_model(model).weights, read_model(trained.path).weights
    np.testing.assert_allclose(before["decoder.0.weight"], after["decoder.0.weight"], atol=1e-6)


def test_a_deterministic_objective_fixes_the_variance(dataset: FrameDataset, folder: Path) -> None:
    """Log-variances of a user's network are 0 with an autoencoder; a learned sigma is read back."""
    path = train(
        dataset,
        folder,
        "autoencoder",
        objective_from("autoencoder"),
        likelihood="learned_gaussian",
    )
    encoder = Encoder.load(path)
    assert not encoder.encode_posterior(dataset.frames(np.arange(3))).logvar.any()
    assert 0 < float(encoder.vae.sigma) < 1
