"""SeedWarning: environments that their seed does not determine."""

import itertools
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from environments import Counting
from gymnasium.vector import SyncVectorEnv

from rl_vae.data.collect import collect_frames
from rl_vae.data.shard_envs import SeedWarning, ShardEnvs
from rl_vae.envs.registry import make_engine
from rl_vae.frames import FrameSpec

SETTINGS: Any = {"n_frames": 64, "spec": FrameSpec(32, 32), "progress": False}
_opened = itertools.count()


class Unseeded(Counting):
    """Counting whose images show when it was made, whatever its seed is."""

    def __init__(self) -> None:
        super().__init__()
        self._number = next(_opened)

    def reset(self, **arguments: Any) -> Any:
        return self._mark(super().reset(**arguments))

    def step(self, action: int) -> Any:
        return self._mark(super().step(action))

    def _mark(self, result: Any) -> Any:
        image = np.array(result[0])
        image[-1, -1] = self._number
        return image, *result[1:]


class UnseededEpisodes(Unseeded):
    """An environment that is open, and whose episodes differ although they have one seed."""

    def reset(self, **arguments: Any) -> Any:
        self._number += 1
        return super().reset(**arguments)


class UnseededSecond(Unseeded):
    """Determined by the seed of a reset; a reset without a seed draws from elsewhere."""

    def reset(self, **arguments: Any) -> Any:
        self._number = 0 if arguments.get("seed") is not None else next(_opened)
        return super().reset(**arguments)


GIVEN = {
    "function": lambda: Unseeded,
    "second episode": lambda: UnseededSecond,
    "instance": UnseededEpisodes,
    "vector": lambda: SyncVectorEnv([UnseededEpisodes] * 2),
}


@pytest.mark.parametrize("kind", GIVEN)
def test_an_environment_that_its_seed_does_not_determine_is_named(
    kind: str, tmp_path: Path
) -> None:
    """Two new environments, or two episodes of one that is open, that differ although seed and
    actions are equal, are a warning with a remedy."""
    with pytest.warns(SeedWarning, match="not determined by its seed.*np_random"):
        collect_frames(GIVEN[kind](), tmp_path / "data", workers=1, **SETTINGS)


class Interrupted(Counting):
    """The first environment that closes gets Ctrl-C meanwhile."""

    closed: ClassVar[list[Any]] = []

    def close(self) -> None:
        if not self.closed:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        self.closed.append(self)


def test_ctrl_c_while_environments_close_leaves_none_open() -> None:
    """If Ctrl-C comes while the environments of a shard are closed, each of them is closed."""
    Interrupted.closed.clear()
    envs = make_engine(Interrupted, 3, engine="gymnasium", workers=1, spec=SETTINGS["spec"])
    shard_envs = ShardEnvs(lambda: envs, reuse=False)
    with pytest.raises(KeyboardInterrupt):
        shard_envs.close()
    shard_envs.close()
    assert len(set(Interrupted.closed)) == len(Interrupted.closed) == 3


class Carrying(Counting):
    """Its images show how many episodes it has had: it carries state across resets, as Box2D."""

    def __init__(self) -> None:
        super().__init__()
        self._episodes = 0

    def reset(self, **arguments: Any) -> Any:
        self._episodes += 1
        return self._mark(super().reset(**arguments))

    def step(self, action: int) -> Any:
        return self._mark(super().step(action))

    def _mark(self, result: Any) -> Any:
        image = np.array(result[0])
        image[-1, -1] = self._episodes
        return image, *result[1:]


def test_state_that_an_environment_carries_belongs_to_its_shard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An environment that carries state across resets gives one dataset with 1, 2 and 3 workers."""
    monkeypatch.setattr("rl_vae.data.shards.SHARD_ROWS", 96)
    settings = {**SETTINGS, "n_frames": 200}
    digests = {
        collect_frames(Carrying, tmp_path / str(workers), workers=workers, **settings).digest
        for workers in (1, 2, 3)
    }
    assert len(digests) == 1
    assert len(list((tmp_path / "3").glob("shard-*"))) == 4


@pytest.mark.parametrize("given", [Counting, lambda: SyncVectorEnv([Counting] * 2)])
def test_a_seeded_environment_is_no_warning(given: Any, tmp_path: Path) -> None:
    """An environment whose seed determines it is collected without a word."""
    env = given if given is Counting else given()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SeedWarning)
        collect_frames(env, tmp_path / "data", workers=1, **SETTINGS)
