"""The Stable-Baselines3 side: what agents see at every step, at the end of episodes above all."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from environments import (
    COUNTING,
    Moment,
    frame_of,
    length_of,
    moment_of,
    refused,
    terminates,
)
from numpy.typing import NDArray
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)
from toys import MIXED, SHOWING, STEERED, after, reborn, seen

from rl_vae import Encoder, FrameSpec, LatentObservation
from rl_vae.envs.registry import make_engine
from rl_vae.envs.seeds import FIRST_EVALUATION_SEED
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.sb3 import ActionMap, MapActions, PixelVecEnv, ScaleRewards, VecLatent, play
from rl_vae.system import files
from rl_vae.training.result import Trained

LANES = 3
EVALUATION = FIRST_EVALUATION_SEED + 1_000


def pixels(
    env_id: str = COUNTING, lanes: int = LANES, spec: FrameSpec | None = None
) -> PixelVecEnv:
    return PixelVecEnv(make_engine(env_id, lanes, engine="gymnasium", workers=1, spec=spec))


def dummy(env_id: str = COUNTING, lanes: int = LANES, **kwargs: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: gym.make(env_id, **kwargs)] * lanes)


SOURCES: dict[str, Callable[[Encoder, str], VecEnv]] = {
    "raw images of an engine": lambda encoder, env_id: pixels(env_id),
    "frames of an engine": lambda encoder, env_id: pixels(env_id, spec=encoder.spec),
    "monitored frames": lambda encoder, env_id: VecMonitor(pixels(env_id, spec=encoder.spec)),
    "SB3's own": lambda encoder, env_id: dummy(env_id),
}


class Lane(NamedTuple):
    """One environment's episode so far."""

    moments: list[Moment]
    actions: list[Any]


# ----------------------------------------------------------------------- VecLatent


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize("actions", [0, 2])
def test_every_observation_is_what_it_should_be(
    encoder: Encoder, source: str, env_id: str, stack: int, actions: int
) -> None:
    """At every step, and where episodes are terminated or cut, latents are of the true frames."""
    venv: Any = VecLatent(SOURCES[source](encoder, env_id), encoder, stack=stack, actions=actions)
    rng = np.random.default_rng(0)
    nothing = np.zeros(4 if env_id == COUNTING else 2)
    lanes = [Lane([Moment(EVALUATION + i, 0, 0)], []) for i in range(LANES)]

    def right(lane: Lane) -> NDArray[np.float32]:
        return seen(encoder, *lane, stack, actions, nothing)

    venv.seed(EVALUATION)
    observations = venv.reset()
    ends = set()
    for _ in range(22):
        for i, lane in enumerate(lanes):
            np.testing.assert_allclose(observations[i], right(lane), rtol=0, atol=1e-6)
        if env_id == COUNTING:
            chosen: Any = rng.integers(0, 4, LANES)
        else:
            chosen = rng.uniform(-1, 1, (LANES, 2)).astype(np.float32)
        observations, rewards, dones, infos = venv.step(chosen)
        assert observations.dtype == np.float32
        assert observations.shape == (LANES, *venv.observation_space.shape)
        for i, lane in enumerate(lanes):
            moment, terminated, truncated = after(lane.moments[-1])
            lane.moments.append(moment)
            lane.actions.append(chosen[i])
            assert rewards[i] == pytest.approx(moment.step - 1 + chosen[i].sum() / 4, abs=1e-5)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                last = infos[i]["terminal_observation"]
                np.testing.assert_allclose(last, right(lane), rtol=0, atol=1e-6)
                assert infos[i]["TimeLimit.truncated"] == truncated
                lanes[i] = Lane([reborn(moment)], [])
                ends.add(terminated)
            else:
                assert "terminal_observation" not in infos[i]
    assert ends == {True, False}


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_both_adapters_give_the_same_numbers(trained: Trained, env_id: str) -> None:
    """LatentObservation and VecLatent show the same episode as the same numbers."""
    one = LatentObservation(gym.make(env_id), trained.path, stack=3, actions=2)
    many: Any = VecLatent(pixels(env_id, 1), trained.path, stack=3, actions=2)
    assert many.observation_space == one.observation_space
    many.seed(EVALUATION)
    observation, _ = one.reset(seed=EVALUATION)
    np.testing.assert_allclose(many.reset()[0], observation, rtol=0, atol=1e-6)
    one.action_space.seed(0)
    for _ in range(25):
        action = one.action_space.sample()
        observation, reward, terminated, truncated, _ = one.step(action)
        seen_now, rewards, dones, infos = many.step(np.asarray(action)[None])
        assert (rewards[0], dones[0]) == (pytest.approx(reward), terminated or truncated)
        if dones[0]:
            last = infos[0]["terminal_observation"]
            np.testing.assert_allclose(last, observation, rtol=0, atol=1e-6)
            observation, _ = one.reset()
        np.testing.assert_allclose(seen_now[0], observation, rtol=0, atol=1e-6)


