"""sprites/: pixels by another geometry, the sampler, the dataset, the environment."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from numpy.typing import NDArray
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import rl_vae
from rl_vae import FrameSpec, Sprites, collect_sprites
from rl_vae.envs.factors import read_factors
from rl_vae.envs.make import make_env
from rl_vae.envs.registry import make_engine
from rl_vae.errors import ConfigError, DatasetError, RlVaeError
from rl_vae.sprites import FACTOR_NAMES, FACTOR_SIZES, SpritesEnv, draw_sprites

pytestmark = pytest.mark.slow

ENV = "rl_vae/Sprites-v0"
RIGHT, LEFT, DOWN, UP = range(4)


def draws(n: int, seed: int = 0) -> NDArray[np.int64]:
    return Sprites().sample_factors(n, np.random.default_rng(seed))


def other_way(factors: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(64, 64): which pixel centres lie in a sprite, in the picture's own frame.

    Square: to the same side of its four edges. Ellipse: distances to its foci. Heart: a ray crosses
    its outline an odd number of times, outline and ray meeting at the roots of a quartic.
    """
    shape, scale, turn, *place = factors.tolist()
    s, theta = np.linspace(0.5, 1, 6)[scale], np.linspace(0, 2 * np.pi, 40)[turn]
    x0, y0 = 16 + 32 * np.linspace(0, 1, 32)[place]
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    # Turned by minus theta: (u, v) of the shape comes to (u cos + v sin, v cos - u sin).
    across = np.array([np.cos(theta), -np.sin(theta)])
    along = np.array([np.sin(theta), np.cos(theta)])
    centre = np.array([x0, y0])
    if shape == 0:
        signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        corners = [centre + 9.6 * s * (a * across + b * along) for a, b in signs]
        sides = [
            (q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) >= 0
            for p, q in zip(corners, [*corners[1:], corners[0]], strict=True)
        ]
        return np.all(sides, axis=0)
    if shape == 1:
        focus = s * np.sqrt(12.8**2 - 7.2**2) * across
        ways = [np.hypot(x - f[0], y - f[1]) for f in (centre + focus, centre - focus)]
        return ways[0] + ways[1] <= 2 * 12.8 * s
    inside = np.zeros((64, 64), np.bool_)
    near = np.hypot(x - x0, y - y0) < 14 * s  # its farthest point is 13.5 away
    points = np.stack([x[near], y[near]], axis=1) - centre
    u, v = points @ across / s, points @ along / s
    t = np.linspace(0, np.pi, 100_001)
    curve = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    low, high = curve.min(), curve.max()
    height = low + (v + 9.3) / 19.1 * (high - low)
    # In c = cos t the outline's height is -8 c^4 - 8 c^3 - 2 c^2 + 19 c + 4.
    companion = np.zeros((len(u), 4, 4))
    companion[:, 1:, :3] = np.eye(3)
    companion[:, 0] = [-1.0, -2 / 8, 19 / 8, 0]
    companion[:, 0, 3] = (4 - height) / 8
    roots = np.linalg.eigvals(companion)
    real = (np.abs(roots.imag) < 1e-7) & (np.abs(roots.real) <= 1)
    reach = 9.6 * (1 - np.clip(roots.real, -1, 1) ** 2) ** 1.5
    right = (real & (reach > u[:, None])).sum(axis=1)  # t from 0 to pi
    left = (real & (-reach > u[:, None])).sum(axis=1)  # t from pi to 2 pi
    inside[near] = (right + left) % 2 == 1
    return inside


def test_every_pixel_of_1000_random_sprites_follows_the_geometry() -> None:
    """Of 1,000 random draws no pixel differs from the same geometry computed another way."""
    factors = draws(1000)
    pictures = draw_sprites(factors)
    assert set(factors[:, 0]) == {0, 1, 2}
    wrong = [int((other_way(f) != p).sum()) for f, p in zip(factors, pictures, strict=True)]
    assert sum(wrong) == 0, [factors[i].tolist() for i in np.flatnonzero(wrong)]
    assert pictures.any(axis=(1, 2)).all()


def test_the_last_orientation_is_the_first_one() -> None:
    """A full turn gives the same picture; no other orientation of a heart does."""
    factors = np.repeat(draws(30), 40, axis=0)
    factors[:, 2] = np.tile(np.arange(40), 30)
    pictures = draw_sprites(factors).reshape(30, 40, -1)
    assert (pictures[:, 39] == pictures[:, 0]).all()
    hearts = pictures[factors[::40, 0] == 2]
    assert len(hearts) > 5 and all(len(np.unique(one, axis=0)) == 39 for one in hearts)


