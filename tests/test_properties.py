"""Round trips of random values: what is written is read as an equal value."""

import itertools
import json
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import pytest
import safetensors.torch
import torch
from dataset_files import HEADER, write_dataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from model_files import rewrite_weights
from numpy.typing import NDArray

from rl_vae import FrameDataset, FrameSpec
from rl_vae.agents.recipe import Recipe
from rl_vae.agents.spaces import space_from_dict, space_to_dict
from rl_vae.data.header import DatasetHeader
from rl_vae.data.shards import ShardRows, commit_shard
from rl_vae.errors import ConfigError, FolderError, ObservationError
from rl_vae.frames import MAX_SIZE, MIN_SIZE
from rl_vae.models.config import VAEConfig
from rl_vae.models.folder import read_model
from rl_vae.models.statistics import LEVELS, TrainingStatistics
from rl_vae.sb3 import ActionMap
from rl_vae.system import hashing, strict_json

SIZES = st.integers(MIN_SIZE, MAX_SIZE)
SMALL = st.integers(MIN_SIZE, 48)
EDGES = st.tuples(*[st.integers(0, 9)] * 4)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | NUMBERS | st.text(max_size=9),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=9), part, max_size=3)
    ),
    max_leaves=6,
)
"""JSON values."""


@given(PLAIN)
def test_json_values_are_equal_after_json(value: Any) -> None:
    """A JSON value is equal after writing and reading, and equal values have equal bytes."""
    text = hashing.canonical_json(value)
    again = strict_json.parse_json(text)
    assert again == value and hashing.canonical_json(again) == text


@given(st.builds(FrameSpec, SIZES, SIZES, st.sampled_from([1, 3]), EDGES))
def test_frame_specs_are_equal_after_json(spec: FrameSpec) -> None:
    """Every FrameSpec is equal after JSON."""
    assert (
        FrameSpec.from_dict(strict_json.parse_json(hashing.canonical_json(spec.to_dict()))) == spec
    )


@given(st.fixed_dictionaries(dict.fromkeys(("height", "width", "channels", "crop"), PLAIN)))
def test_frame_specs_are_valid_or_refused(values: dict[str, Any]) -> None:
    """A FrameSpec of any field values is refused or valid."""
    try:
        spec = FrameSpec.from_dict(values)
    except ConfigError:
        return
    assert FrameSpec.from_dict(spec.to_dict()) == spec