def test_all_lanes_are_encoded_in_one_call(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step encodes every lane, and the last images of those that ended, all at once."""
    venv: Any = VecLatent(pixels(), trained.path)
    venv.reset()
    sizes: list[int] = []
    right = venv.encoder.encode

    def encode(frames: NDArray[np.uint8]) -> Any:
        sizes.append(len(frames))
        return right(frames)

    monkeypatch.setattr(venv.encoder, "encode", encode)
    for step in range(15):
        _, _, dones, _ = venv.step(np.zeros(LANES, np.int64))
        assert len(sizes) == step + 1
        assert sizes[-1] == LANES + dones.sum()
    assert max(sizes) > LANES


def test_what_was_returned_does_not_change_afterwards(encoder: Encoder) -> None:
    """Observations, terminal ones included, are kept by agents: later steps leave them alone."""
    venv: Any = VecLatent(pixels(), encoder, stack=4, actions=2)
    kept: list[NDArray[np.float32]] = [venv.reset()]
    for _ in range(15):
        observations, _, dones, infos = venv.step(np.ones(LANES, np.int64))
        kept.append(observations)
        kept += [infos[lane]["terminal_observation"] for lane in np.flatnonzero(dones)]
    copies = [array.copy() for array in kept]
    venv.step(np.zeros(LANES, np.int64))
    venv.reset()
    assert all(np.array_equal(*pair) for pair in zip(kept, copies, strict=True))


def test_a_reset_forgets_everything(encoder: Encoder) -> None:
    """A reset in the middle of episodes fills the stacks anew, whatever was there."""
    venv: Any = VecLatent(pixels(), encoder, stack=4, actions=2)
    venv.seed(EVALUATION)
    first = venv.reset()
    venv.step(np.ones(LANES, np.int64))
    venv.seed(EVALUATION)
    assert np.array_equal(venv.reset(), first)


def test_a_path_and_a_loaded_encoder_are_the_same(trained: Trained, encoder: Encoder) -> None:
    """VecLatent takes either, and shares a loaded encoder rather than copying it."""
    one: Any = VecLatent(pixels(), trained.path)
    other: Any = VecLatent(pixels(), encoder)
    assert other.encoder is encoder
    one.seed(7), other.seed(7)
    assert np.array_equal(one.reset(), other.reset())


def test_scale_and_colour_are_the_ones_of_training(encoder: Encoder) -> None:
    """One red pixel and white give the encoder's latents, and blue gives others."""
    red = np.zeros((32, 32, 3), np.uint8)
    red[16, 16, 0] = 255
    got = []
    for image in (red, red[..., ::-1], np.full_like(red, 255)):
        right = encoder.encode(encoder.spec.apply(image)[None])[0]
        venv: Any = VecLatent(dummy(SHOWING, 2, image=image), encoder)
        shown = [*venv.reset(), *venv.step(np.zeros(2, np.int64))[0]]
        observations, _, _, infos = venv.step(np.zeros(2, np.int64))
        shown += [*observations, *(info["terminal_observation"] for info in infos)]
        for latent in shown:
            np.testing.assert_allclose(latent, right, rtol=0, atol=1e-6)
        got.append(right)
    assert np.abs(got[0] - got[1]).max() > 1e-5


def test_sb3s_wrappers_go_around_it(encoder: Encoder) -> None:
    """VecMonitor and VecNormalize work around latents, terminal observations included."""
    venv: Any = VecNormalize(VecMonitor(VecLatent(pixels(), encoder, stack=2, actions=1)))
    venv.seed(EVALUATION)
    venv.reset()
    episodes = []
    for _ in range(12):
        observations, _, dones, infos = venv.step(np.zeros(LANES, np.int64))
        assert observations.shape == (LANES, 12)
        for lane in np.flatnonzero(dones):
            assert infos[lane]["terminal_observation"].shape == (12,)
            episodes.append((lane, infos[lane]["episode"]["l"], infos[lane]["episode"]["r"]))
    lane, length, total = episodes[0]
    right = min(length_of(EVALUATION + i, 0) for i in range(LANES))
    assert (length, length_of(EVALUATION + int(lane), 0)) == (right, right)
    assert total == right * (right - 1) / 2


# ------------------------------------------------------------------------ refusals


def test_frames_of_another_spec_are_refused(encoder: Encoder) -> None:
    """Frames that an engine made by another FrameSpec are refused, even of the same shape."""
    other = FrameSpec(height=32, width=48)
    assert other.shape == encoder.spec.shape
    with refused(ObservationError, "crop=(0, 0, 0, 0)", "crop=(2, 0, 0, 4)"):
        VecLatent(pixels(spec=other), encoder)


@pytest.mark.parametrize("wrapper", ["stacked", "transposed", "normalised", "encoded"])
def test_frames_that_a_wrapper_changed_are_refused(encoder: Encoder, wrapper: str) -> None:
    """Frames that were stacked, transposed, scaled or encoded on the way are refused at once."""
    venv: Any = pixels(spec=encoder.spec)
    changes: dict[str, Callable[[], VecEnv]] = {
        "stacked": lambda: VecFrameStack(venv, 4),
        "transposed": lambda: VecTransposeImage(venv),
        "normalised": lambda: VecNormalize(venv),
        "encoded": lambda: VecLatent(venv, encoder),
    }
    with refused(ObservationError, "wrapper"):
        VecLatent(changes[wrapper](), encoder)


def test_impossible_arguments_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    """No stack, less than no actions and a missing folder are told apart."""
    with refused(ConfigError, "stack"):
        VecLatent(pixels(), encoder, stack=0)
    with refused(ConfigError, "actions"):
        VecLatent(pixels(), encoder, actions=-1)
    with refused(FolderError, str(tmp_path / "nothing")):
        VecLatent(pixels(), tmp_path / "nothing")


# ------------------------------------------------------------- agents and the encoder


def fingerprint(encoder: Encoder, frames: NDArray[np.uint8]) -> tuple[str, ...]:
    """Everything by which an encoder could have moved."""
    weights = b"".join(value.numpy().tobytes() for value in encoder.vae.state_dict().values())
    disk = sorted((p.name, files.file_digest(p)) for p in encoder.path.iterdir() if p.is_file())
    return (
        files.digest(encoder.encode(frames).tobytes()),
        files.digest(weights),
        files.digest(disk),
        encoder.digest,
    )


ROLLOUT = {"n_steps": 32, "batch_size": 32}
REPLAY = {"buffer_size": 600, "learning_starts": 20, "batch_size": 16, "train_freq": 4}
AGENTS: dict[str, tuple[str, Any, dict[str, int]]] = {
    "PPO": (COUNTING, PPO, ROLLOUT),
    "DQN": (COUNTING, DQN, REPLAY),
    "SAC": (STEERED, SAC, REPLAY),
}


def make_agent(name: str, encoder: Encoder | Path) -> BaseAlgorithm:
    """A small agent on stacked latents and a past action."""
    env_id, algorithm, settings = AGENTS[name]
    venv = VecMonitor(VecLatent(pixels(env_id), encoder, stack=2, actions=1))
    agent: BaseAlgorithm = algorithm(
        "MlpPolicy", venv, seed=0, policy_kwargs={"net_arch": [8]}, **settings
    )
    return agent


def weights_of(agent: BaseAlgorithm) -> list[NDArray[np.float32]]:
    return [parameter.detach().numpy().copy() for parameter in agent.policy.parameters()]


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("name", AGENTS)
def test_training_an_agent_does_not_move_the_encoder(
    trained: Trained, frames: NDArray[np.uint8], name: str, runtime: Any
) -> None:
    """After an agent has learned, the encoder's weights, files and answers are the same bits."""
    encoder = Encoder.load(trained.path, runtime=runtime)
    before = fingerprint(encoder, frames)
    agent = make_agent(name, encoder)
    start = weights_of(agent)
    agent.learn(600)
    assert not all(np.array_equal(*pair) for pair in zip(start, weights_of(agent), strict=True))
    assert fingerprint(encoder, frames) == before
    assert not encoder.vae.training
    ours = {id(parameter) for parameter in encoder.vae.parameters()}
    assert not ours & {id(parameter) for parameter in agent.policy.parameters()}


@pytest.mark.parametrize("name", AGENTS)
def test_the_same_seed_gives_the_same_agent(trained: Trained, name: str) -> None:
    """Two agents with one seed end with the same weights, to the bit."""
    first, second = (weights_of(make_agent(name, trained.path).learn(300)) for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_agents_learn_from_a_dict(encoder: Encoder, name: str) -> None:
    """MultiInputPolicy learns from latents beside a Dict's other entries, ends included."""
    _, algorithm, settings = AGENTS[name]
    venv = VecLatent(dummy(MIXED, 2), encoder, stack=2, actions=1, extras="dict")
    arguments: dict[str, Any] = {"seed": 0, "policy_kwargs": {"net_arch": [8]}, **settings}
    start = weights_of(algorithm("MultiInputPolicy", venv, **arguments))
    agent = algorithm("MultiInputPolicy", venv, **arguments).learn(200)
    assert not all(np.array_equal(*pair) for pair in zip(start, weights_of(agent), strict=True))
    observation: Any = venv.reset()
    assert agent.predict(observation)[0].shape == (2,)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (PPO, {"n_steps": 200, "batch_size": 100, "n_epochs": 1}),
        (SAC, {"train_freq": 20, "gradient_steps": 1, "batch_size": 32, "buffer_size": 2_000}),
    ],
)
def test_an_agent_does_not_change_its_encoder(
    algorithm: Any, options: dict[str, Any], trained: Trained, frames: NDArray[np.uint8]
) -> None:
    """After 2,000 steps of learning through an adapter the artifact and its codes are the same."""
    encoder = Encoder.load(trained.path)
    before, digest, config = (
        encoder.encode(frames),
        encoder.digest,
        files.file_digest(trained.path / "config.json"),
    )
    venv = VecLatent(DummyVecEnv([lambda: gym.make(STEERED)] * 2), encoder, stack=2, actions=1)
    algorithm("MlpPolicy", venv, seed=0, device="cpu", **options).learn(2_000)
    assert np.array_equal(encoder.encode(frames), before)
    assert Encoder.load(trained.path).digest == digest == encoder.digest
    assert files.file_digest(trained.path / "config.json") == config


