"""Images in every form that simulators give become uint8 images by a stored conversion."""

import json
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from environments import refused
from gymnasium import spaces
from pixel_kinds import KINDS, PICTURES

from rl_vae import make_env
from rl_vae.envs.find_pixels import resolve_pixels
from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.pixel_source import PixelSource, name_of, other_entries, take
from rl_vae.envs.registry import make_engine
from rl_vae.errors import ConfigError, ObservationError, RlVaeError
from rl_vae.models.pixel_conversion import PixelConversion


def source_of(name: str) -> PixelSource:
    """Source of a form, with the options that it needs."""
    kind = KINDS[name]
    source = resolve_pixels(name, kind.space, PixelOptions(**kind.options))
    assert source is not None
    return source


@pytest.mark.filterwarnings("ignore:make_env leaves out")
@pytest.mark.parametrize("name", KINDS)
def test_an_environment_observes_the_right_image(name: str) -> None:
    """make_env gives the image of the observation, never the spectator's view, byte for byte."""
    env = make_env(PICTURES, env_kwargs={"kind": name}, **KINDS[name].options)
    image, info = env.reset(seed=3)
    for _ in range(3):
        right = KINDS[name].right(info["number"] + 1 if image is None else env.unwrapped.number)
        assert image.dtype == np.uint8 and np.array_equal(image, right)
        assert env.observation_space.contains(image)
        image, _, _, _, info = env.step(1)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.options])
def test_a_choice_is_never_guessed(name: str) -> None:
    """Without its options, a form that needs a choice is refused by an error that names one."""
    options = KINDS[name].options
    with pytest.raises(RlVaeError) as caught:
        make_env(PICTURES, env_kwargs={"kind": name})
    assert any(f"{option}=" in str(caught.value) for option in options)
    assert "pixels='render'" in str(caught.value)


@pytest.mark.parametrize("name", KINDS)
def test_a_source_survives_json(name: str) -> None:
    """A source is equal after JSON, and describes itself in one line."""
    source = source_of(name)
    assert PixelSource.from_dict(json.loads(json.dumps(source.to_dict()))) == source
    assert "\n" not in source.describe() and source.describe().startswith("observation")


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_and_torch_give_the_same_bytes(name: str) -> None:
    """apply, apply_batch and the torch module give equal images."""
    kind, source = KINDS[name], source_of(name)
    observations = [kind.make(number) for number in range(40, 47)]
    batch = [np.stack([take(each, path) for each in observations]) for path in source.paths]
    images = np.stack([source.apply(each) for each in observations])
    converted = PixelConversion(source)(*map(torch.from_numpy, batch)).numpy()
    assert np.array_equal(converted, images)
    right = np.stack([kind.right(number) for number in range(40, 47)])
    assert np.array_equal(images, right) and source.output_shape == right.shape[1:]
    space = gym.vector.utils.batch_space(kind.space, 7)
    joined: Any = gym.vector.utils.create_empty_array(kind.space, 7)
    joined = gym.vector.utils.concatenate(kind.space, observations, joined)
    assert space.contains(joined) or name == "float32 without bounds"
    assert np.array_equal(source.apply_batch(joined), images)


@pytest.mark.parametrize("reuses", [False, True])
@pytest.mark.parametrize("name", ["plain", "channel-first", "Dict", "nested Dict", "float32 to 1"])
def test_engines_return_new_arrays(name: str, reuses: bool) -> None:
    """Images, final images and extras stay right if the environment overwrites its arrays."""
    options = PixelOptions(**KINDS[name].options)
    results = []
    for overwritten in (False, reuses):
        env_kwargs = {"kind": name, "reuses": overwritten}
        engine = make_engine(
            PICTURES, 2, workers=1, pixels=options, env_kwargs=env_kwargs, extras=True
        )
        seen: list[Any] = [engine.reset([1, 2])]
        for _ in range(9):
            seen.append(engine.step(np.zeros(2, np.int64)))
        engine.close()
        results.append(seen)
    for step, other in zip(*results, strict=True):
        np.testing.assert_equal(other, step)


def test_a_spectators_view_is_taken_on_request() -> None:
    """pixels="render" takes render(); "observation" refuses an observation without images."""
    env = make_env(PICTURES, pixels="render", env_kwargs={"kind": "rgba"})
    assert env.reset(seed=0)[0].shape == (64, 64, 3)
    assert env.source.describe() == "render(), uint8 (64, 64, 3)"
    with refused(ObservationError, "no image", "pixels='render'"):
        make_env("CartPole-v1", pixels="observation")
    with refused(ConfigError, "image_key"):
        make_env(PICTURES, pixels="render", image_key="camera")


