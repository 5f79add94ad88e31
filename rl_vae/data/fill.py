"""fill_shard: act in the environments of a shard and record what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_vae.data.header import DatasetHeader
from rl_vae.data.policies import CollectionPolicy, PolicyContext
from rl_vae.data.shards import ShardRows
from rl_vae.envs.action_masks import read_action_masks
from rl_vae.envs.seeds import training_seeds
from rl_vae.envs.vector_env import PixelVectorEnv
from rl_vae.errors import ConfigError

_REPORT_ROWS = 256
"""Number of rows after which the progress is reported."""


def fill_shard(
    header: DatasetHeader,
    engine: PixelVectorEnv,
    rows: ShardRows,
    policy: CollectionPolicy,
    update: Callable[[int], Any],
) -> None:
    """Act until every environment has filled its rows of the shard.

    Args:
        header: Header of the dataset.
        engine: `header.n_envs` environments.
        rows: Rows of the shard, to be filled.
        policy: Policy that chooses the actions.
        update: Called with the number of new rows.

    Raises:
        ConfigError: if the policy returns actions of the wrong shape.
    """
    n_envs, key = header.n_envs, (header.seed, rows.shard)
    images, extras = engine.reset(training_seeds(n_envs, *key)), engine.reset_extras
    context = PolicyContext(engine.action_space, header.spec, header.frame_skip, n_envs, key)
    act = policy.start(
        context._replace(
            extras_space=engine.extras_space,
            read_extras=lambda: extras,
            read_raw=engine.raw_observations,
            read_masks=lambda: read_action_masks(engine),
        )
    )
    is_first = np.ones(n_envs, np.bool_)
    step = np.zeros(n_envs, np.int32)
    episode = np.arange(n_envs, dtype=np.int32)  # of each environment; numbers of the shard
    n_episodes, unreported = n_envs, 0
    for t in range(int(rows.n_rows_of_env.max())):
        # Environments whose rows are full step on with the others, but are not recorded.
        active = np.flatnonzero(t < rows.n_rows_of_env)
        at = rows.first_row_of_env[active] + t
        actions = act(images, is_first)
        _check_actions(actions, header)

        # What belongs to the frame, then what its action led to.
        rows.frames[at] = images[active]
        if header.factor_names:
            rows.steps["factors"][at] = engine.factors()[active]
        rows.steps["action"][at] = actions[active]
        rows.steps["episode"][at], rows.steps["step"][at] = episode[active], step[active]
        images, rewards, terminated, truncated, _, extras, _ = engine.step(actions)
        rows.steps["reward"][at] = rewards[active]
        rows.steps["terminated"][at] = terminated[active]
        rows.steps["truncated"][at] = truncated[active]

        # An environment whose episode has ended shows the first image of the next one.
        is_first = terminated | truncated
        step = np.where(is_first, 0, step + 1).astype(np.int32)
        for env in np.flatnonzero(is_first):
            episode[env], n_episodes = n_episodes, n_episodes + 1
        unreported += len(active)
        if unreported >= _REPORT_ROWS:
            update(unreported)
            unreported = 0
    update(unreported)


def _check_actions(actions: NDArray[Any], header: DatasetHeader) -> None:
    expected, got = (header.n_envs, *header.action_shape), np.shape(actions)
    if got != expected:
        raise ConfigError(
            "The collection policy returned actions of the wrong shape.",
            expected=f"shape {expected}: one action per environment",
            got=f"shape {got}",
            remedy="return an array of that shape from the function that start() returns",
        )