def test_a_pickled_adapter_costs_a_path(encoder: Encoder) -> None:
    """The pickle of a VecLatent holds no weights, and its copy goes on where it was."""
    venv: Any = VecLatent(DummyVecEnv([lambda: gym.make(COUNTING)] * 2), encoder, stack=3)
    venv.reset()
    venv.step(np.ones(2, np.int64))
    pickled = cloudpickle.dumps(venv)
    assert len(pickled) < len(cloudpickle.dumps(venv.venv)) + 10_000
    copy = cloudpickle.loads(pickled)
    assert np.array_equal(copy.step(np.ones(2, np.int64))[0], venv.step(np.ones(2, np.int64))[0])


# ----------------------------------------------------------------------- PixelVecEnv


@pytest.mark.parametrize("spec", [None, FrameSpec(height=40, width=36, channels=1)])
def test_pixels_are_what_the_engine_shows(spec: FrameSpec | None) -> None:
    """Images, terminal ones included, are the environment's, through the FrameSpec if any."""

    def image(moment: Moment) -> NDArray[np.uint8]:
        return frame_of(moment) if spec is None else spec.apply(frame_of(moment))

    venv: Any = pixels(spec=spec)
    assert venv.observation_space == gym.spaces.Box(
        0, 255, (32, 32, 3) if spec is None else spec.shape, np.uint8
    )
    venv.seed(EVALUATION)
    moments = [Moment(EVALUATION + i, 0, 0) for i in range(LANES)]
    images = venv.reset()
    for _ in range(20):
        assert np.array_equal(images, np.stack([image(moment) for moment in moments]))
        assert all(np.array_equal(*p) for p in zip(venv.get_images(), images, strict=True))
        images, _, dones, infos = venv.step(np.zeros(LANES, np.int64))
        for i, moment in enumerate(moments):
            moments[i], terminated, truncated = after(moment)
            assert dones[i] == (terminated or truncated)
            if dones[i]:
                assert np.array_equal(infos[i]["terminal_observation"], image(moments[i]))
                assert infos[i]["TimeLimit.truncated"] == (not terminates(*moment[:2]))
                moments[i] = reborn(moment)


