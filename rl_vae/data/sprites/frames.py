"""collect_sprites: sprites as a dataset on disk, like frames of any environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.data.collect import missing_shards
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard, max_shard_rows
from rl_vae.data.sprites.sampler import Sprites, check_interventions
from rl_vae.data.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES
from rl_vae.errors import ConfigError


def collect_sprites(
    out: str | Path,
    *,
    n_frames: int,
    distractors: int = 0,
    do: Mapping[str, int] | None = None,
    seed: int = 0,
) -> FrameDataset:
    """Draw sprites into a folder, or go on with what an interrupted run left there.

    No combination of factors comes twice: 737,280 frames are the whole grid. Each frame stands for
    itself (an episode of one); `factors` holds its place on the grid in whole numbers.

    Args:
        out: The folder. A finished dataset with the same settings is returned as it is.
        n_frames: How many, from 16 to 737,280, or fewer where `do` leaves fewer.
        distractors: As in `Sprites`.
        do: Interventions: factors that are the same in all frames, by name.
        seed: From 0 up. The same seed gives the same dataset.

    Raises:
        ConfigError: where an argument is out of range.
        DatasetError: where the folder holds something else, is in use, or cannot be written.
    """
    out, sprites, do = Path(out), Sprites(distractors), check_interventions(do)
    sizes = [1 if name in do else n for name, n in zip(FACTOR_NAMES, FACTOR_SIZES, strict=True)]
    most = int(np.prod(sizes))
    for name, value, low, high in (("n_frames", n_frames, 16, most), ("seed", seed, 0, 2**63)):
        if type(value) is not int or not low <= value <= high:
            raise ConfigError(
                f"{name} is out of range.",
                expected=f"a whole number from {low} to {high}",
                got=repr(value),
                remedy=f"choose {name}={low}",
            )
    header = _header(sprites, n_frames, seed, do)
    # numpy promises shuffles to stay what they are, across machines if not for ever.
    places = np.random.default_rng([seed, 0x5B17]).permutation(most)[:n_frames]
    factors = np.stack(np.unravel_index(places, sizes), axis=1)
    for name, value in do.items():
        factors[:, FACTOR_NAMES.index(name)] = value
    with missing_shards(out, header) as missing:
        for shard in missing:
            rows = ShardRows(header, shard)
            here = factors[shard * header.shard_rows :][: rows.rows]
            rows.frames[:] = sprites.draw(here, np.random.default_rng([seed, shard]))
            rows.steps["factors"] = here
            rows.steps["truncated"] = True
            rows.steps["episode"] = np.arange(rows.rows)
            temporary = out / f".tmp-{shard:05d}"
            commit_shard(out, shard, temporary, rows.write(temporary))
    return FrameDataset.open(out)


def _header(sprites: Sprites, n_frames: int, seed: int, do: Mapping[str, int]) -> DatasetHeader:
    settings: dict[str, Any] = {"engine": "sprites", "frame_skip": 1, "image_key": None}
    return DatasetHeader(
        env_id="sprites",
        **settings,
        env_kwargs={"distractors": sprites.distractors},
        spec=sprites.spec,
        raw_shape=sprites.spec.shape,
        seed=seed,
        n_frames=n_frames,
        shard_rows=max_shard_rows(sprites.spec),
        n_envs=1,
        policy={"kind": "each combination of factors once", "do": dict(do)},
        action_shape=(),
        action_dtype="<i8",
        factor_names=FACTOR_NAMES,
    )