def test_a_sprite_moves_by_whole_pixels_where_its_position_does() -> None:
    """Thirty-one steps on the grid of positions move the same picture by 32 pixels."""
    start = draws(50)
    start[:, 3] = 0
    end = start.copy()
    end[:, 3] = 31
    before, after = draw_sprites(start), draw_sprites(end)
    assert (after[:, :, 32:] == before[:, :, :32]).all() and not before[:, :, 32:].any()


@pytest.mark.parametrize(
    "factors",
    [
        np.zeros((2, 4), np.int64),
        np.zeros(5, np.int64),
        np.zeros((2, 5)),
        np.array([[0, 0, 40, 0, 0]]),
        np.array([[0, 0, 0, -1, 0]]),
    ],
)
def test_factors_off_the_grid_are_refused(factors: Any) -> None:
    """Factors that are not whole numbers on the grid raise ConfigError."""
    with pytest.raises(ConfigError, match="integers"):
        draw_sprites(factors)


def test_no_factors_give_no_pictures() -> None:
    """An empty batch is drawn as an empty batch."""
    assert Sprites().draw(np.zeros((0, 5), np.int64)).shape == (0, 64, 64, 1)


def test_factors_are_drawn_uniformly_and_interventions_hold() -> None:
    """Each value of a factor is equally likely, except where an intervention sets it."""
    rng = np.random.default_rng(0)
    factors = Sprites().sample_factors(40_000, rng, do={"shape": 2, "position_y": 31})
    assert set(factors[:, 0]) == {2} and set(factors[:, 4]) == {31}
    for k in (1, 2, 3):
        counts = np.bincount(factors[:, k], minlength=FACTOR_SIZES[k])
        expected = 40_000 / FACTOR_SIZES[k]
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert abs(np.corrcoef(factors[:, 1:4].T) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize("do", [{"colour": 0}, {"shape": 3}, {"shape": -1}, {"scale": 0.5}])
def test_interventions_off_the_grid_are_refused(do: Any) -> None:
    """An intervention on no factor, or to no value of it, raises ConfigError."""
    with pytest.raises(ConfigError, match="intervention"):
        Sprites().sample_factors(1, np.random.default_rng(0), do)


def test_distractors_lie_behind_the_sprite() -> None:
    """With distractors the sprite covers the pixels that it does without, in one bright colour."""
    factors, coloured = draws(60), Sprites(distractors=3)
    pictures = coloured.draw(factors, np.random.default_rng(0))
    shapes = draw_sprites(factors)
    assert pictures.shape == (60, 64, 64, 3) and pictures.dtype == np.uint8
    for picture, shape in zip(pictures, shapes, strict=True):
        assert len(np.unique(picture[shape], axis=0)) == 1
        assert picture[shape].min() >= 160 > picture[~shape].min(axis=1).max()
        assert 2 <= len(np.unique(picture[~shape], axis=0)) <= 4  # background and discs
    again = coloured.draw(factors, np.random.default_rng(0))
    assert (again == pictures).all()
    assert (coloured.draw(factors, np.random.default_rng(1)) != pictures).any()


def test_distractors_need_a_generator_and_a_number() -> None:
    """Noise without a source of it, or without end, raises ConfigError."""
    with pytest.raises(ConfigError, match="Generator"):
        Sprites(2).draw(draws(1))
    for number in (-1, 17, 1.0, True):
        with pytest.raises(ConfigError, match="distractors"):
            Sprites(number)  # type: ignore[arg-type]


def test_a_dataset_holds_each_combination_once(tmp_path: Path) -> None:
    """A dataset of a whole grid shows every combination of factors once, as it is drawn."""
    do = {"shape": 1, "scale": 3, "position_y": 7}
    dataset = collect_sprites(tmp_path / "sprites", n_frames=40 * 32, do=do)
    assert tuple(dataset.factors) == FACTOR_NAMES and dataset.complete
    factors = np.stack(list(dataset.factors.values()), axis=1).astype(np.int64)
    assert len(np.unique(factors, axis=0)) == 1280
    assert set(factors[:, 0]) == {1} and set(factors[:, 4]) == {7}
    assert (factors[1:] < factors[:-1]).any()  # not in the order of the grid
    frames = dataset.frames(np.arange(1280))
    assert (frames == Sprites().draw(factors)).all()
    assert len(dataset.episodes) == 1280
    split = dataset.split(0.25)
    assert len(split.held_out) == 320 and not set(split.train) & set(split.held_out)


def test_a_dataset_holds_the_frames_of_its_spec(tmp_path: Path) -> None:
    """With a FrameSpec the frames are the images that it converts."""
    spec = FrameSpec(height=32, width=32, channels=1)
    dataset = collect_sprites(tmp_path / "x", n_frames=40, do={"shape": 1}, spec=spec)
    factors = dataset.steps(np.arange(40))["factors"]
    assert dataset.spec == spec
    assert (
        dataset.frames(np.arange(40)) == spec.apply_batch(Sprites().draw(factors.astype(int)))
    ).all()


def test_a_dataset_is_its_seed_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The same seed gives the same bytes, an interrupted one as well; another seed others."""
    make = {"n_frames": 5000, "distractors": 1}
    first = collect_sprites(tmp_path / "a", seed=3, **make)  # type: ignore[arg-type]
    manifest = tmp_path / "a" / "manifest.jsonl"
    digest, lines = first.digest, manifest.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    manifest.write_bytes(lines[0] + lines[1][:20])
    again = collect_sprites(tmp_path / "a", seed=3, **make)  # type: ignore[arg-type]
    again.verify()
    assert again.digest == digest and again.complete
    other = collect_sprites(tmp_path / "b", seed=4, **make)  # type: ignore[arg-type]
    assert (other.frames([0]) != again.frames([0])).any()
    with pytest.raises(DatasetError, match="another dataset"):
        collect_sprites(tmp_path / "b", seed=3, **make)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"n_frames": 8}, {"n_frames": 6 * 40 * 32 * 32 + 1}, {"seed": -1}]
)
def test_a_dataset_out_of_range_is_refused(settings: Any, tmp_path: Path) -> None:
    """More frames than there are combinations, or too few, raise ConfigError and leave nothing."""
    with pytest.raises(ConfigError, match="out of range"):
        collect_sprites(tmp_path / "x", **{"n_frames": 16, "do": {"shape": 0}, **settings})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("distractors", [0, 2])
def test_the_environment_is_one(distractors: int) -> None:
    """Gymnasium's and Stable-Baselines3's checkers find nothing to complain of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ENV, distractors=distractors, render_mode="rgb_array")
        check_env(env.unwrapped)
        sb3_check_env(env)
        rebuilt = gym.make(EnvSpec.from_json(env.spec.to_json()))  # type: ignore[union-attr]
    seen, _ = env.reset(seed=5)
    assert (rebuilt.reset(seed=5)[0] == seen).all()
    assert (env.render() == seen).all()  # type: ignore[operator]


