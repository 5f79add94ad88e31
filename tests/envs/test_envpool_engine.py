"""EnvPool engine: equal to EnvPool stepped by hand, seeds, specs and threads."""

from typing import Any

import numpy as np
import pytest
from vector_envs import run, same

from rl_vae.envs.envpool_engine import EnvPoolVectorEnv
from rl_vae.envs.registry import make_engine
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process

configure_process()
CAR = "CarRacing-v3"


def pool_engine(n: int, frame_skip: int = 1, **kwargs: Any) -> EnvPoolVectorEnv:
    pytest.importorskip("envpool")
    envs = make_engine(
        CAR, n, engine="envpool", workers=2, frame_skip=frame_skip, env_kwargs=kwargs
    )
    assert isinstance(envs, EnvPoolVectorEnv)
    return envs


def car_actions(steps: int, n: int) -> Any:
    return np.random.default_rng(5).uniform([-1, 0, 0], [1, 1, 0.2], (steps, n, 3))


class Bare:
    """EnvPool by hand: one step at a time, its own autoreset, which costs a step of its own."""

    def __init__(self, seeds: tuple[int, ...], **kwargs: Any) -> None:
        import envpool

        self.pools = [
            envpool.make_gymnasium(CAR, num_envs=1, env_seed=[seed], **kwargs) for seed in seeds
        ]

    def reset(self) -> Any:
        return np.concatenate([pool.reset()[0] for pool in self.pools])

    def step(self, index: int, action: Any) -> tuple[Any, float, bool, bool]:
        image, reward, terminated, truncated, _ = self.pools[index].step(
            np.asarray(action, np.float32)[None]
        )
        return image[0].copy(), float(reward[0]), bool(terminated[0]), bool(truncated[0])


@pytest.mark.parametrize("frame_skip", [1, 2, 4])
def test_envpool_lanes_equal_the_bare_pool(frame_skip: int) -> None:
    """EnvPool's indices give what each car gives alone, stepped by hand: rewards summed, the true
    last frame where a index ends inside a skip, and no transition for the restart."""
    limit, steps, seeds = 7, 12, (11, 12, 13)
    envs = pool_engine(3, frame_skip, max_episode_steps=limit)
    bare = Bare(seeds, max_episode_steps=limit)
    images = envs.reset(seeds)
    assert np.array_equal(images, bare.reset())
    age = [0, 0, 0]
    ends = 0
    for actions in car_actions(steps, 3):
        images, rewards, terminated, truncated, final_images, *_ = envs.step(actions)
        last = iter(final_images)
        for index in range(3):
            total, term, trunc = np.float32(0), False, False
            for _ in range(frame_skip):
                image, reward, term, trunc = bare.step(index, actions[index])
                total += np.float32(reward)
                age[index] += 1
                if term or trunc:
                    break
            assert rewards[index] == pytest.approx(total, abs=1e-4)
            assert (terminated[index], truncated[index]) == (term, trunc and not term)
            if term or trunc:
                assert age[index] == limit
                assert np.array_equal(next(last), image)
                image, reward, *_ = bare.step(index, actions[index])  # the step that only restarts
                assert reward == 0
                age[index], ends = 0, ends + 1
            assert np.array_equal(images[index], image)
        assert next(last, None) is None
    assert ends >= 3


@pytest.mark.slow
def test_an_envpool_lane_ends_alone() -> None:
    """Where one index's episode ends, the others go on undisturbed, and nothing is repeated."""
    wild = np.array([[0, 0.3, 0], [0.3, 0, 0]], np.float32)  # one leaves the field, one stands
    envs, alone = pool_engine(2, 4), pool_engine(1, 4)
    images, single = envs.reset((21, 22)), alone.reset((22,))
    ended = 0
    for _ in range(110):
        before = images
        images, _, terminated, truncated, final_images, *_ = envs.step(wild)
        single = alone.step(wild[1:]).images
        assert np.array_equal(images[1], single[0])
        assert not terminated[1] and not truncated[1]
        if terminated[0]:
            ended += 1
            assert len(final_images) == 1
            assert not np.array_equal(final_images[0], images[0])
            assert not np.array_equal(final_images[0], before[0])
    assert ended


def test_envpool_is_seeded_by_lane() -> None:
    """A pool's index i is decided by seeds[i]: the same again, and alone as among others."""
    envs = pool_engine(3)

    def play(envs: EnvPoolVectorEnv, seeds: tuple[int, ...], indices: list[int]) -> list[Any]:
        out = [envs.reset(seeds)]
        for actions in car_actions(6, 3):
            out += envs.step(actions[indices])[:2]
        return out

    first, again = (play(envs, (1, 2, 3), [0, 1, 2]) for _ in range(2))
    assert same(first, again)
    other = play(envs, (1, 9, 3), [0, 1, 2])
    assert np.array_equal(first[0][[0, 2]], other[0][[0, 2]])
    assert not np.array_equal(first[0][1], other[0][1])
    alone = play(pool_engine(1), (2,), [1])
    assert same([part[1:2] for part in first], alone)


def test_envpool_spec_and_threads_change_nothing() -> None:
    """A spec turns EnvPool's raw images into its frames; the number of threads changes no byte."""
    pytest.importorskip("envpool")
    spec = FrameSpec(32, 32, crop=(0, 12, 0, 0))
    runs = [
        run(make_engine(CAR, 3, engine="envpool", workers=workers, spec=each), (4, 5, 6), 5)
        for workers, each in ((1, None), (3, None), (2, spec))
    ]
    assert same(runs[0], runs[1])
    assert np.array_equal(spec.apply_batch(runs[0][0]), runs[2][0])
    assert np.array_equal(spec.apply_batch(runs[0][-6]), runs[2][-6])