def test_seeds_below_the_line_are_drawn_and_above_it_counted() -> None:
    """Training seeds are drawn below 2**30, fresh at each reset; evaluation seeds are counted."""
    venv: Any = pixels()
    drawn = []
    for seed in (1, 2, 1):
        venv.seed(seed)
        drawn.append([[moment_of(frame).seed for frame in venv.reset()] for _ in range(2)])
    assert drawn[0] == drawn[2] != drawn[1]
    flat = [seed for resets in drawn[:2] for lanes in resets for seed in lanes]
    assert len(set(flat)) == 4 * LANES
    assert max(flat) < FIRST_EVALUATION_SEED
    assert venv.seed(EVALUATION) == [EVALUATION + i for i in range(LANES)]
    for round_ in range(2):
        got = [moment_of(frame).seed for frame in venv.reset()]
        assert got == [EVALUATION + round_ * LANES + i for i in range(LANES)]


def test_the_constructors_seed_is_the_first_seed() -> None:
    """PixelVecEnv(engine, seed) begins as seed(seed) does."""
    engine = make_engine(COUNTING, 2, engine="gymnasium", workers=1)
    first: Any = PixelVecEnv(engine, seed=9).reset()
    venv: Any = PixelVecEnv(engine)
    venv.seed(9)
    assert np.array_equal(venv.reset(), first)


