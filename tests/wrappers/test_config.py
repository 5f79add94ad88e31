"""ObservationConfig and the keywords of the wrappers."""

from typing import Any

import pytest
from environments import refused

from rl_vae.errors import ConfigError
from rl_vae.wrappers.config import ObservationConfig, config_from_options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("stack", value) for value in (-1, 0, 1.5, True, "2", None)),
        *(("actions", value) for value in (-1, 1.5, True, "2", None)),
        *(("code", value) for value in ("z", None, 1)),
        *(("extras", value) for value in ("keep", None, True)),
        *(("standardise", value) for value in (1, "yes", None)),
        ("image_key", 3),
    ],
    ids=repr,
)
def test_a_wrong_value_is_refused(name: str, value: Any) -> None:
    """The error names the field and the value."""
    with refused(ConfigError, f"ObservationConfig.{name}", repr(value)):
        ObservationConfig(**{name: value})


def test_keywords_are_the_fields() -> None:
    """Keywords and a configuration with the same values give the same result."""
    config = ObservationConfig(stack=4, extras="drop")
    assert config_from_options(None, {"stack": 4, "extras": "drop"}) == config
    assert config_from_options(config, {}) is config
    assert config_from_options(None, {}) == ObservationConfig()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("stacks", "stack="),
        ("standardize", "standardise="),
        ("x", "leave the"),
    ],
)
def test_an_unknown_keyword_is_refused(name: str, remedy: str) -> None:
    """The error names the option with the most similar name, if there is one."""
    with refused(ConfigError, name) as caught:
        config_from_options(None, {name: 1})
    assert remedy in str(caught.value.remedy)


def test_config_and_keywords_are_not_mixed() -> None:
    """A field is given in the configuration or as a keyword, never in both."""
    with refused(ConfigError, "stack"):
        config_from_options(ObservationConfig(), {"stack": 4})
    wrong: Any = {"stack": 4}
    with refused(ConfigError, "ObservationConfig"):
        config_from_options(wrong, {})
