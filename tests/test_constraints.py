"""Declared constraints: what fits a type and a range, and the error for what does not."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from rl_vae.constraints import Range, check_fields
from rl_vae.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    number: Annotated[int, Range(low=1, high=9)] = 3
    share: Annotated[float, Range(above=0, below=1, remedy="choose 0.5")] | None = None
    kind: Literal["x", "y"] = "x"
    pair: tuple[int, int] = (1, 2)
    row: tuple[float, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "values", [{}, {"number": 9}, {"share": 0.5}, {"share": None}, {"row": (1, 2.5)}, {"kind": "y"}]
)
def test_right_values_pass(values: dict[str, Any]) -> None:
    """A value of the right type inside its range is taken as it is."""
    for name, value in values.items():
        assert getattr(Settings(**values), name) == value


@pytest.mark.parametrize(
    ("values", "expected", "remedy"),
    [
        ({"number": 0}, "a whole number from 1 to 9", "choose number=3"),
        ({"number": True}, "a whole number", "choose number=3"),
        ({"number": 2.0}, "a whole number", "choose number=3"),
        ({"share": 1}, "above 0 below 1", "choose 0.5"),
        ({"share": float("nan")}, "a number", "choose 0.5"),
        ({"share": "4"}, "a number", "choose 0.5"),
        ({"kind": "z"}, "'x' or 'y'", "choose kind='x'"),
        ({"pair": (1,)}, "a tuple of 2", "choose pair=(1, 2)"),
        ({"row": (1, "a")}, "a tuple", "choose row=()"),
        ({"text": 3}, "a string", "choose text=''"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], expected: str, remedy: str) -> None:
    """A wrong type or a value outside its range is a ConfigError with field, range and remedy."""
    with pytest.raises(ConfigError) as error:
        Settings(**values)
    (name,) = values
    assert f"Settings.{name}" in error.value.what
    assert expected in str(error.value.expected) and error.value.remedy == remedy
