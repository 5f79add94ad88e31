"""VectorLatentObservation in every autoreset mode."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, Moment, frame_of, refused
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from toys import ADAPTERS, MIXED, expected_observation, make_adapter, moments_of, run_adapter

from rl_vae import Encoder, VectorLatentObservation
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.training.result import Trained

N_ENVS = 3
MODES = list(AutoresetMode)


def many(mode: AutoresetMode, env_id: str = COUNTING) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gym.make(env_id)] * N_ENVS, autoreset_mode=mode)


def latent(encoder: Encoder, moment: Moment) -> NDArray[np.float32]:
    return encoder.encode_observations(frame_of(moment)[None])[0]


@pytest.mark.parametrize("mode", MODES)
def test_it_is_a_vector_environment(trained: Trained, mode: AutoresetMode) -> None:
    """Spaces are those of a batch and contain the observations; the mode does not change."""
    envs = VectorLatentObservation(many(mode), trained.path, stack=2, actions=1)
    assert isinstance(envs, VectorEnv)
    assert envs.single_observation_space.shape == (12,)
    assert envs.observation_space.shape == (N_ENVS, 12)
    assert envs.metadata["autoreset_mode"] is mode
    observations, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(observations)
    assert envs.observation_space.contains(envs.step(envs.action_space.sample())[0])
    envs.close()


def test_all_adapters_give_the_same_observations(encoder: Encoder) -> None:
    """An environment has the same observations alone and in a vector, past actions included."""
    options: dict[str, Any] = {"stack": 3, "actions": 2}
    first, *others = (
        run_adapter(name, lambda: gym.make(COUNTING), encoder, **options).observations
        for name in ADAPTERS
    )
    for other in others:
        for env in range(2):
            np.testing.assert_allclose(first[env], other[env], rtol=0, atol=1e-6)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("env_id", [COUNTING, MIXED])
def test_the_frame_is_kept(encoder: Encoder, adapter: str, env_id: str) -> None:
    """keep_frame puts each encoded frame, the last of an episode included, into infos."""
    run = run_adapter(adapter, lambda: gym.make(env_id), encoder, stack=2, keep_frame=True)
    for env in range(2):
        assert len(run.frames[env]) == len(moments_of(5 + env))
        for moment, frame, observation in zip(
            moments_of(5 + env), run.frames[env], run.observations[env], strict=True
        ):
            assert np.array_equal(frame, encoder.spec.apply(frame_of(moment)))
            assert frame.dtype == np.uint8
            expected = encoder.encode(frame[None])[0]
            np.testing.assert_allclose(observation[4:8], expected, rtol=0, atol=1e-6)


def test_frames_are_kept_only_on_request(encoder: Encoder) -> None:
    """Without keep_frame infos hold no frames."""
    for adapter in ADAPTERS:
        frames = run_adapter(adapter, lambda: gym.make(COUNTING), encoder).frames
        assert all(frame is None for each in frames for frame in each)


def test_infos_have_masks(encoder: Encoder) -> None:
    """Kept frames are an array with zeros for no frame, and a mask, as in Gymnasium."""
    envs = VectorLatentObservation(many(AutoresetMode.SAME_STEP), encoder, keep_frame=True)
    _, infos = envs.reset(seed=3)
    assert infos["_frame"].all()
    ended = np.zeros(N_ENVS, np.bool_)
    for _ in range(9):
        _, _, terminated, truncated, infos = envs.step(np.zeros(N_ENVS, np.int64))
        done = terminated | truncated
        assert infos["_frame"].all() and infos["frame"].shape == (N_ENVS, *encoder.spec.shape)
        assert ("final_frame" in infos) == done.any()
        if done.any():
            assert np.array_equal(infos["_final_frame"], done)
            assert (infos["final_frame"][~done] == 0).all()
            assert np.array_equal(infos["_final_obs"], done)
            assert [last is None for last in infos["final_obs"]] == (~done).tolist()
            assert "final_info" in infos
        ended |= done
    assert ended.all()


class Dense(SyncVectorEnv):
    """Returns final observations as one array without a mask, as some vector environments do."""

    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        if "final_obs" in infos:
            blank = np.zeros(self.single_observation_space.shape, np.uint8)
            infos["final_obs"] = np.stack([blank if x is None else x for x in infos["final_obs"]])
            del infos["_final_obs"]
        return *rest, infos


@pytest.mark.parametrize("extras", ["flatten", "dict"])
def test_dense_final_observations_stay_dense(encoder: Encoder, extras: Any) -> None:
    """A dense final_obs becomes a dense one, with the same latents as an array of objects."""
    opened = [lambda: gym.make(COUNTING)] * N_ENVS
    mode = AutoresetMode.SAME_STEP
    dense, objects = (
        VectorLatentObservation(kind(opened, autoreset_mode=mode), encoder, stack=2, extras=extras)
        for kind in (Dense, SyncVectorEnv)
    )
    dense.reset(seed=3), objects.reset(seed=3)
    compared = 0
    for _ in range(12):
        *_, infos = dense.step(np.ones(N_ENVS, np.int64))
        *_, expected = objects.step(np.ones(N_ENVS, np.int64))
        for env in np.flatnonzero(expected.get("_final_obs", [])):
            if extras == "dict":
                assert np.array_equal(
                    infos["final_obs"]["latent"][env], expected["final_obs"][env]["latent"]
                )
            else:
                assert infos["final_obs"].shape == (N_ENVS, 8)
                assert np.array_equal(infos["final_obs"][env], expected["final_obs"][env])
            compared += 1
    assert compared > 2


class Pool(VectorEnv[Any, Any, Any]):
    """Like EnvPool: the space of one environment, and a partial reset returns no others."""

    def __init__(self) -> None:
        self._envs = many(AutoresetMode.NEXT_STEP)
        self.num_envs, self.metadata = N_ENVS, self._envs.metadata
        self.observation_space = self.single_observation_space = self._envs.single_observation_space
        self.action_space = self.single_action_space = self._envs.single_action_space

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        mask = (options or {}).get("reset_mask", np.ones(N_ENVS, np.bool_))
        observations, infos = self._envs.reset(seed=seed, options=options)
        return observations[mask], infos

    def step(self, actions: Any) -> Any:
        return self._envs.step(actions)


def test_the_observation_space_is_always_batched(encoder: Encoder) -> None:
    """The observation space is that of a batch, even if the environments have that of one."""
    envs = VectorLatentObservation(Pool(), encoder, stack=2)
    assert envs.observation_space.shape == (N_ENVS, 8)
    assert envs.reset(seed=3)[0].shape == (N_ENVS, 8)


@pytest.mark.parametrize("source", [*MODES, "pool"], ids=str)
def test_some_environments_are_reset(encoder: Encoder, source: Any) -> None:
    """A partial reset restarts the history of those environments only, in every mode. The first
    action of the new episode is remembered."""
    inner: Any = Pool() if source == "pool" else many(source)
    envs = VectorLatentObservation(inner, encoder, stack=2, actions=1)
    envs.reset(seed=0)  # episodes of 3, 4 and 5 steps
    for _ in range(2):
        before = envs.step(np.ones(N_ENVS, np.int64))[0]
    if source != AutoresetMode.SAME_STEP:
        before = envs.step(np.ones(N_ENVS, np.int64))[0]  # the episode of environment 0 has ended
    mask = np.array([True, False, True])
    observations, _ = envs.reset(options={"reset_mask": mask})
    assert np.array_equal(observations[1], before[1])
    for env in (0, 2):
        first = Moment(env, 1, 0)
        expected = expected_observation(encoder, [first], [], 2, 1, 4)
        np.testing.assert_allclose(observations[env], expected, rtol=0, atol=1e-6)
    observations = envs.step(np.full(N_ENVS, 2))[0]
    for env in (0, 2):
        moments = [Moment(env, 1, 0), Moment(env, 1, 1)]
        expected = expected_observation(encoder, moments, [2], 2, 1, 4)
        np.testing.assert_allclose(observations[env], expected, rtol=0, atol=1e-6)


def test_seeds_are_one_by_one(encoder: Encoder) -> None:
    """reset takes the seed of environment 0, which the others count on from, or a list of seeds."""
    envs = VectorLatentObservation(many(AutoresetMode.NEXT_STEP), encoder)
    for seed, numbers in ((7, [7, 8, 9]), ([4, None, 2], [4, 8, 2])):
        observations, _ = envs.reset(seed=seed)
        for env, number in enumerate(numbers):
            if seed == 7 or env != 1:
                expected = latent(encoder, Moment(number, 0, 0))
                np.testing.assert_allclose(observations[env], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_one_call_of_the_encoder_a_step(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """A step encodes all observations, final ones included, in one call, and so does a reset."""
    sizes: list[int] = []
    original = Encoder.encode

    def encode(self: Encoder, frames: NDArray[np.uint8]) -> Any:
        sizes.append(len(frames))
        return original(self, frames)

    monkeypatch.setattr(Encoder, "encode", encode)
    run = run_adapter(adapter, lambda: gym.make(COUNTING), encoder, steps=24)
    ends = len(run.observations[0]) + len(run.observations[1]) - 2 * 25
    assert ends > 2
    assert sum(sizes) == 2 * 25 + ends
    assert len(sizes) == (2 * 25 + ends if adapter == "single" else 25)


def test_an_unknown_mode_is_refused(encoder: Encoder) -> None:
    """Environments need an autoreset mode, as an AutoresetMode or as its value."""
    inner = many(AutoresetMode.SAME_STEP)
    inner.metadata = {**inner.metadata, "autoreset_mode": "SameStep"}
    VectorLatentObservation(inner, encoder)
    for mode in (None, "sometimes"):
        inner.metadata = {**inner.metadata, "autoreset_mode": mode}
        with refused(ConfigError, repr(mode), "NEXT_STEP"):
            VectorLatentObservation(inner, encoder)


def test_a_wrong_mode_is_detected(encoder: Encoder) -> None:
    """An end without final observations in SAME_STEP mode is an EnvironmentFault."""
    inner = many(AutoresetMode.NEXT_STEP)
    inner.metadata = {**inner.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
    envs = VectorLatentObservation(inner, encoder)
    envs.reset(seed=0)
    with refused(EnvironmentFault, "final_obs", "autoreset_mode"):
        for _ in range(5):
            envs.step(np.zeros(N_ENVS, np.int64))


@pytest.mark.parametrize("adapter", ["vector", "sb3"])
def test_infos_of_the_environment_do_not_change(encoder: Encoder, adapter: str) -> None:
    """The adapter does not change the infos of the environment, but copies of them."""
    env = make_adapter(adapter, lambda: gym.make(COUNTING), encoder, keep_frame=True)
    inner = env.env if adapter == "vector" else env.venv
    kept: list[tuple[Any, list[str]]] = []
    name = "step" if adapter == "vector" else "step_wait"
    step = getattr(inner, name)

    def note(*arguments: Any) -> Any:
        result = step(*arguments)
        infos = [result[-1]] if adapter == "vector" else result[-1]
        kept.extend((info, sorted(info)) for info in infos)
        return result

    setattr(inner, name, note)
    env.reset()
    for _ in range(12):
        env.step(np.zeros(2, np.int64))
    assert len(kept) >= 12
    assert all(sorted(info) == keys for info, keys in kept)
    last = [info[key] for info, keys in kept for key in keys if key == "terminal_observation"]
    last += [x for info, keys in kept if "final_obs" in keys for x in info["final_obs"]]
    assert last
    assert all(image is None or image.shape == (32, 32, 3) for image in last)