def straight(state: dict[str, float]) -> int:
    x, y = (state[f"target_{one}"] - state[f"position_{one}"] for one in "xy")
    if abs(x) > 1:
        return RIGHT if x > 0 else LEFT
    return DOWN if y > 0 else UP


def test_going_straight_arrives() -> None:
    """The straight way ends on the target within 30 steps, and returns 1 and 0.05 a position."""
    env = make_env(ENV)
    for seed in range(30):
        env.reset(seed=seed)
        state = read_factors(env)
        start = abs(state["target_x"] - state["position_x"])
        start += abs(state["target_y"] - state["position_y"])
        assert start >= 8
        total, steps, over = 0.0, 0, False
        while not over:
            _, reward, over, truncated, _ = env.step(straight(read_factors(env)))
            total, steps = total + float(reward), steps + 1
            assert not truncated
        state = read_factors(env)
        end = [abs(state[f"target_{one}"] - state[f"position_{one}"]) for one in "xy"]
        assert steps <= 30 and max(end) <= 1
        assert total == pytest.approx(1 + 0.05 * (start - sum(end)))


def test_an_episode_ends_in_time_and_edges_stop() -> None:
    """Walking into the edge costs nothing, moves nothing, and is truncated after 50 steps."""
    env = make_env(ENV)
    env.reset(seed=next(s for s in range(99) if env.reset(seed=s) and target_x(env) > 4))
    rewards = []
    for step in range(1, 51):
        _, reward, terminated, truncated, _ = env.step(LEFT)
        rewards.append(reward)
        assert not terminated and truncated == (step == 50)
    assert read_factors(env)["position_x"] == 0 and rewards[20:] == [0.0] * 30


