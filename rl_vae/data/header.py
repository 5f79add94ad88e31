"""DatasetHeader: the content of `dataset.json`, which defines a dataset of frames."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_vae.envs.pixel_source import PixelSource, plain_source
from rl_vae.envs.source import EnvSource, stored_source
from rl_vae.errors import (
    ConfigError,
    DatasetError,
    RlVaeError,
    system_failure,
    system_remedy,
)
from rl_vae.frames import FrameSpec
from rl_vae.system import hashing, reading, strict_json
from rl_vae.system.json_values import decode_values, encode_values

FORMAT = 1
"""Version of the format on disk."""
_MAX_COUNT = 2**40
"""Largest number of frames, and of anything else that the header counts."""
_MAX_ACTION_SIZE = 2**20
"""Largest number of values in one action: memory is allocated by this shape before the file of
the actions is checked."""
_OPTIONAL_FIELDS = ("pixels", "max_episode_steps", "environment", "n_frames", "missing")
_TUPLE_FIELDS = ("raw_shape", "action_shape", "factor_names", "missing")
IMPORT = "import"
"""Name in the place of an engine of frames that were imported."""
_ACTION_DTYPES = frozenset(np.dtype(code).str for code in "?bBhHiIlLefd")


@dataclass(frozen=True)
class DatasetHeader:
    """Everything that defines a dataset. Equal headers of collected frames give equal frames.

    Frames that were imported have no environment: `engine` is "import", `env_id` the name of the
    frames, `env_kwargs` what is known of their source.
    """

    env_id: str
    """Id of the environment."""
    engine: str
    """Environment engine: "gymnasium", "envpool", "vector", "sprites" or "import"."""
    env_kwargs: Mapping[str, Any]
    """Keyword arguments of the environment."""
    frame_skip: int
    """Number of environment steps per action."""
    image_key: str | None
    """Key of the image in a Dict observation; None if the observation is the image."""
    spec: FrameSpec
    """Conversion of a raw observation into a frame."""
    raw_shape: tuple[int, ...]
    """Shape of a raw observation: uint8, after the conversion of its pixels, before the spec."""
    seed: int
    """Seed of the dataset, at least 0."""
    n_frames: int | None
    """Number of frames of the finished dataset; None: not known before the last shard, whose line
    in the manifest says that it is the last. The JSON key is left out if it is None."""
    shard_rows: int
    """Number of frames in a shard; the last shard may hold fewer."""
    n_envs: int
    """Number of environments that fill a shard together. Its JSON key is "lanes"."""
    policy: Mapping[str, Any]
    """Description of the collection policy: the result of its `describe()`."""
    action_shape: tuple[int, ...]
    """Shape of an action."""
    action_dtype: str
    """Data type of an action, as in `numpy.dtype.str`."""
    factor_names: tuple[str, ...]
    """Names of the factors (the simulator's state); empty if the environment has none."""
    pixels: PixelSource | None = None
    """Where the pixels come from, and their conversion to raw observations; None: the observation
    is the image. The JSON key is left out if it is None."""
    max_episode_steps: int | None = None
    """Number of environment steps after which an episode is truncated; None: as the environment
    has it. The JSON key is left out if it is None."""
    environment: Mapping[str, Any] | None = None
    """What the id does not say: the result of `EnvSource.describe`. The JSON key is left out if it
    is None."""
    missing: tuple[str, ...] = ()
    """Fields of a step that were not recorded: "action", "reward". steps.npy does not have them.
    The JSON key is left out if there are none."""

    def __post_init__(self) -> None:
        if self.pixels is not None and self.pixels.is_plain:
            object.__setattr__(self, "pixels", None)

    @property
    def command(self) -> str:
        """The command that wrote the dataset, for messages."""
        return "rl-vae import" if self.engine == IMPORT else "rl-vae collect command"

    @property
    def origin(self) -> str:
        """How the frames came, for messages."""
        return "imported" if self.engine == IMPORT else f"collected with the engine {self.engine}"

    @property
    def source(self) -> PixelSource:
        """Where the pixels come from, and their conversion to raw observations."""
        return self.pixels or plain_source(self.raw_shape)

    @property
    def n_shards(self) -> int | None:
        """Number of shards of the finished dataset; None: not known before the last one."""
        return None if self.n_frames is None else -(-self.n_frames // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Number of frames in one shard; the largest number if the last shard is not known."""
        if self.n_frames is None:
            return self.shard_rows
        return min(self.shard_rows, self.n_frames - shard * self.shard_rows)

    @property
    def step_dtype(self) -> np.dtype[Any]:
        """Structured data type of a row of steps.npy."""
        fields: list[tuple[Any, ...]] = [
            ("action", self.action_dtype, self.action_shape),
            ("reward", "<f4"),
            ("terminated", "?"),
            ("truncated", "?"),
            ("episode", "<i4"),
            ("step", "<i4"),
            ("factors", "<f8", (len(self.factor_names),)),
        ]
        return np.dtype([field for field in fields if field[0] not in self.missing])

    def env_source(self) -> EnvSource:
        """The environment of the frames.

        Raises:
            ConfigError: if it cannot be opened by its id, or the frames were imported.
        """
        if self.engine == IMPORT:
            raise ConfigError(
                f"The frames {self.env_id!r} were imported: no environment is known.",
                expected="a dataset that rl-vae collect wrote",
                got="a dataset that was imported",
                remedy="collect frames of an environment with rl-vae collect ENV_ID; a VAE that "
                "was trained on imported frames encodes an environment's images, too",
            )
        stored = (self.env_id, self.env_kwargs, self.max_episode_steps, self.environment)
        return stored_source(*stored, "compare(config, out, env=...)")

    def require_recorded(self, field: str, purpose: str) -> None:
        """Check that a field of the steps was recorded.

        Args:
            field: "action" or "reward".
            purpose: What needs it, as the beginning of a sentence.

        Raises:
            ConfigError: if it was not.
        """
        if field in self.missing:
            raise ConfigError(
                f"{purpose} needs {field}s, which {self.env_id} does not have.",
                expected=f"a dataset with {field}s",
                got=f"frames that were imported without {field}s",
                remedy=f"import the frames again, with {field}s",
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the header as plain JSON values.

        Raises:
            TypeError: if a part of env_kwargs cannot be stored.
        """
        values = {**asdict(self), "spec": self.spec.to_dict(), "format": FORMAT}
        values |= {"lanes": values.pop("n_envs"), "env_kwargs": encode_values(self.env_kwargs)}
        if self.pixels is not None:
            values["pixels"] = self.pixels.to_dict()
        for name in _OPTIONAL_FIELDS:
            if values[name] is None or values[name] == ():
                del values[name]
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DatasetHeader:
        """Return the header that `to_dict` described.

        Raises:
            ValueError, KeyError, TypeError: if the values do not describe a header.
            ObservationError: if the FrameSpec does not fit the raw observations.
        """
        values = dict(values)
        if values.pop("format") != FORMAT:
            raise ValueError(f"the format number is not {FORMAT}")
        for name, is_valid in _VALIDATORS.items():
            if name in _OPTIONAL_FIELDS and name not in values:
                continue
            if not is_valid(values[name]):
                raise ValueError(f"{name} is {str(values[name])[:80]!r}")
        if (values["engine"] == IMPORT) == ("n_frames" in values):
            raise ValueError("only imported frames have no n_frames, and they never have it")
        if values["engine"] != IMPORT and "missing" in values:
            raise ValueError("only imported frames lack actions or rewards")
        values |= {name: tuple(values[name]) for name in _TUPLE_FIELDS if name in values}
        values.setdefault("n_frames", None)
        values["env_kwargs"] = decode_values(values["env_kwargs"])
        values |= {"spec": FrameSpec.from_dict(values["spec"]), "n_envs": values.pop("lanes")}
        if "pixels" in values:
            values["pixels"] = PixelSource.from_dict(values["pixels"])
        header = cls(**values)
        header.spec.check_shape(header.raw_shape, np.uint8)
        if header.source.output_shape != header.raw_shape:
            raise ValueError(f"pixels of shape {header.source.output_shape}")
        return header


def read_header(folder: Path) -> DatasetHeader | None:
    """Read a dataset's header; None if the folder has no dataset.json.

    Raises:
        DatasetError: if dataset.json is damaged.
    """
    path = folder / "dataset.json"
    try:
        if not reading.is_file(path):
            return None
        content = strict_json.parse_json(
            reading.read_bounded(path, strict_json.MAX_DESCRIPTION_BYTES)
        )
        return DatasetHeader.from_dict(content)
    except (RlVaeError, ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise DatasetError(
            f"{path} {'could not be read' if system_failure(error) else 'is damaged'}.",
            expected="the header of a dataset",
            got=f"{type(error).__name__}: {error}",
            remedy=system_remedy(error, "restore the file from a copy, or collect it again"),
        ) from error


def check_storable(env_kwargs: Mapping[str, Any], policy: Mapping[str, Any], seed: int) -> None:
    """Raise ConfigError if a value of the header cannot be stored."""
    try:
        values = [encode_values(env_kwargs), dict(policy), seed]
        strict_json.parse_json(hashing.canonical_json(values))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "env_kwargs, the seed and the policy's description must be plain JSON values: they "
            "are stored with the frames.",
            expected="numbers of 64 bits, strings, tuples, and lists or mappings of them",
            got=str(error),
            remedy="use plain values, or give a function that makes the environment with them",
        ) from error


def _is_count(value: Any) -> bool:
    return type(value) is int and 1 <= value <= _MAX_COUNT


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value)) and len(value) <= 32


_VALIDATORS: dict[str, Callable[[Any], bool]] = {
    "env_id": lambda value: isinstance(value, str),
    "engine": lambda value: isinstance(value, str),
    "env_kwargs": lambda value: isinstance(value, dict),
    "frame_skip": _is_count,
    "image_key": lambda value: value is None or isinstance(value, str),
    "raw_shape": _is_shape,
    "seed": lambda value: type(value) is int and value >= 0,
    "n_frames": _is_count,
    "shard_rows": _is_count,
    "lanes": _is_count,
    "policy": lambda value: isinstance(value, dict),
    "action_shape": lambda value: _is_shape(value) and math.prod(value) <= _MAX_ACTION_SIZE,
    "action_dtype": lambda value: isinstance(value, str) and value in _ACTION_DTYPES,
    "max_episode_steps": _is_count,
    "environment": lambda value: isinstance(value, dict),
    "factor_names": lambda value: (
        isinstance(value, list) and all(isinstance(name, str) for name in value)
    ),
    "missing": lambda value: value in (["action"], ["reward"], ["action", "reward"]),
}
"""Check of each JSON value of a header, by key."""
