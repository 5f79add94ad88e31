"""collect_sprites: write sprites to a dataset on disk, like the frames of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from rl_vae.constraints import Range, check_arguments, check_value
from rl_vae.data.dataset import FrameDataset
from rl_vae.data.folder import missing_shards
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard, max_shard_rows
from rl_vae.frames import FrameSpec
from rl_vae.sprites.sampler import Sprites, check_interventions
from rl_vae.sprites.shapes import FACTOR_NAMES, FACTOR_SIZES
from rl_vae.system import files
from rl_vae.system.outputs import output_path


@check_arguments
def collect_sprites(
    out: str | Path,
    *,
    n_frames: int,
    distractors: int = 0,
    do: Mapping[str, int] | None = None,
    spec: FrameSpec | None = None,
    seed: Annotated[int, Range(low=0, high=2**63)] = 0,
) -> FrameDataset:
    """Draw sprites into a folder, or continue an interrupted collection.

    Every frame has another combination of factors; 737,280 frames are the whole grid. Every frame
    is an episode of its own. Its `factors` are indices on the grid.

    Args:
        out: Folder of the dataset. A finished dataset with the same settings is returned unchanged.
        n_frames: Number of frames, from 16 to the number of combinations: 737,280, or fewer if `do`
            sets factors.
        distractors: Number of discs behind the sprite, as in `Sprites`.
        do: Interventions: index of a factor on the grid, by name. These factors are the same in all
            frames.
        spec: Conversion of an image into a frame; None: the image as it is, 64 x 64 pixels.
        seed: Seed of the dataset, at least 0.

    Returns:
        The finished dataset.

    Raises:
        ConfigError: if an argument is out of range.
        DatasetError: if the folder holds other files, is in use, or cannot be written.
    """
    # Check the arguments
    out, sprites, do = output_path(out), Sprites(distractors), check_interventions(do)
    sizes = [1 if name in do else n for name, n in zip(FACTOR_NAMES, FACTOR_SIZES, strict=True)]
    combinations = int(np.prod(sizes))
    frame_range = Range(
        low=16, high=combinations, remedy=f"choose n_frames={min(16, combinations)}"
    )
    check_value("n_frames", n_frames, Annotated[int, frame_range])
    spec = sprites.spec if spec is None else spec
    header = _make_header(sprites, spec, n_frames, seed, do)

    # A random choice of combinations: indices into the flattened grid, without repetition.
    flat = np.random.default_rng([seed, 0x5B17]).permutation(combinations)[:n_frames]
    factors = np.stack(np.unravel_index(flat, sizes), axis=1)
    for name, value in do.items():
        factors[:, FACTOR_NAMES.index(name)] = value

    # Draw the shards that are missing
    with missing_shards(out, header) as missing:
        for shard in missing:
            rows = ShardRows(header, shard)
            shard_factors = factors[shard * header.shard_rows :][: rows.rows]
            images = sprites.draw(shard_factors, np.random.default_rng([seed, shard]))
            rows.frames[:] = spec.apply_batch(images)
            rows.steps["factors"] = shard_factors
            rows.steps["truncated"] = True
            rows.steps["episode"] = np.arange(rows.rows)
            temporary = files.temporary_path(out, f"{shard:05d}-")
            commit_shard(out, shard, temporary, rows.write(temporary))
    return FrameDataset.open(out)


def _make_header(
    sprites: Sprites, spec: FrameSpec, n_frames: int, seed: int, do: Mapping[str, int]
) -> DatasetHeader:
    settings: dict[str, Any] = {"engine": "sprites", "frame_skip": 1, "image_key": None}
    return DatasetHeader(
        env_id="sprites",
        **settings,
        env_kwargs={"distractors": sprites.distractors},
        spec=spec,
        raw_shape=sprites.spec.shape,
        seed=seed,
        n_frames=n_frames,
        shard_rows=max_shard_rows(spec),
        n_envs=1,
        policy={"kind": "each combination of factors once", "do": dict(do)},
        action_shape=(),
        action_dtype="<i8",
        factor_names=FACTOR_NAMES,
    )