@given(
    st.builds(FrameSpec, SMALL, SMALL, st.sampled_from([1, 3]), EDGES),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([(), (1,), (3,), (4,)]),
    st.integers(0, 2**32),
)
def test_frames_have_the_shape_of_the_spec(
    spec: FrameSpec, height: int, width: int, channels: tuple[int, ...], seed: int
) -> None:
    """Images of any size become frames of the spec's shape, or are refused. A batch and single
    images give equal frames."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, height, width, *channels), np.uint8)
    try:
        frames = spec.apply_batch(images)
    except ObservationError:
        with pytest.raises(ObservationError):
            spec.apply(images[0])
        return
    assert frames.shape == (3, *spec.shape) and frames.dtype == np.uint8
    again = FrameSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    for image, frame in zip(images, frames, strict=True):
        assert np.array_equal(again.apply(image), frame)


@st.composite
def headers(draw: Any) -> DatasetHeader:
    """Draw headers of small datasets, with random values in every field."""
    spec = draw(st.builds(FrameSpec, SMALL, SMALL, st.sampled_from([1, 3]), EDGES))
    rows = draw(st.integers(3, 9))
    return DatasetHeader(
        env_id=draw(st.text(max_size=9)),
        engine=draw(st.text(max_size=9)),
        env_kwargs=draw(st.dictionaries(st.text(max_size=5), PLAIN, max_size=2)),
        frame_skip=draw(st.integers(1, 99)),
        image_key=draw(st.none() | st.text(max_size=5)),
        spec=spec,
        raw_shape=(*draw(st.tuples(st.integers(19, 99), st.integers(19, 99))), 3),
        seed=draw(st.integers(0, 2**64 - 1)),
        n_frames=draw(st.integers(1, 4 * rows)),
        shard_rows=rows,
        n_envs=draw(st.integers(1, rows)),
        policy=draw(st.dictionaries(st.text(max_size=5), PLAIN, max_size=2)),
        action_shape=tuple(draw(st.lists(st.integers(1, 3), max_size=3))),
        action_dtype=draw(st.sampled_from(["<f4", "<f8", "<i8", "<i4", "|i1", "|u1", "|b1"])),
        factor_names=tuple(draw(st.lists(st.text(max_size=5), max_size=3, unique=True))),
    )


@pytest.mark.slow
@given(headers(), st.randoms(use_true_random=False))
def test_datasets_are_read_as_written(header: DatasetHeader, random: Any) -> None:
    """A dataset of any content is read as it was written. The order in which its shards were
    written does not change its digest."""
    rng = np.random.default_rng(random.getrandbits(64))
    shards = [ShardRows(header, shard) for shard in range(header.n_shards)]
    for rows in shards:
        rows.frames[:] = rng.integers(0, 256, rows.frames.shape, np.uint8)
        steps = rows.steps.view(np.uint8)
        steps[:] = rng.integers(0, 256, steps.shape, np.uint8)  # NaN included
        ends = rng.integers(0, 2, (2, rows.rows), np.bool_)
        rows.steps["terminated"], rows.steps["truncated"] = ends
        begins = np.r_[True, ends.any(axis=0)[:-1] | rng.integers(0, 2, rows.rows - 1, np.bool_)]
        at = np.arange(rows.rows)
        rows.steps["episode"] = np.cumsum(begins) - 1
        rows.steps["step"] = at - np.maximum.accumulate(np.where(begins, at, 0))
    # Without fsync, because this test does not crash.
    with tempfile.TemporaryDirectory() as place, mock.patch("os.fsync"):
        digests = set()
        for turn in range(2):
            folder = Path(place) / str(turn)
            write_dataset(folder, header, shards=())
            for rows in random.sample(shards, len(shards)):
                commit_shard(folder, rows.shard, folder / ".tmp", rows.write(folder / ".tmp"))
            dataset = FrameDataset.open(folder)
            dataset.verify()
            dataset.require_complete()
            digests.add(dataset.digest)
        assert dataset.header == header and len(digests) == 1
        frames = np.concatenate([rows.frames for rows in shards])
        assert np.array_equal(dataset.frames(np.arange(header.n_frames)), frames)
        assert dataset.steps().tobytes() == b"".join(rows.steps.tobytes() for rows in shards)
        indices = rng.integers(0, header.n_frames, 9)
        assert np.array_equal(dataset.unmapped().frames(indices), frames[indices])


@given(PLAIN, st.sampled_from(sorted(HEADER.to_dict())))
def test_headers_are_valid_or_refused(value: Any, name: str) -> None:
    """A header with any value in one field is refused, or the value is equal after JSON."""
    try:
        header = DatasetHeader.from_dict({**HEADER.to_dict(), name: value})
    except (KeyError, TypeError, ValueError, ObservationError):
        return
    assert json.loads(json.dumps(header.to_dict()[name])) == value


@given(
    st.builds(
        VAEConfig,
        st.integers(1, 4096),
        st.sampled_from(["patch", "world_models", "burgess", "mlp"]),
        st.sampled_from(["gaussian", "learned_gaussian", "bernoulli"]),
        st.floats(0.01, 1e9),
    )
)
def test_vae_configs_are_equal_after_json(config: VAEConfig) -> None:
    """Every VAEConfig is equal after JSON, sigma to the bit."""
    assert VAEConfig(**strict_json.parse_json(hashing.canonical_json(config.to_dict()))) == config


@given(
    st.integers(1, 2**40),
    st.lists(st.tuples(NUMBERS, st.floats(0, 1e300)), min_size=1, max_size=5),
    st.lists(NUMBERS, min_size=len(LEVELS), max_size=len(LEVELS)).map(sorted),
)
def test_training_statistics_are_equal_after_json(
    frames: int, latents: list[tuple[float, float]], quantiles: list[float]
) -> None:
    """TrainingStatistics are equal after JSON, to the bit; unsorted quantiles are refused."""
    mean, std = (tuple(part) for part in zip(*latents, strict=True))
    statistics = TrainingStatistics(frames, mean, std, *[tuple(quantiles)] * 4)
    values = strict_json.parse_json(hashing.canonical_json(statistics.to_dict()))
    assert TrainingStatistics.from_dict(values) == statistics
    assert [statistics.quantile("rate", level) for level in LEVELS] == quantiles
    if quantiles[0] < quantiles[-1]:
        with pytest.raises(ConfigError):
            TrainingStatistics(frames, mean, std, *[tuple(quantiles[::-1])] * 4)


@given(
    st.sampled_from(["PPO", "SAC", "DQN"]),
    st.tuples(*[st.integers(1, 2**40)] * 4),
    st.integers(0, 9),
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["gamma", "tau", "policy_kwargs"]), PLAIN),
)
def test_recipes_are_equal_after_json(
    algorithm: Any,
    counts: tuple[int, int, int, int],
    actions: int,
    matrix: list[list[float]],
    arguments: dict[str, Any],
) -> None:
    """Every Recipe is equal after JSON."""
    total, envs, skip, stack = counts
    mapped = ActionMap(tuple(map(tuple, matrix)), tuple(row[0] for row in matrix))
    recipe = Recipe(
        algorithm,
        total,
        n_envs=envs,
        frame_skip=skip,
        stack=stack,
        actions=actions,
        action_map=mapped,
        hyperparameters=arguments,
    )
    assert (
        Recipe.from_dict(strict_json.parse_json(hashing.canonical_json(recipe.to_dict()))) == recipe
    )


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    st.builds(gym.spaces.Discrete, st.integers(1, 2**16), start=st.integers(-9, 9))
    | st.lists(st.integers(1, 2**16), min_size=1, max_size=4).map(
        lambda nvec: gym.spaces.MultiDiscrete(nvec, start=[-1] * len(nvec))
    )
    | st.builds(gym.spaces.MultiBinary, st.integers(1, 9) | st.just([2, 3]))
    | st.sampled_from(
        [
            gym.spaces.Box(-np.inf, np.inf, (2, 3), np.float64),
            gym.spaces.Box(0, 255, (4, 4, 3), np.uint8),
            gym.spaces.Box(np.int64(-3), np.int64(2**40), (1,), np.int64),
            gym.spaces.Dict({"a": gym.spaces.Discrete(2), "b": gym.spaces.Box(0, 1, (2,))}),
        ]
    )
    | st.lists(st.tuples(FLOATS, FLOATS).map(sorted), min_size=1, max_size=4).map(
        lambda pairs: gym.spaces.Box(*np.array(pairs, np.float32).T, dtype=np.float32)
    )
)
def test_action_spaces_are_equal_after_json(space: gym.Space[Any]) -> None:
    """Every action space of an agent is equal after JSON."""
    again = space_from_dict(strict_json.parse_json(hashing.canonical_json(space_to_dict(space))))
    assert again == space


BITS = arrays.arrays(np.uint32, 64)


@pytest.mark.slow
@given(bits=BITS)
def test_weights_are_read_to_the_bit(bits: NDArray[np.uint32], weights_folder: Path) -> None:
    """Finite float32 weights of a model are read bit for bit; NaN and infinity are refused."""
    values = torch.from_numpy(bits.view(np.float32))
    name = "encoder.maps.0.weight"

    def change(weights: dict[str, torch.Tensor]) -> None:
        weights[name].view(-1)[:64] = values

    rewrite_weights(weights_folder, change)
    if not bool(torch.isfinite(values).all()):
        with pytest.raises(FolderError, match="NaN or infinity"):
            read_model(weights_folder)
        return
    model_folder = read_model(weights_folder)
    for weights in (model_folder.weights, model_folder.build().state_dict()):
        got = weights[name].reshape(-1)[:64].numpy().view(np.uint32)
        assert np.array_equal(got, bits)


@pytest.fixture(scope="module")
def weights_folder(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a model, whose weights a test may change."""
    return Path(shutil.copytree(trained.path, tmp_path_factory.mktemp("weights") / "model"))


@given(
    st.lists(st.tuples(st.text(min_size=1, max_size=9), BITS), max_size=3, unique_by=lambda t: t[0])
)
def test_safetensors_keep_every_bit(named: list[tuple[str, NDArray[np.uint32]]]) -> None:
    """safetensors keeps every bit of every number, under any name."""
    tensors = {name: torch.from_numpy(bits.view(np.float32).copy()) for name, bits in named}
    again = safetensors.torch.load(safetensors.torch.save(tensors))
    assert set(again) == set(tensors)
    for name, bits in named:
        assert np.array_equal(again[name].numpy().view(np.uint32), bits)


def test_the_bounds_of_a_frame_spec_are_valid() -> None:
    """A FrameSpec at every bound of its ranges is equal after JSON."""
    for corner in itertools.product((MIN_SIZE, MAX_SIZE), (MIN_SIZE, MAX_SIZE), (1, 3)):
        spec = FrameSpec(*corner, crop=(0, 10**9, 0, 0))
        assert FrameSpec.from_dict(spec.to_dict()) == spec
    assert math.prod((MAX_SIZE, MAX_SIZE, 3)) < 2**24
