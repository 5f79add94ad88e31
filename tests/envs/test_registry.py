"""Registry of engines: the choice of an engine, its explanation, and refused arguments."""

import sys
from typing import Any

import pytest
from environments import COUNTING, DRAWN, refused
from vector_envs import SPEC

from rl_vae.envs.pixel_options import PixelOptions
from rl_vae.envs.registry import EngineName, explain_engine, make_engine, resolve_engine
from rl_vae.envs.source import EnvSource
from rl_vae.errors import ConfigError, EnvironmentFault, ObservationError
from rl_vae.frames import FrameSpec
from rl_vae.system.process_settings import configure_process

configure_process()
CAR = "CarRacing-v3"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"num_envs": 0}, ConfigError),
        ({"num_envs": 2.0}, ConfigError),
        ({"timeout": 0}, ConfigError),
        ({"timeout": "1"}, ConfigError),
        ({"extras": 1}, ConfigError),
        ({"workers": 0}, ConfigError),
        ({"workers": -1}, ConfigError),
        ({"frame_skip": 0}, ConfigError),
        ({"engine": "unity"}, ConfigError),
        ({"engine": "envpool"}, EnvironmentFault),
        ({"pixels": PixelOptions(image_key="camera")}, ConfigError),
        ({"env": "Nowhere-v0"}, EnvironmentFault),
        ({"env_kwargs": {"wheels": 5}}, EnvironmentFault),
        ({"spec": FrameSpec(crop=(16, 16, 0, 0))}, ObservationError),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], error: type[Any]) -> None:
    """Arguments that cannot work raise one error with a remedy, before the first step."""
    for workers in (1, 2):
        valid = {"env": COUNTING, "num_envs": 3, "workers": workers, "spec": SPEC}
        with refused(error):
            make_engine(**{**valid, **arguments})


def test_auto_takes_envpool_if_possible() -> None:
    """ "auto" is EnvPool if it has the id and no argument is for Gymnasium only."""
    pytest.importorskip("envpool")
    assert resolve_engine(CAR, "auto") == "envpool"
    source = EnvSource.of(CAR, {"lap_complete_percent": 0.9})
    assert resolve_engine(source, "auto") == "gymnasium"
    assert resolve_engine("CartPole-v1", "auto") == "gymnasium"
    assert resolve_engine(DRAWN, "auto") == "gymnasium"
    with refused(EnvironmentFault, "CartPole-v1", "gymnasium"):
        resolve_engine("CartPole-v1", "envpool")
    with refused(EnvironmentFault, "wheels"):
        make_engine(CAR, 1, engine="envpool", env_kwargs={"wheels": 5})
    with refused(ConfigError, "image_key"):
        make_engine(CAR, 1, engine="envpool", pixels=PixelOptions(image_key="camera"))


def test_the_engine_is_explained_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The explanation names the engine and, if it was not requested, the reason."""
    pytest.importorskip("envpool")
    cases: list[tuple[str, EngineName, Any, str, str]] = [
        (CAR, "auto", None, "envpool", "fastest"),
        (CAR, "gymnasium", None, "gymnasium", "requested"),
        (CAR, "auto", {"lap_complete_percent": 0.9}, "gymnasium", "env_kwargs"),
        ("CartPole-v1", "auto", None, "gymnasium", "Box of shape (4,)"),
        (DRAWN, "auto", None, "gymnasium", "no environment of this name"),
    ]
    for env_id, engine, only, name, why in cases:
        line = explain_engine(env_id, engine, only)
        assert line.startswith(f"engine {name}") and why in line and "\n" not in line
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert "rl-vae[envpool]" in explain_engine(CAR, "auto")


def test_without_envpool_gymnasium_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """If EnvPool is not installed, "auto" is Gymnasium, and "envpool" names the pip command."""
    monkeypatch.setitem(sys.modules, "envpool", None)
    assert resolve_engine(CAR, "auto") == "gymnasium"
    with refused(EnvironmentFault, "rl-vae[envpool]"):
        resolve_engine(CAR, "envpool")