@pytest.mark.parametrize(
    "options",
    [
        {"pixels": "screen"},
        {"image_key": 3},
        {"image_layout": "wh"},
        {"stack_frame": "last"},
        {"value_range": (1, 0)},
        {"value_range": (0,)},
        {"cameras": "both"},
        {"small_images": "crop"},
        {"image": "camera"},
    ],
    ids=str,
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    """A wrong option is a ConfigError that names the option."""
    with refused(ConfigError, next(iter(options))):
        make_env(PICTURES, **options)


@pytest.mark.parametrize("value", [2.0, -1.0, np.nan])
def test_values_out_of_range_are_an_error(value: float) -> None:
    """Values beyond the bounds of the space are not cut off in silence."""
    source = source_of("float32 to 1")
    image = KINDS["float32 to 1"].make(1).copy()
    image[3, 4, 1] = value
    with refused(ObservationError, "value_range"):
        source.apply(image)


def test_the_way_out_of_a_rendered_image_is_not_render() -> None:
    """An image that render() returns without a stated range names value_range, not render()."""
    with pytest.raises(ObservationError, match="value_range") as caught:
        make_env("pixel_kinds:Toy/FloatView-v0")
    assert "pixels='render'" not in caught.value.remedy
    env = make_env("pixel_kinds:Toy/FloatView-v0", value_range=(0, 1))
    image, _ = env.reset(seed=0)
    assert image.shape == (32, 40, 3) and image.max() == 255


def test_a_stack_of_gray_frames_is_no_rgba_image() -> None:
    """Four equal channels at the first reset are refused as a stack of frames."""
    with refused(ObservationError, "image_layout='hwn'", "stack_frame=-1"):
        make_env("pixel_kinds:Toy/Stacked-v0").reset(seed=0)


class Stacked(gym.Env[Any, Any]):
    """A stack of gray frames along the last axis, filled with the first frame at a reset."""

    observation_space = gym.spaces.Box(0, 255, (32, 40, 4), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=arguments.get("seed"))
        gray = np.random.default_rng(0).integers(0, 256, (32, 40, 1), np.uint8)
        return np.repeat(gray, 4, axis=2), {}


class FloatView(gym.Env[Any, Any]):
    """Observes numbers; its render() returns float32 in [0, 1]."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=arguments.get("seed"))
        return np.zeros(2, np.float32), {}

    def render(self) -> Any:
        return np.linspace(0, 1, 32 * 40 * 3, dtype=np.float32).reshape(32, 40, 3)


gym.register("Toy/FloatView-v0", FloatView, disable_env_checker=True)
gym.register("Toy/Stacked-v0", Stacked, disable_env_checker=True)


def test_what_the_user_calls_an_image_is_one() -> None:
    """With pixels="observation" the only table of numbers is taken, however small it is; an
    observation without one is refused."""
    options = PixelOptions(pixels="observation", image_layout="hwc", small_images="upscale")
    source = resolve_pixels("Tiny", spaces.Box(0, 255, (5, 5, 3), np.uint8), options)
    assert source is not None and source.output_shape == (30, 30, 3)
    with refused(ObservationError, "pixels='render'"):
        resolve_pixels("Numbers", spaces.Box(0, 1, (5,), np.float32), options)


CAMERA = spaces.Dict(camera=spaces.Box(0, 255, (32, 32, 3), np.uint8), speed=spaces.Discrete(2))
LAYOUTS = {
    "Tuple of Dicts": (spaces.Tuple((CAMERA, CAMERA)), "0/camera,1/camera"),
    "Dict of Tuples": (
        spaces.Dict(a=spaces.Tuple((CAMERA, CAMERA["speed"])), b=CAMERA),
        "a/0/camera",
    ),
    "Dict": (CAMERA, "camera"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_entries_beside_cameras_are_found_by_their_names(name: str) -> None:
    """The name of an entry leads back to its place, wherever the cameras are."""
    space, key = LAYOUTS[name]
    source = resolve_pixels(name, space, PixelOptions(image_key=key))
    assert source is not None
    entries = other_entries(space, source.paths)
    assert entries and [source.path_of(name_of(path)) for path in entries] == list(entries)
