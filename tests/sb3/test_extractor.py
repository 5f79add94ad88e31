"""LatentExtractor: the artifact's own latents in every policy, trained only where it should be."""

import io
import shutil
import weakref
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_games
import numpy as np
import pytest
import torch
from environments import Counting, refused
from little_games import Line
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecFrameStack
from toys import Showing

from rl_vae import Encoder
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.sb3 import LatentExtractor
from rl_vae.training.result import Trained

ONCE = {"learning_starts": 8, "batch_size": 8, "train_freq": 12, "gradient_steps": 1}
ALGORITHMS: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "PPO": (PPO, False, {"n_steps": 12, "batch_size": 12, "n_epochs": 1}),
    "SAC": (SAC, True, {**ONCE, "buffer_size": 300, "tau": 0.25}),
    "DQN": (DQN, False, {**ONCE, "buffer_size": 300, "tau": 0.25, "target_update_interval": 12}),
}
"""Each with whether it pushes, and settings under which twelve steps make one update."""


def agent(name: str, path: Any = None, **changes: Any) -> Any:
    """An agent with a LatentExtractor; changes are arguments of that, or of the algorithm."""
    kind, push, arguments = ALGORITHMS[name]
    own = {key: changes.pop(key) for key in ("fine_tune", "learning_rate") if key in changes}
    rate = changes.pop("policy_rate", 1e-2)
    kwargs = {
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": str(path or little_games.model()), **own},
        "net_arch": [8],
        **changes.pop("policy_kwargs", {}),
    }
    arguments = {**arguments, "seed": 0, "device": "cpu", "learning_rate": rate, **changes}
    env = arguments.pop("env", None) or DummyVecEnv([lambda: Line(push)])
    return kind("CnnPolicy", env, policy_kwargs=kwargs, **arguments)


def extractors(model: Any) -> dict[str, LatentExtractor]:
    """All of a policy's extractors, by where they are."""
    found = {
        name: module
        for name, module in model.policy.named_modules()
        if isinstance(module, LatentExtractor)
    }
    assert found
    return found


def weights(extractor: LatentExtractor) -> dict[str, torch.Tensor]:
    """Copies of what its encoder computes with."""
    state = extractor._unregistered[1].state_dict()
    return {name: value.clone() for name, value in state.items()}


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def of_artifact(path: Path) -> dict[str, torch.Tensor]:
    state = Encoder.load(path).vae.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("decoder.")}


