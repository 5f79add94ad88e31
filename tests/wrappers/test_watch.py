"""WatchLatents: pictures and scores of an agent's frames."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import pytest
from environments import COUNTING, STATES, refused
from numpy.typing import NDArray
from toys import STEERED

from rl_vae import Encoder, LatentObservation, WatchLatents, make_env
from rl_vae.errors import ConfigError, ObservationError
from rl_vae.models.scores import score_frames

Opened = Callable[[], WatchLatents]


@pytest.fixture(params=["around latents", "around pixels"])
def opened(request: pytest.FixtureRequest, encoder: Encoder) -> Opened:
    """Opens Counting in a WatchLatents that scores every step."""
    if request.param == "around pixels":
        return lambda: WatchLatents(make_env(COUNTING), encoder.path, every=1)
    return lambda: WatchLatents(
        LatentObservation(make_env(COUNTING), encoder.path, stack=2), every=1
    )


def played(env: gym.Env[Any, Any], steps: int = 12) -> list[Any]:
    """Everything that an environment returns over some episodes, except infos."""
    observation, _ = env.reset(seed=3)
    results = [observation]
    for step in range(steps):
        observation, reward, terminated, truncated, _ = env.step(step % 4)
        results += [observation, reward, terminated, truncated]
        if terminated or truncated:
            results.append(env.reset()[0])
    return results


def test_watching_changes_nothing(opened: Opened) -> None:
    """Observations, rewards and endings are those of the wrapped environment."""
    env = opened()
    assert env.observation_space == env.env.observation_space
    for ours, its in zip(played(env), played(opened().env), strict=True):
        np.testing.assert_array_equal(ours, its)


def test_infos_hold_the_scores_of_the_frame(opened: Opened, encoder: Encoder) -> None:
    """Infos hold rate and error of the current frame."""
    env, bare = opened(), make_env(COUNTING)
    image, info = bare.reset(seed=5)[0], env.reset(seed=5)[1]
    for _ in range(3):
        scores = score_frames(encoder.vae, encoder.spec.apply_batch(image[None]))
        assert info["vae_rate"] == scores.rate[0] and info["vae_error"] == scores.error[0]
        assert info["vae_drift"] == 0
        image, info = bare.step(1)[0], env.step(1)[4]


def test_the_picture(opened: Opened, encoder: Encoder) -> None:
    """The picture holds the frame, its reconstruction and a bar for each latent, below names."""
    env, bare = opened(), make_env(COUNTING)
    env.reset(seed=1)
    bare.reset(seed=1)
    env.step(2)
    frame = encoder.spec.apply_batch(bare.step(2)[0][None])
    picture = env.render()
    height, width = 192, 192 * encoder.spec.width // encoder.spec.height
    names, picture = picture[:20], picture[20:]
    assert picture.dtype == np.uint8 and picture.shape[0] == height and picture.shape[1] % 2 == 0
    dark = (names < 128).any(axis=(0, 2))
    assert dark[:width].any() and dark[width : 2 * width].any() and dark[2 * width :].any()

    def enlarged(image: NDArray[np.uint8]) -> Any:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)

    mu = encoder.encode(frame)
    np.testing.assert_array_equal(picture[:, :width], enlarged(frame[0]))
    np.testing.assert_array_equal(picture[:, width : 2 * width], enlarged(encoder.decode(mu)[0]))
    bars = picture[:, 2 * width + 2 :]
    for k, value in enumerate(mu[0]):
        column = (bars[:, 192 * k // 4 + 5] != 255).any(-1)
        up, down = column[: height // 2].sum(), column[height // 2 + 1 :].sum()
        assert abs(up - down - min(4, abs(value)) * np.sign(value) * height / 8) <= 1.5


def test_only_render_and_scores_decode(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step decodes only if it is scored, and once more for a picture if render is called."""
    decoded: list[int] = []
    decode = Encoder.decode
    monkeypatch.setattr(
        Encoder, "decode", lambda self, mu: (decoded.append(len(mu)), decode(self, mu))[1]
    )
    scored: list[int] = []
    monkeypatch.setattr(
        "rl_vae.wrappers.drift.score_frames",
        lambda vae, frames: (scored.append(len(frames)), score_frames(vae, frames))[1],
    )
    env = WatchLatents(LatentObservation(make_env(COUNTING), encoder.path), every=5)
    played(env)
    assert decoded == [] and 3 <= len(scored) <= 4
    env.render()
    assert decoded == [1]


def test_record_video(opened: Opened, tmp_path: Path) -> None:
    """Gymnasium's RecordVideo records it, although the environment itself cannot render."""
    pytest.importorskip("moviepy", reason="moviepy is not installed; the extra dev brings it")
    env = gym.wrappers.RecordVideo(opened(), str(tmp_path / "videos"))
    env.reset(seed=0)
    while not any(env.step(0)[2:4]):
        pass
    shape = env.render().shape  # type: ignore[union-attr]
    env.close()
    (path,) = (tmp_path / "videos").glob("*.mp4")
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) >= 4
    assert film.read()[1].shape == shape


def test_the_encoder_is_read_through_other_wrappers(encoder: Encoder) -> None:
    """Other wrappers may be between it and LatentObservation."""
    latent = LatentObservation(make_env(COUNTING), encoder.path)
    env = WatchLatents(gym.wrappers.RecordEpisodeStatistics(latent))
    env.reset(seed=0)
    assert env.render().shape[2] == 3


@pytest.mark.parametrize("around", ["latents", "pixels"])
def test_the_spec_makes_it_again(around: str, encoder: Encoder) -> None:
    """An environment made from the JSON of env.spec gives the same infos."""
    if around == "latents":
        env = WatchLatents(LatentObservation(make_env(STEERED), encoder.path), every=2)
    else:
        env = WatchLatents(make_env(STEERED), encoder.path, every=2)
    assert env.spec is not None
    again = gym.make(type(env.spec).from_json(env.spec.to_json()))
    assert isinstance(again, WatchLatents) and env.reset(seed=4)[1] == again.reset(seed=4)[1]


def test_an_encoder_is_needed(encoder: Encoder) -> None:
    """It refuses environments without an encoder, other observations, and render before reset."""
    with refused(ConfigError, "encoder="):
        WatchLatents(make_env(COUNTING))
    with refused(ObservationError):
        WatchLatents(gym.make(STATES), encoder.path)
    with refused(ConfigError, "reset"):
        WatchLatents(make_env(COUNTING), encoder.path).render()
