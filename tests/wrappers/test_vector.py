"""VectorLatentObservation: environments in step, in whatever manner they begin anew."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, Moment, frame_of, refused
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from toys import ADAPTERS, MIXED, adapt, history_of, seen, watch

from rl_vae import Encoder, VectorLatentObservation
from rl_vae.errors import ConfigError, EnvironmentFault
from rl_vae.training.result import Trained

LANES = 3
MODES = list(AutoresetMode)


def many(mode: AutoresetMode, env_id: str = COUNTING) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gym.make(env_id)] * LANES, autoreset_mode=mode)


def latent(encoder: Encoder, moment: Moment) -> NDArray[np.float32]:
    return encoder.encode_observations(frame_of(moment)[None])[0]


@pytest.mark.parametrize("mode", MODES)
def test_it_is_a_vector_environment(trained: Trained, mode: AutoresetMode) -> None:
    """Spaces are those of a batch, the mode stays told, and observations lie in their space."""
    envs = VectorLatentObservation(many(mode), trained.path, stack=2, actions=1)
    assert isinstance(envs, VectorEnv)
    assert envs.single_observation_space.shape == (12,)
    assert envs.observation_space.shape == (LANES, 12)
    assert envs.metadata["autoreset_mode"] is mode
    observations, _ = envs.reset(seed=3)
    assert envs.observation_space.contains(observations)
    assert envs.observation_space.contains(envs.step(envs.action_space.sample())[0])
    envs.close()


def test_both_gymnasium_adapters_show_the_same(trained: Trained, encoder: Encoder) -> None:
    """One environment in a vector shows what it shows alone, actions and all."""
    options: dict[str, Any] = {"stack": 3, "actions": 2}
    first, *others = (
        watch(name, lambda: gym.make(COUNTING), encoder, **options).shown for name in ADAPTERS
    )
    for other in others:
        for lane in range(2):
            np.testing.assert_allclose(first[lane], other[lane], rtol=0, atol=1e-6)


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("env_id", [COUNTING, MIXED])
def test_the_frame_is_kept(encoder: Encoder, adapter: str, env_id: str) -> None:
    """keep_frame hands over each frame that was encoded, an episode's last one too, as a copy."""
    watched = watch(adapter, lambda: gym.make(env_id), encoder, stack=2, keep_frame=True)
    for lane in range(2):
        assert len(watched.frames[lane]) == len(history_of(5 + lane))
        for moment, frame, observation in zip(
            history_of(5 + lane), watched.frames[lane], watched.shown[lane], strict=True
        ):
            assert np.array_equal(frame, encoder.spec.apply(frame_of(moment)))
            assert frame.dtype == np.uint8
            right = encoder.encode(frame[None])[0]
            np.testing.assert_allclose(observation[4:8], right, rtol=0, atol=1e-6)


def test_no_frame_is_kept_unasked(encoder: Encoder) -> None:
    """Without keep_frame infos are the environment's."""
    for adapter in ADAPTERS:
        frames = watch(adapter, lambda: gym.make(COUNTING), encoder).frames
        assert all(frame is None for lane in frames for frame in lane)


def test_infos_have_masks(encoder: Encoder) -> None:
    """Kept frames come as Gymnasium's infos do: an array, zero where there is none, and a mask."""
    envs = VectorLatentObservation(many(AutoresetMode.SAME_STEP), encoder, keep_frame=True)
    _, infos = envs.reset(seed=3)
    assert infos["_frame"].all()
    ended = np.zeros(LANES, np.bool_)
    for _ in range(9):
        _, _, terminated, truncated, infos = envs.step(np.zeros(LANES, np.int64))
        done = terminated | truncated
        assert infos["_frame"].all() and infos["frame"].shape == (LANES, *encoder.spec.shape)
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
    """Gives final observations as one array, without a mask, as some vector environments do."""

    def step(self, actions: Any) -> Any:
        *rest, infos = super().step(actions)
        if "final_obs" in infos:
            blank = np.zeros(self.single_observation_space.shape, np.uint8)
            infos["final_obs"] = np.stack([blank if x is None else x for x in infos["final_obs"]])
            del infos["_final_obs"]
        return *rest, infos


@pytest.mark.parametrize("extras", ["flatten", "dict"])
def test_dense_final_observations_stay_dense(encoder: Encoder, extras: Any) -> None:
    """final_obs as one array becomes one array, with the same latents as an array of objects."""
    opened = [lambda: gym.make(COUNTING)] * LANES
    mode = AutoresetMode.SAME_STEP
    dense, objects = (
        VectorLatentObservation(kind(opened, autoreset_mode=mode), encoder, stack=2, extras=extras)
        for kind in (Dense, SyncVectorEnv)
    )
    dense.reset(seed=3), objects.reset(seed=3)
    compared = 0
    for _ in range(12):
        *_, told = dense.step(np.ones(LANES, np.int64))
        *_, right = objects.step(np.ones(LANES, np.int64))
        for lane in np.flatnonzero(right.get("_final_obs", [])):
            if extras == "dict":
                assert np.array_equal(
                    told["final_obs"]["latent"][lane], right["final_obs"][lane]["latent"]
                )
            else:
                assert told["final_obs"].shape == (LANES, 8)
                assert np.array_equal(told["final_obs"][lane], right["final_obs"][lane])
            compared += 1
    assert compared > 2