def target_x(env: Any) -> float:
    return read_factors(env)["target_x"]


def test_the_picture_shows_sprite_and_target() -> None:
    """The target is a red disc at its place, in front of the white sprite at its own."""
    env = SpritesEnv()
    for seed in range(20):
        picture, _ = env.reset(seed=seed)
        state = env.factors()
        red = (picture == (255, 0, 0)).all(axis=2)
        where = np.argwhere(red).mean(axis=0) + 0.5
        expected = [16 + 32 * state[f"target_{one}"] / 31 for one in "yx"]
        assert np.abs(where - expected).max() < 0.3 and 190 < red.sum() < 212
        sprite = draw_sprites(np.array([[int(state[name]) for name in FACTOR_NAMES]]))[0]
        assert ((picture == 255).all(axis=2) == sprite & ~red).all()


def test_interventions_hold_at_the_start_of_every_episode() -> None:
    """Factors that are set have their values and the others vary; a target that is set is not
    drawn, and its distance is at least 8."""
    env = SpritesEnv(do={"shape": 1, "orientation": 0, "target_x": 16, "target_y": 3})
    starts = []
    for seed in range(200):
        picture, _ = env.reset(seed=seed)
        state = env.factors()
        starts.append([int(value) for value in state.values()])
        assert abs(state["position_x"] - 16) + abs(state["position_y"] - 3) >= 8
        sprite = draw_sprites(np.array([starts[-1][: len(FACTOR_NAMES)]]))[0]
        assert (picture == np.where(sprite, 255, 0)[..., None]).all()
    rows = np.array(starts)
    assert rows[0, [0, 2, 5, 6]].tolist() == [1, 0, 16, 3]
    assert np.ptp(rows, axis=0).tolist() == [0, 5, 0, 31, 31, 0, 0]
    half = SpritesEnv(do={"target_x": 16})
    targets = [half.reset(seed=seed) and half.factors() for seed in range(40)]
    assert {state["target_x"] for state in targets} == {16}
    assert len({state["target_y"] for state in targets}) > 10


@pytest.mark.parametrize(
    "do",
    [
        {"colour": 1},
        {"target_x": 32},
        {"position_x": 3, "position_y": 3, "target_x": 8, "target_y": 5},
    ],
    ids=str,
)
def test_interventions_that_no_episode_can_have_are_refused(do: Any) -> None:
    """An unknown factor, a value off the grid and a start near the target are ConfigErrors."""
    with pytest.raises(ConfigError):
        SpritesEnv(do=do)


def test_distractors_drift_whatever_the_action() -> None:
    """What drifts by is the same whichever way the sprite goes, and changes at every step."""
    behind = []
    for action in (LEFT, RIGHT):
        env = SpritesEnv(distractors=4)
        env.reset(seed=1)
        for _ in range(5):
            env.step(np.int64(action))
        behind.append(env._surroundings.centres.copy())
    start = SpritesEnv(distractors=4)
    start.reset(seed=1)
    assert (behind[0] == behind[1]).all()
    assert (behind[0] != start._surroundings.centres).all()


def test_worker_processes_know_the_environment() -> None:
    """It opens by its id in worker processes too, with the same pictures and factors."""
    seen = []
    for workers in (1, 2):
        engine = make_engine(ENV, 2, workers=workers)
        try:
            images = engine.reset([3, 4])
            step = engine.step(np.array([RIGHT, DOWN]))
            seen.append((engine.factor_names, images, step.images, engine.factors()))
        finally:
            engine.close()
    assert seen[0][0] == seen[1][0] == (*FACTOR_NAMES, "target_x", "target_y")
    assert all((a == b).all() for a, b in zip(seen[0][1:], seen[1][1:], strict=True))


def test_unknown_render_modes_are_refused() -> None:
    """A render mode that there is not raises an error of rl_vae's own."""
    with pytest.raises(RlVaeError, match="render_mode"):
        SpritesEnv(render_mode="human")


def test_registering_imports_nothing() -> None:
    """`import rl_vae` registers the environment, and loads neither it nor torch."""

    code = (
        "import sys, json, rl_vae, gymnasium; "
        "print(json.dumps([rl_vae.__name__, 'rl_vae/Sprites-v0' in gymnasium.registry, "
        "*(n in sys.modules for n in ('torch', 'rl_vae.sprites', 'sklearn'))]))"
    )
    root = Path(rl_vae.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert json.loads(done.stdout) == ["rl_vae", True, False, False, False]