def test_environments_are_out_of_reach() -> None:
    """Attributes are the engine's, and methods of single environments cannot be called."""
    venv: Any = pixels()
    assert venv.get_attr("render_mode") == ["rgb_array"] * LANES
    assert venv.get_attr("frame_spec", [0, 2]) == [None, None]
    assert venv.env_is_wrapped(gym.Wrapper) == [False] * LANES
    with pytest.raises(NotImplementedError):
        venv.env_method("reset")
    with pytest.raises(NotImplementedError):
        venv.set_attr("moment", 0)
    venv.close()
    venv.close()


# ------------------------------------------------------- actions, rewards and episodes

CAR = ActionMap(matrix=((1.0, 0.0), (0.0, 1.0), (0.0, -1.0)), offset=(0.0, 0.0, -0.5))
CAR_SPACE = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))


def test_an_action_map_by_hand() -> None:
    """One axis is gas above zero and brake below, and what leaves the space is cut off."""
    actions = np.array([[0.5, 0.75], [-1.0, -0.75], [0.0, 0.0], [3.0, -3.0]], np.float32)
    right = [[0.5, 0.75, 0.0], [-1.0, 0.0, 0.25], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    mapped = CAR.apply(actions, CAR_SPACE)
    assert mapped.dtype == np.float32
    assert mapped.tolist() == right
    assert CAR.agent_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize(
    ("matrix", "offset"),
    [
        ((), ()),
        (((1.0,),), ()),
        (((1.0,),), (0.0, 0.0)),
        (((1.0,), (1.0, 2.0)), (0.0, 0.0)),
        (((),), (0.0,)),
        (((math.nan,),), (0.0,)),
        (((1.0,),), (math.inf,)),
    ],
    ids=str,
)
def test_impossible_action_maps_are_refused(matrix: Any, offset: Any) -> None:
    """A map whose matrix and offset are not numbers that fit each other is refused."""
    with refused(ConfigError, "matrix" if offset == (0.0,) else "offset"):
        ActionMap(matrix, offset)


@pytest.mark.parametrize("env_id", [COUNTING, STEERED])
def test_an_action_map_of_another_environment_is_refused(env_id: str) -> None:
    """A map into three actions does not go before an environment with two, or with none."""
    with refused(ConfigError, "3 actions", "recipe"):
        MapActions(dummy(env_id), CAR)


def test_mapped_actions_reach_the_environment() -> None:
    """The environment gets the mapped actions, and the agent's space is the map's."""
    swap = ActionMap(matrix=((0.0, 2.0), (0.5, 0.0)), offset=(0.0, 0.25))
    venv: Any = MapActions(pixels(STEERED, 1), swap)
    assert venv.action_space == gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    venv.reset()
    rewards = venv.step(np.array([[0.5, 0.25]], np.float32))[1]
    assert rewards[0] == pytest.approx((0.5 + 0.5) / 4)  # (2 x 0.25) and (0.5 x 0.5 + 0.25)
    rewards = venv.step(np.array([[1.0, 1.0]], np.float32))[1]
    assert rewards[0] == pytest.approx(1 + (1.0 + 0.75) / 4)  # 2 x 1 is cut off at 1


def test_scaled_rewards_change_nothing_else(encoder: Encoder) -> None:
    """Rewards are multiplied; observations, ends and infos stay."""
    plain: Any = pixels()
    scaled: Any = ScaleRewards(pixels(), 0.1)
    for venv in (plain, scaled):
        venv.seed(EVALUATION)
    assert np.array_equal(plain.reset(), scaled.reset())
    for _ in range(12):
        action = np.ones(LANES, np.int64)
        right, got = plain.step(action), scaled.step(action)
        np.testing.assert_allclose(got[1], 0.1 * right[1], rtol=1e-6)
        assert np.array_equal(got[0], right[0])
        assert np.array_equal(got[2], right[2])
        assert [sorted(info) for info in got[3]] == [sorted(info) for info in right[3]]


@pytest.mark.parametrize("lanes", [1, 2, 3, 7])
@pytest.mark.parametrize("episodes", [1, 5])
def test_whole_episodes_are_played_from_their_seeds(lanes: int, episodes: int) -> None:
    """Episode i is the one of seed first + i, whole, whatever the number of lanes."""
    venv: Any = pixels(lanes=lanes)
    played = play(venv, lambda images: np.ones(len(images), np.int64), episodes, EVALUATION)
    lengths = [length_of(EVALUATION + i, 0) for i in range(episodes)]
    assert played.lengths.tolist() == lengths
    assert played.returns.tolist() == [n * (n - 1) / 2 + n / 4 for n in lengths]


def test_playing_on_latents_does_not_depend_on_the_lanes(trained: Trained) -> None:
    """An agent that acts on what it sees gets the same returns with one lane and with four."""

    def choose(observations: Any) -> Any:
        return (np.abs(observations).sum(axis=1) * 1000).astype(np.int64) % 4

    first, second = (
        play(VecLatent(pixels(lanes=n), trained.path, stack=2, actions=1), choose, 6, EVALUATION)
        for n in (1, 4)
    )
    assert first.lengths.tolist() == second.lengths.tolist()
    assert first.returns.tolist() == second.returns.tolist()
    assert len(set(first.returns)) > 1


def test_playing_again_gives_the_same_episodes() -> None:
    """The same seeds give the same episodes, whatever was played before; others give others."""
    venv: Any = pixels()

    def choose(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.zeros(len(images), np.int64)

    first = play(venv, choose, 4, EVALUATION)
    other = play(venv, choose, 4, EVALUATION + 1)
    assert play(venv, choose, 4, EVALUATION).returns.tolist() == first.returns.tolist()
    assert other.returns[:3].tolist() == first.returns[1:].tolist()