class Pool(VectorEnv[Any, Any, Any]):
    """Like EnvPool's: spaces of a single environment; a partial reset shows those lanes only."""

    def __init__(self) -> None:
        self._envs = many(AutoresetMode.NEXT_STEP)
        self.num_envs, self.metadata = LANES, self._envs.metadata
        self.observation_space = self.single_observation_space = self._envs.single_observation_space
        self.action_space = self.single_action_space = self._envs.single_action_space

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        mask = (options or {}).get("reset_mask", np.ones(LANES, np.bool_))
        observations, infos = self._envs.reset(seed=seed, options=options)
        return observations[mask], infos

    def step(self, actions: Any) -> Any:
        return self._envs.step(actions)


def test_a_space_that_is_not_batched_is_no_trap(encoder: Encoder) -> None:
    """EnvPool's observation_space is a single environment's; ours is a batch's, all the same."""
    envs = VectorLatentObservation(Pool(), encoder, stack=2)
    assert envs.observation_space.shape == (LANES, 8)
    assert envs.reset(seed=3)[0].shape == (LANES, 8)


@pytest.mark.parametrize("source", [*MODES, "pool"], ids=str)
def test_some_lanes_begin_anew(encoder: Encoder, source: Any) -> None:
    """A reset of some lanes begins those anew, whatever the mode, and leaves the others; no later
    step takes the new episode's first action for one that was ignored."""
    inner: Any = Pool() if source == "pool" else many(source)
    envs = VectorLatentObservation(inner, encoder, stack=2, actions=1)
    envs.reset(seed=0)  # episodes of 3, 4 and 5 steps
    for _ in range(2):
        before = envs.step(np.ones(LANES, np.int64))[0]
    if source != AutoresetMode.SAME_STEP:
        before = envs.step(np.ones(LANES, np.int64))[0]  # lane 0 has ended here
    mask = np.array([True, False, True])
    observations, _ = envs.reset(options={"reset_mask": mask})
    assert np.array_equal(observations[1], before[1])
    nothing = np.zeros(4)
    for lane in (0, 2):
        first = Moment(lane, 1, 0)
        right = seen(encoder, [first], [], 2, 1, nothing)
        np.testing.assert_allclose(observations[lane], right, rtol=0, atol=1e-6)
    observations = envs.step(np.full(LANES, 2))[0]
    for lane in (0, 2):
        moments = [Moment(lane, 1, 0), Moment(lane, 1, 1)]
        right = seen(encoder, moments, [2], 2, 1, nothing)
        np.testing.assert_allclose(observations[lane], right, rtol=0, atol=1e-6)


def test_seeds_are_one_by_one(encoder: Encoder) -> None:
    """reset takes a number, from which lanes count on, or a list, with None where it is chance."""
    envs = VectorLatentObservation(many(AutoresetMode.NEXT_STEP), encoder)
    for seed, right in ((7, [7, 8, 9]), ([4, None, 2], [4, 8, 2])):
        observations, _ = envs.reset(seed=seed)
        for lane, number in enumerate(right):
            if seed == 7 or lane != 1:
                wanted = latent(encoder, Moment(number, 0, 0))
                np.testing.assert_allclose(observations[lane], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_one_call_of_the_encoder_a_step(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    """A step encodes all that it shows, final observations too, in one call; a reset, in one."""
    sizes: list[int] = []
    right = Encoder.encode

    def encode(self: Encoder, frames: NDArray[np.uint8]) -> Any:
        sizes.append(len(frames))
        return right(self, frames)

    monkeypatch.setattr(Encoder, "encode", encode)
    watched = watch(adapter, lambda: gym.make(COUNTING), encoder, steps=24)
    ends = len(watched.shown[0]) + len(watched.shown[1]) - 2 * 25
    assert ends > 2
    assert sum(sizes) == 2 * 25 + ends
    assert len(sizes) == (2 * 25 + ends if adapter == "single" else 25)


def test_no_mode_is_guessed(encoder: Encoder) -> None:
    """Environments that do not say how they begin anew are refused; words are taken, too."""
    inner = many(AutoresetMode.SAME_STEP)
    inner.metadata = {**inner.metadata, "autoreset_mode": "SameStep"}
    VectorLatentObservation(inner, encoder)
    for said in (None, "sometimes"):
        inner.metadata = {**inner.metadata, "autoreset_mode": said}
        with refused(ConfigError, repr(said), "NEXT_STEP"):
            VectorLatentObservation(inner, encoder)


def test_a_wrong_mode_is_found(encoder: Encoder) -> None:
    """Where episodes end without final observations although SAME_STEP was told, it is an error."""
    inner = many(AutoresetMode.NEXT_STEP)
    inner.metadata = {**inner.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
    envs = VectorLatentObservation(inner, encoder)
    envs.reset(seed=0)
    with refused(EnvironmentFault, "final_obs", "autoreset_mode"):
        for _ in range(5):
            envs.step(np.zeros(LANES, np.int64))


@pytest.mark.parametrize("adapter", ["vector", "sb3"])
def test_infos_of_the_environment_are_left_alone(encoder: Encoder, adapter: str) -> None:
    """What an environment wrote into its infos is never changed behind its back."""
    env = adapt(adapter, lambda: gym.make(COUNTING), encoder, keep_frame=True)
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
    finals = [info[key] for info, keys in kept for key in keys if key == "terminal_observation"]
    finals += [x for info, keys in kept if "final_obs" in keys for x in info["final_obs"]]
    assert finals
    assert all(last is None or last.shape == (32, 32, 3) for last in finals)
