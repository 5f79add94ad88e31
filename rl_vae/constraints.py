"""Declared constraints: the range of a setting stands beside its field, one function checks all.

    @dataclass(frozen=True)
    class Settings:
        epochs: Annotated[int, Range(low=1)] = 10
        share: Annotated[float, Range(above=0, below=1)] = 0.1
        kind: Literal["fast", "exact"] = "fast"

        def __post_init__(self) -> None:
            check_fields(self)

The type of every field is checked, too: a bool is not a number, a number must be finite. A field of
type float takes whole numbers. `check_arguments` checks the arguments of a function alike.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import math
import os
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from rl_vae.errors import ConfigError

Settings = TypeVar("Settings")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Range:
    """Bounds of a number; a bound that is None does not exist."""

    low: float | None = None
    """Smallest value."""
    high: float | None = None
    """Largest value."""
    above: float | None = None
    """The value must be larger than this."""
    below: float | None = None
    """The value must be smaller than this."""
    remedy: str | None = None
    """What to do about a wrong value; None: choose the default."""

    def holds(self, value: float) -> bool:
        """Whether a number lies inside."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        words = (
            ("from", self.low),
            ("above", self.above),
            ("to", self.high),
            ("below", self.below),
        )
        return " ".join(f"{word} {bound:g}" for word, bound in words if bound is not None)


def check_fields(settings: Any) -> None:
    """Check the type and the range of every field of a dataclass.

    Raises:
        ConfigError: if a value has another type or lies outside its range.
    """
    kind = type(settings)
    for field in dataclasses.fields(settings):
        check_value(
            f"{kind.__name__}.{field.name}",
            getattr(settings, field.name),
            _hints(kind)[field.name],  # type: ignore[arg-type]
            None if field.default is dataclasses.MISSING else field.default,
        )


def check_arguments(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorator: check the arguments of each call against the function's annotations.

    The function then raises ConfigError if an argument has another type or is out of its range. It
    gets a number of numpy as a number of Python. `Any` is not checked; *args and **kwargs, which
    this cannot check, need it.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        hints, call = _hints(function), signature.bind(*args, **kwargs)
        for name, value in call.arguments.items():
            value = value.item() if isinstance(value, np.generic) else value
            default = signature.parameters[name].default
            required = default is inspect.Parameter.empty
            check_value(name, value, hints.get(name, Any), _REQUIRED if required else default)
            call.arguments[name] = value
        return function(*call.args, **call.kwargs)

    return checked


def check_value(name: str, value: Any, hint: Any, default: Any = None) -> None:
    """Check one value against a type hint, `Annotated` with a Range or not.

    Args:
        name: Name of the value in the error.
        value: The value.
        hint: Its type: int, float, str, bool, Literal, Annotated, a union, a tuple, a class.
        default: A value that is right, for the remedy.

    Raises:
        ConfigError: if the value has another type or lies outside its range.
    """
    if _fits(value, hint):
        return
    ranges = [part for part in _parts(hint) if isinstance(part, Range)]
    short, expected = name.rpartition(".")[2], _describe(hint)
    remedy = f"leave {short} out" if default is None else f"choose {short}={default!r}"
    if default is _REQUIRED:
        loaders = [part for part in ("open", "load") if hasattr(hint, part)]
        remedy = f"give {hint.__name__}.{loaders[0]}(FOLDER)" if loaders else f"give {expected}"
    raise ConfigError(
        f"{name} is out of range.",
        expected=expected,
        got=repr(value),
        remedy=next((part.remedy for part in ranges if part.remedy), remedy),
    )


_REQUIRED = object()
"""Default of an argument without a default."""


def from_keywords(kind: type[Settings], options: Mapping[str, Any]) -> Settings:
    """Make a dataclass of settings from keywords that a user wrote.

    Raises:
        ConfigError: if a keyword is no field of the dataclass, or a value is out of its range.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1, cutoff=0.5)
            raise ConfigError(
                f"Unknown option {name!r}.",
                expected=f"one of {', '.join(known)}",
                got=repr(name),
                remedy=f"write {nearest[0]}=" if nearest else "leave the keyword out",
            )
    return kind(**options)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type):
        return get_type_hints(kind, include_extras=True)
    # Not the function's own globals: cloudpickle sends those that the code names, and no others.
    return get_type_hints(kind, vars(sys.modules[kind.__module__]), include_extras=True)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        inside = [part for part in parts[1:] if isinstance(part, Range)]
        return _fits(value, parts[0]) and (value is None or all(r.holds(value) for r in inside))
    if origin in (Union, types.UnionType):
        if Path in parts and isinstance(value, str):  # file names may be no Unicode
            return True
        return any(_fits(value, part) for part in parts)
    if hint is Path:
        return isinstance(value, os.PathLike)
    if origin is Literal:
        return any(value is part or (type(value) is type(part) and value == part) for part in parts)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and _is_unicode(value)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if parts[-1] is Ellipsis:
            return all(_fits(item, parts[0]) for item in value)
        return len(value) == len(parts) and all(map(_fits, value, parts))
    kind = origin or hint
    return value is None if kind in (None, type(None)) else isinstance(value, kind)


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(hint: Any) -> str:
    """A type hint in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        bounds = [str(part) for part in parts[1:] if isinstance(part, Range)]
        return " ".join([_describe(parts[0]), *bounds])
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in parts)
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"a tuple, each {_describe(parts[0])}"
        if len(set(parts)) == 1:
            return f"a tuple of {len(parts)}, each {_describe(parts[0])}"
        return f"a tuple of {len(parts)}: {', '.join(map(_describe, parts))}"
    kind = origin or hint
    names = {
        int: "a whole number",
        float: "a number",
        str: "a string",
        bool: "True or False",
        Path: "a path",
        Mapping: "a mapping",
        Sequence: "a sequence",
        type(None): "None",
    }
    return names.get(kind) or f"a {getattr(kind, '__name__', kind)}"


def _parts(hint: Any) -> list[Any]:
    """A type hint and everything inside it."""
    return [hint, *(inner for part in get_args(hint) for inner in _parts(part))]
