"""LatentExtractor: the encoder's latents in every policy, frozen or fine-tuned."""

import io
import shutil
import weakref
from pathlib import Path
from typing import Any

import gymnasium as gym
import little_models
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

pytestmark = pytest.mark.slow

ONCE = {"learning_starts": 8, "batch_size": 8, "train_freq": 12, "gradient_steps": 1}
ALGORITHMS: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "PPO": (PPO, False, {"n_steps": 12, "batch_size": 12, "n_epochs": 1}),
    "SAC": (SAC, True, {**ONCE, "buffer_size": 300, "tau": 0.25}),
    "DQN": (DQN, False, {**ONCE, "buffer_size": 300, "tau": 0.25, "target_update_interval": 12}),
}
"""Algorithm, whether its actions are continuous, and settings with one update in twelve steps."""


def agent(name: str, path: Any = None, **changes: Any) -> Any:
    """An agent with a LatentExtractor; changes are arguments of the extractor or the algorithm."""
    kind, push, arguments = ALGORITHMS[name]
    own = {key: changes.pop(key) for key in ("fine_tune", "learning_rate") if key in changes}
    rate = changes.pop("policy_rate", 1e-2)
    kwargs = {
        "features_extractor_class": LatentExtractor,
        "features_extractor_kwargs": {"encoder": str(path or little_models.model()), **own},
        "net_arch": [8],
        **changes.pop("policy_kwargs", {}),
    }
    arguments = {**arguments, "seed": 0, "device": "cpu", "learning_rate": rate, **changes}
    env = arguments.pop("env", None) or DummyVecEnv([lambda: Line(push)])
    return kind("CnnPolicy", env, policy_kwargs=kwargs, **arguments)


def extractors(model: Any) -> dict[str, LatentExtractor]:
    """All extractors of a policy, by name."""
    extractors_by_name = {
        name: module
        for name, module in model.policy.named_modules()
        if isinstance(module, LatentExtractor)
    }
    assert extractors_by_name
    return extractors_by_name


def weights(extractor: LatentExtractor) -> dict[str, torch.Tensor]:
    """Copies of the weights of its encoder."""
    state = extractor._unregistered[1].state_dict()
    return {name: value.clone() for name, value in state.items()}


def equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def encoder_weights(path: Path) -> dict[str, torch.Tensor]:
    state = Encoder.load(path).vae.state_dict()
    return {name: value for name, value in state.items() if not name.startswith("decoder.")}