def features(model: Any, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a policy makes of observations as environments give them."""
    policy = getattr(model.policy, "actor", getattr(model.policy, "q_net", model.policy))
    with torch.no_grad():
        seen = policy.extract_features(
            model.policy.obs_to_tensor(observations)[0], policy.features_extractor
        )
    made: NDArray[np.float32] = seen.numpy()
    return made


def shown(env: VecEnv, steps: int = 12) -> NDArray[np.uint8]:
    """What an environment shows."""
    env.seed(3)
    seen = [env.reset()]
    seen += [env.step(np.array([env.action_space.sample()]))[0] for _ in range(steps)]
    return np.concatenate(seen)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize_images", [True, False])
@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_features_are_the_encoders_latents(
    name: str, normalize_images: bool, trained: Trained, encoder: Encoder
) -> None:
    """Whoever scales the pixels, features equal encode(true frame): colours in their order."""
    env = DummyVecEnv([Counting])
    model = agent(name, trained.path, env=env, policy_kwargs={"normalize_images": normalize_images})
    images = shown(env)
    right = encoder.encode_observations(images)
    assert np.abs(features(model, images) - right).max() < 1e-5
    assert np.abs(features(model, images[..., ::-1].copy()) - right).max() > 1e-2


def test_stacked_images_are_encoded_one_by_one(trained: Trained, encoder: Encoder) -> None:
    """k stacked images become the k latents of each, the oldest first."""
    env = VecFrameStack(DummyVecEnv([Counting]), 3)
    model = agent("PPO", trained.path, env=env)
    images = shown(env)
    parts = np.split(images, 3, axis=-1)
    right = np.concatenate([encoder.encode_observations(part) for part in parts], axis=1)
    made = features(model, images)
    assert made.shape == right.shape and np.abs(made - right).max() < 1e-5
    assert np.abs(right[5, :4] - right[5, 8:]).max() > 1e-3


def test_frames_are_taken_as_they_are(
    trained: Trained, encoder: Encoder, frames: NDArray[np.uint8]
) -> None:
    """Images of the frame's size and not the raw one's are not resized again."""
    model = agent("PPO", trained.path, env=DummyVecEnv([lambda: Showing(frames[0])]))
    assert np.abs(features(model, frames) - encoder.encode(frames)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("PPO", {"n_steps": 200, "batch_size": 100}),
        ("SAC", {"train_freq": 20, "gradient_steps": 1}),
    ],
)
def test_a_frozen_encoder_stays_as_it_is(name: str, changes: dict[str, Any]) -> None:
    """After 2,000 steps every frozen weight is the artifact's, as is the artifact's digest, and no
    weight of the VAE is among the policy's."""
    path = little_games.model()
    model = agent(name, **changes)
    model.learn(2_000)
    found = extractors(model)
    assert {extractor.features_dim for extractor in found.values()} == {4}
    assert all(equal(weights(extractor), of_artifact(path)) for extractor in found.values())
    assert not any(list(extractor.parameters()) for extractor in found.values())
    assert not any(extractor._unregistered[1].training for extractor in found.values())
    assert Encoder.load(path).digest == little_games.encoder_digest()
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    right = Encoder.load(path).encode_observations(image)
    assert np.abs(features(model, image) - right).max() < 1e-5


@pytest.mark.parametrize("name", ALGORITHMS)
def test_fine_tuning_starts_from_the_artifact(name: str) -> None:
    """Before the first update every copy holds the artifact's weights: PPO's orthogonal
    initialisation does not reach them, though it reaches the rest."""
    model = agent(name, fine_tune=True)
    right = of_artifact(little_games.model())
    assert all(equal(weights(extractor), right) for extractor in extractors(model).values())
    if name == "PPO":
        assert model.policy.ortho_init and not model.policy.action_net.bias.any()


def changed(model: Any, steps: int = 12) -> dict[str, float]:
    """The largest change of a weight of each encoder, and of everything else, in some steps."""
    found = extractors(model)
    before = {name: weights(extractor) for name, extractor in found.items()}
    rest = {
        name: value.detach().clone()
        for name, value in model.policy.named_parameters()
        if ".vae." not in name and "target" not in name
    }
    model.learn(steps, reset_num_timesteps=False)
    after = {name: weights(extractor) for name, extractor in found.items()}
    moved = {
        name: max(float((after[name][k] - old[k]).abs().max()) for k in old)
        for name, old in before.items()
    }
    now = dict(model.policy.named_parameters())
    moved["rest"] = max(float((now[k].detach() - old).abs().max()) for k, old in rest.items())
    return moved


@pytest.mark.parametrize("learning_rate", [1e-5, None])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_fine_tuning_has_its_own_learning_rate(name: str, learning_rate: float | None) -> None:
    """Adam's first update moves a weight by its learning rate: the encoder's by its own, where it
    has one, though SB3 sets that of every parameter group; and each update is one step."""
    moved = changed(agent(name, fine_tune=True, learning_rate=learning_rate))
    assert moved["rest"] == pytest.approx(1e-2, rel=0.02)
    trained = [value for place, value in moved.items() if place != "rest" and "target" not in place]
    assert len(trained) == (2 if name == "SAC" else 1)
    assert trained == pytest.approx([learning_rate or 1e-2] * len(trained), rel=0.02)


def test_its_own_learning_rate_outlasts_the_policys() -> None:
    """Where a schedule has brought the policy's learning rate to zero, the encoder's is its own."""
    model = agent("PPO", fine_tune=True, learning_rate=1e-4, policy_rate=lambda left: 0.0)
    moved = changed(model)
    assert moved.pop("rest") == 0
    assert list(moved.values()) == pytest.approx([1e-4], rel=0.02)


@pytest.mark.parametrize("learning_rate", [1e-3, None])
@pytest.mark.parametrize("name", ["SAC", "DQN"])
def test_a_target_follows_its_critic(name: str, learning_rate: float | None) -> None:
    """No two networks share a weight, and a target's encoder is the Polyak average of its own and
    its critic's."""
    model = agent(name, fine_tune=True, learning_rate=learning_rate)
    found = extractors(model)
    places = [value.data_ptr() for one in found.values() for value in one.parameters()]
    assert len(places) == len(set(places)) == 10 * len(found)
    target = next(name for name in found if "target" in name)
    critic = found[target.replace("_target", "")]
    old = weights(found[target])
    model.learn(12)
    trained = weights(critic)
    if name == "DQN":  # it averages before it trains
        model.learn(12, reset_num_timesteps=False)
    new = weights(found[target])
    assert not equal(trained, old)
    for key, value in new.items():
        assert torch.allclose(value, 0.75 * old[key] + 0.25 * trained[key], atol=1e-7)


def zipped(model: Any) -> io.BytesIO:
    file = io.BytesIO()
    model.save(file)
    return file


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("changes", [{}, {"fine_tune": True, "learning_rate": 1e-3}], ids=str)
def test_a_saved_agent_acts_the_same(name: str, changes: dict[str, Any]) -> None:
    """What SB3 saves and loads gives bit for bit the same actions, after training as well."""
    model = agent(name, **changes)
    model.learn(24)
    file = zipped(model)
    file.seek(0)
    again = type(model).load(file, device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    theirs, ours = (m.predict(images, deterministic=True)[0] for m in (again, model))
    assert np.array_equal(theirs, ours)
    again.set_env(model.get_env())
    again.learn(24)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_a_frozen_encoder_is_not_saved(name: str) -> None:
    """An agent's zip is much smaller than the encoder's weights; fine-tuned, PPO's holds them once,
    though the policy names them thrice."""
    size = sum(value.nbytes for value in of_artifact(little_games.model()).values())
    assert len(zipped(agent(name)).getvalue()) < 0.2 * size
    tuned = len(zipped(agent(name, fine_tune=True, learning_rate=1e-3)).getvalue())
    assert 1 <= tuned / size / (3 if name == "SAC" else 1) < 1.2


@pytest.mark.parametrize("changes", [{}, {"fine_tune": True}], ids=str)
def test_an_agent_is_bound_to_its_artifact(
    changes: dict[str, Any], trained: Trained, tmp_path: Path
) -> None:
    """An agent whose artifact has gone, or was exchanged for another, is not loaded."""
    place = Path(shutil.copytree(little_games.model(), tmp_path / "model"))
    file = zipped(agent("PPO", place, **changes))
    shutil.rmtree(place)
    with refused(FolderError, str(place)):
        PPO.load(io.BytesIO(file.getvalue()))
    other = Encoder.load(little_games.model()).vae
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    little_games_model_with(other, place)
    with refused(FolderError, "another encoder", little_games.encoder_digest()):
        PPO.load(io.BytesIO(file.getvalue()))


def little_games_model_with(vae: Any, out: Path) -> None:
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.folder import read_model, save_model

    theirs = read_model(little_games.model())
    out.mkdir()
    save_model(
        out,
        vae,
        dataset=FrameDataset.open(little_games.dataset()),
        statistics=theirs.statistics,
        provenance=theirs.provenance,
    )


SPACE = gym.spaces.Box(0, 255, (3, 32, 32), np.uint8)


def test_only_a_path_is_taken() -> None:
    """A module, an Encoder or nothing in the place of a path is refused."""
    loaded = Encoder.load(little_games.model())
    for wrong in (loaded, loaded.vae, None):
        with refused(ConfigError, "path"):
            LatentExtractor(SPACE, wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fine_tune", "learning_rate", "word"),
    [
        *((True, rate, "learning_rate") for rate in (0.0, -1.0, float("nan"), "1e-3", True)),
        (False, 1e-3, "fine_tune=True"),
        (1, None, "fine_tune"),
    ],
)
def test_settings_out_of_range_are_refused(fine_tune: Any, learning_rate: Any, word: str) -> None:
    """A learning rate needs training and is a number above zero."""
    with refused(ConfigError, word):
        LatentExtractor(SPACE, little_games.model(), fine_tune, learning_rate)


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Box(0, 255, (32, 32, 3), np.uint8),
        gym.spaces.Box(0, 255, (3, 32, 48), np.uint8),
        gym.spaces.Box(0, 255, (4, 32, 32), np.uint8),
        gym.spaces.Box(0, 255, (32, 32), np.uint8),
        gym.spaces.Box(0, 1, (3, 32, 32), np.float32),
        gym.spaces.Box(0, 1, (3, 32, 32), np.uint8),
        gym.spaces.Dict({"image": SPACE}),
    ],
    ids=str,
)
def test_other_observations_are_refused(space: gym.Space[Any]) -> None:
    """Observations that the artifact was not made for are refused before anything is trained."""
    with refused(ObservationError, "(3, 32, 32)"):
        LatentExtractor(space, little_games.model())


def test_pixels_in_another_scale_than_said_are_refused() -> None:
    """Two policies that share a dictionary, into which SB3 writes, are not trained on wrong
    pixels."""
    shared = {"features_extractor_kwargs": {"encoder": str(little_games.model())}}
    agent("PPO", policy_kwargs={**shared, "normalize_images": False}).learn(12)
    with refused(ObservationError, "scale"):
        agent("PPO", policy_kwargs=shared).learn(12)


def test_an_extractor_that_is_gone_trains_nothing() -> None:
    """Its optimizer goes with it, and other optimizers step as ever."""
    extractor = LatentExtractor(SPACE, little_games.model(), True, 1e-3)
    parameters, gone = list(extractor.vae.encoder.parameters()), weakref.ref(extractor)
    del extractor
    assert gone() is None
    before = [value.detach().clone() for value in parameters]
    for value in parameters:
        value.grad = torch.ones_like(value)
    torch.optim.SGD(parameters, lr=0.5).step()
    for value, old in zip(parameters, before, strict=True):
        assert torch.allclose(value, old - 0.5)
