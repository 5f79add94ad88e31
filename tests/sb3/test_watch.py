"""VecWatch and DriftCallback: pictures, infos and SB3's logger."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from environments import COUNTING, refused
from stable_baselines3 import PPO
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, VecVideoRecorder

from rl_vae import Encoder, LatentObservation, WatchLatents, make_env
from rl_vae.envs.registry import make_engine
from rl_vae.errors import ConfigError
from rl_vae.models.scores import score_frames
from rl_vae.sb3 import PixelVecEnv, VecLatent
from rl_vae.sb3.watch import DriftCallback, VecWatch

Opened = Callable[[], VecWatch]


def raw() -> VecEnv:
    return DummyVecEnv([lambda: make_env(COUNTING)] * 2)


def frames(encoder: Encoder) -> VecEnv:
    """Environments that have applied the encoder's spec."""
    return PixelVecEnv(
        make_engine(COUNTING, 2, engine="gymnasium", workers=1, spec=encoder.spec), 0
    )


@pytest.fixture(params=["latents of raw", "raw", "frames"])
def opened(request: pytest.FixtureRequest, encoder: Encoder) -> Opened:
    """Opens two Countings in a VecWatch that scores every step."""
    if request.param == "raw":
        return lambda: VecWatch(raw(), encoder.path, every=1)
    if request.param == "frames":
        return lambda: VecWatch(frames(encoder), encoder, every=1)
    return lambda: VecWatch(VecLatent(raw(), encoder, stack=2), every=1)


def test_infos_and_pictures(opened: Opened, encoder: Encoder) -> None:
    """The info and the picture of an environment are of its own frame; the rest does not change."""
    venv, bare = opened(), opened().venv
    for each in (venv, bare):
        each.seed(7)
    np.testing.assert_array_equal(venv.reset(), bare.reset())
    for _ in range(9):
        actions = np.array([1, 3])
        *ours, infos = venv.step(actions)
        *expected, _ = bare.step(actions)
        for one, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        frames = venv._frames
        assert frames is not None and frames.shape == (2, *encoder.spec.shape)
        scores = score_frames(encoder.vae, frames)
        assert [info["vae_rate"] for info in infos] == scores.rate.tolist()
        assert [info["vae_error"] for info in infos] == scores.error.tolist()
    images = venv.get_images()
    width = 192 * encoder.spec.width // encoder.spec.height
    for image, frame in zip(images, frames, strict=True):
        assert image is not None
        expected = cv2.resize(frame, (width, 192), interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(image[20:, :width], expected)
    venv.close()
    bare.close()


def test_vec_video_recorder(opened: Opened, tmp_path: Path) -> None:
    """SB3's recorder records it inside other wrappers, although the environment cannot render."""
    pytest.importorskip("moviepy", reason="moviepy is not installed; the extra dev brings it")
    venv: VecEnv = opened()
    if venv.observation_space.dtype == np.float32:
        venv = VecNormalize(venv)
    film = VecVideoRecorder(venv, str(tmp_path), lambda step: step == 0, video_length=4)
    film.reset()
    for _ in range(6):
        film.step(np.zeros(2, int))
    film.close()
    (path,) = tmp_path.glob("*.mp4")
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) >= 4


class Recorder(KVWriter):
    """Keeps the records of a logger."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], *args: Any) -> None:
        self.records.append(dict(key_values))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("where", ["VecWatch", "WatchLatents"])
def test_the_callback_writes_to_the_logger(where: str, encoder: Encoder) -> None:
    """SB3's logger gets rate, error and drift of each rollout."""
    if where == "VecWatch":
        venv: VecEnv = VecWatch(VecLatent(raw(), encoder), every=1)
    else:

        def one() -> Any:
            return WatchLatents(LatentObservation(make_env(COUNTING), encoder.path), every=1)

        venv = DummyVecEnv([one])
    recorder = Recorder()
    model = PPO("MlpPolicy", venv, n_steps=8, batch_size=8, n_epochs=1, device="cpu")
    model.set_logger(Logger(None, [recorder]))
    model.learn(16, callback=DriftCallback())
    assert recorder.records
    for record in recorder.records:
        assert record["vae/rate"] > 0 and record["vae/error"] > 0 and record["vae/drift"] == 0


def test_an_encoder_is_needed(encoder: Encoder) -> None:
    """VecWatch needs an encoder, and DriftCallback an environment that scores its frames."""
    with refused(ConfigError, "encoder="):
        VecWatch(raw())
    with refused(ConfigError, "reset"):
        VecWatch(raw(), encoder).get_images()
    model = PPO("MlpPolicy", VecLatent(raw(), encoder), n_steps=8, batch_size=8, device="cpu")
    with refused(ConfigError, "VecWatch"):
        model.learn(8, callback=DriftCallback())