def features(model: Any, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features of a policy for observations as environments return them."""
    policy = getattr(model.policy, "actor", getattr(model.policy, "q_net", model.policy))
    with torch.no_grad():
        extracted = policy.extract_features(
            model.policy.obs_to_tensor(observations)[0], policy.features_extractor
        )
    result: NDArray[np.float32] = extracted.numpy()
    return result


def observe(env: VecEnv, steps: int = 12) -> NDArray[np.uint8]:
    """Observations of an environment."""
    env.seed(3)
    images = [env.reset()]
    images += [env.step(np.array([env.action_space.sample()]))[0] for _ in range(steps)]
    return np.concatenate(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize_images", [True, False])
@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_features_are_the_encoders_latents(
    name: str, normalize_images: bool, trained: Trained, encoder: Encoder
) -> None:
    """Features are the latents of the true frame, whether SB3 scales pixels or not."""
    env = DummyVecEnv([Counting])
    model = agent(name, trained.path, env=env, policy_kwargs={"normalize_images": normalize_images})
    images = observe(env)
    right = encoder.encode_observations(images)
    assert np.abs(features(model, images) - right).max() < 1e-5
    assert np.abs(features(model, images[..., ::-1].copy()) - right).max() > 1e-2


def test_stacked_images_are_encoded_one_by_one(trained: Trained, encoder: Encoder) -> None:
    """The features of k stacked images are the latents of each, the oldest first."""
    env = VecFrameStack(DummyVecEnv([Counting]), 3)
    model = agent("PPO", trained.path, env=env)
    images = observe(env)
    parts = np.split(images, 3, axis=-1)
    right = np.concatenate([encoder.encode_observations(part) for part in parts], axis=1)
    result = features(model, images)
    assert result.shape == right.shape and np.abs(result - right).max() < 1e-5
    assert np.abs(right[5, :4] - right[5, 8:]).max() > 1e-3


def test_frames_are_taken_as_they_are(
    trained: Trained, encoder: Encoder, frames: NDArray[np.uint8]
) -> None:
    """Images that have the size of frames, and not of raw images, are not resized."""
    model = agent("PPO", trained.path, env=DummyVecEnv([lambda: Showing(frames[0])]))
    assert np.abs(features(model, frames) - encoder.encode(frames)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("PPO", {"n_steps": 100, "batch_size": 50}),
        ("SAC", {"train_freq": 20, "gradient_steps": 1}),
    ],
)
def test_a_frozen_encoder_does_not_change(name: str, changes: dict[str, Any]) -> None:
    """After 300 steps every frozen weight and the digest are those of the model folder, and the
    policy holds no weight of the VAE."""
    path = little_models.model()
    model = agent(name, **changes)
    model.learn(300)
    extractors_by_name = extractors(model)
    assert {extractor.features_dim for extractor in extractors_by_name.values()} == {4}
    assert all(
        equal(weights(extractor), encoder_weights(path))
        for extractor in extractors_by_name.values()
    )
    assert not any(list(extractor.parameters()) for extractor in extractors_by_name.values())
    assert not any(extractor._unregistered[1].training for extractor in extractors_by_name.values())
    assert Encoder.load(path).digest == little_models.encoder_digest()
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    right = Encoder.load(path).encode_observations(image)
    assert np.abs(features(model, image) - right).max() < 1e-5


@pytest.mark.parametrize("name", ALGORITHMS)
def test_fine_tuning_starts_from_the_model_folder(name: str) -> None:
    """Before the first update every copy holds the weights of the model folder, although PPO
    initialises the other weights (`ortho_init`)."""
    model = agent(name, fine_tune=True)
    right = encoder_weights(little_models.model())
    assert all(equal(weights(extractor), right) for extractor in extractors(model).values())
    if name == "PPO":
        assert model.policy.ortho_init and not model.policy.action_net.bias.any()


def changed(model: Any, steps: int = 12) -> dict[str, float]:
    """Largest change of a weight of each encoder, and of all others ("rest"), in some steps."""
    extractors_by_name = extractors(model)
    before = {name: weights(extractor) for name, extractor in extractors_by_name.items()}
    rest = {
        name: value.detach().clone()
        for name, value in model.policy.named_parameters()
        if ".vae." not in name and "target" not in name
    }
    model.learn(steps, reset_num_timesteps=False)
    after = {name: weights(extractor) for name, extractor in extractors_by_name.items()}
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
    """Adam's first update changes a weight by its learning rate: that of the encoder if it has one,
    else that of the policy. Each update is one step."""
    moved = changed(agent(name, fine_tune=True, learning_rate=learning_rate))
    assert moved["rest"] == pytest.approx(1e-2, rel=0.02)
    trained = [value for place, value in moved.items() if place != "rest" and "target" not in place]
    assert len(trained) == (2 if name == "SAC" else 1)
    assert trained == pytest.approx([learning_rate or 1e-2] * len(trained), rel=0.02)


def test_its_own_learning_rate_outlasts_the_policys() -> None:
    """If a schedule sets the policy's learning rate to zero, the encoder still has its own."""
    model = agent("PPO", fine_tune=True, learning_rate=1e-4, policy_rate=lambda left: 0.0)
    moved = changed(model)
    assert moved.pop("rest") == 0
    assert list(moved.values()) == pytest.approx([1e-4], rel=0.02)


@pytest.mark.parametrize("learning_rate", [1e-3, None])
@pytest.mark.parametrize("name", ["SAC", "DQN"])
def test_a_target_follows_its_critic(name: str, learning_rate: float | None) -> None:
    """No two networks share a weight. The encoder of a target is the Polyak average of its own and
    that of the critic."""
    model = agent(name, fine_tune=True, learning_rate=learning_rate)
    extractors_by_name = extractors(model)
    places = [value.data_ptr() for one in extractors_by_name.values() for value in one.parameters()]
    assert len(places) == len(set(places)) == 10 * len(extractors_by_name)
    target = next(name for name in extractors_by_name if "target" in name)
    critic = extractors_by_name[target.replace("_target", "")]
    old = weights(extractors_by_name[target])
    model.learn(12)
    trained = weights(critic)
    if name == "DQN":  # it averages before it trains
        model.learn(12, reset_num_timesteps=False)
    new = weights(extractors_by_name[target])
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
    """An agent that SB3 saved and loaded acts equally to the bit, and can go on training."""
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
    """The zip of an agent with a frozen encoder is much smaller than the encoder's weights. The zip
    of a fine-tuned PPO holds them once, although the policy names them three times."""
    size = sum(value.nbytes for value in encoder_weights(little_models.model()).values())
    assert len(zipped(agent(name)).getvalue()) < 0.2 * size
    tuned = len(zipped(agent(name, fine_tune=True, learning_rate=1e-3)).getvalue())
    assert 1 <= tuned / size / (3 if name == "SAC" else 1) < 1.2


@pytest.mark.parametrize("changes", [{}, {"fine_tune": True}], ids=str)
def test_an_agent_needs_its_model_folder(
    changes: dict[str, Any], trained: Trained, tmp_path: Path
) -> None:
    """An agent is not loaded if its model folder is missing or holds another model."""
    place = Path(shutil.copytree(little_models.model(), tmp_path / "model"))
    file = zipped(agent("PPO", place, **changes))
    shutil.rmtree(place)
    with refused(FolderError, str(place)):
        PPO.load(io.BytesIO(file.getvalue()))
    other = Encoder.load(little_models.model()).vae
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    little_games_model_with(other, place)
    with refused(FolderError, "another encoder", little_models.encoder_digest()):
        PPO.load(io.BytesIO(file.getvalue()))


def little_games_model_with(vae: Any, out: Path) -> None:
    from rl_vae.data.dataset import FrameDataset
    from rl_vae.models.folder import read_model
    from rl_vae.models.save import save_model

    theirs = read_model(little_models.model())
    out.mkdir()
    save_model(
        out,
        vae,
        dataset=FrameDataset.open(little_models.dataset()),
        statistics=theirs.statistics,
        provenance=theirs.provenance,
    )


SPACE = gym.spaces.Box(0, 255, (3, 32, 32), np.uint8)


def test_only_a_path_is_taken() -> None:
    """A module, an Encoder and None are refused."""
    loaded = Encoder.load(little_models.model())
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
        LatentExtractor(SPACE, little_models.model(), fine_tune, learning_rate)


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
    """Observations that the encoder was not made for are refused before training."""
    with refused(ObservationError, "(3, 32, 32)"):
        LatentExtractor(space, little_models.model())


def test_pixels_in_the_wrong_scale_are_refused() -> None:
    """Two policies that share a kwargs dictionary, which SB3 writes into, get an error instead of
    wrong pixels."""
    shared = {"features_extractor_kwargs": {"encoder": str(little_models.model())}}
    agent("PPO", policy_kwargs={**shared, "normalize_images": False}).learn(12)
    with refused(ObservationError, "scale"):
        agent("PPO", policy_kwargs=shared).learn(12)


def test_a_deleted_extractor_trains_nothing() -> None:
    """The optimizer of a deleted extractor does not step, and other optimizers do."""
    extractor = LatentExtractor(SPACE, little_models.model(), True, 1e-3)
    parameters, gone = list(extractor.vae.encoder.parameters()), weakref.ref(extractor)
    del extractor
    assert gone() is None
    before = [value.detach().clone() for value in parameters]
    for value in parameters:
        value.grad = torch.ones_like(value)
    torch.optim.SGD(parameters, lr=0.5).step()
    for value, old in zip(parameters, before, strict=True):
        assert torch.allclose(value, old - 0.5)
