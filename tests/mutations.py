"""Random changes to files and to JSON values, for fuzz tests."""

import json
import random
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3.7,
    1e308,
    5e-324,
    2**31,
    2**40,
    2**63,
    2**64,
    10**30,
    "",
    "1",
    "NaN",
    "\ud800",
    "\x00",
    "../../secret",
    "os:system",
    "\u00fc\u6f22\U0001f600\u202e" * 9,
    "x" * 100_000,
    [],
    {},
    [[]],
    [None],
    ["a", 1],
    [["a", 1]],
    [0] * 10_000,
    {"": {}},
    {"kind": "Box"},
)
"""Unexpected JSON values."""


class Raw(str):
    """JSON text that is written unchanged, also if it is invalid."""


RAW = (
    Raw("NaN"),
    Raw("Infinity"),
    Raw("-Infinity"),
    Raw("1e999"),
    Raw("-0.0"),
    Raw("1e2"),
    Raw("9" * 5000),
    Raw("-" + "9" * 400),
    Raw("[" * 70 + "]" * 70),
    Raw("[" * 990 + "]" * 990),
    Raw("[" * 100_000),
    Raw('{"a":' * 500 + "0" + "}" * 500),
    Raw('"\\ud800"'),
    Raw("'"),
)
"""Unusual and invalid JSON texts."""


def damage(content: bytes, rng: random.Random) -> bytes:
    """Flip bits, or cut, repeat, overwrite or insert bytes, without regard to their meaning."""
    at, other = (rng.randrange(len(content) + 1) for _ in range(2))
    first, last = sorted((at, other))
    noise = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 8, 64))))
    changed = bytearray(content)
    kind = rng.randrange(7)
    if kind <= 1 and content:
        for _ in range(rng.choice((1, 1, 2, 16))):
            changed[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del changed[at:]
    elif kind == 3:
        del changed[first:last]
    elif kind == 4:
        changed[at:at] = noise
    elif kind == 5:
        changed[at : at + len(noise)] = rng.choice((noise, bytes(len(noise)), b"\xff" * len(noise)))
    else:
        changed[at:at] = content[first:last]
    return bytes(changed)


def json_text(value: Any) -> str:
    """Return the JSON of a value. Raw text is unchanged; a tuple of pairs becomes an object."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, tuple):
        return "{" + ",".join(f"{json.dumps(k)}:{json_text(v)}" for k, v in value) + "}"
    if isinstance(value, dict):
        return json_text(tuple(value.items()))
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value)


def change_json(value: Any, rng: random.Random) -> Any:
    """Return a JSON value with one change; `json_text` writes it."""
    paths = list(_paths(value))
    path = rng.choice(paths)
    return _replace(value, path, lambda old: _change(old, value, paths, rng))


def _change(old: Any, document: Any, paths: list[tuple[Any, ...]], rng: random.Random) -> Any:
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(RAW)
    if kind == 1:  # a value from another place
        return _at(document, rng.choice(paths))
    if kind in (2, 3) and isinstance(old, dict) and old:
        key = rng.choice(list(old))
        rest = tuple((k, v) for k, v in old.items() if k != key)
        again = tuple(old.items())
        return rng.choice(
            (
                rest,
                (*rest, (key + rng.choice((" ", "s", "\u200b", "")), old[key])),
                (*again, (rng.choice(("more", "", "__class__")), 1)),
                (*again, (key, rng.choice(ODD))),
                ((key, rng.choice(ODD)), *again),
            )
        )
    if kind in (2, 3) and isinstance(old, list) and old:
        return rng.choice((old[:-1], [*old, old[-1]], old[::-1], old * 1000, [old], {"0": old}))
    if kind == 4 and isinstance(old, int | float):
        return rng.choice((-old, old + 1, float(old), str(old), old * 1000, [old], bool(old)))
    if kind == 4 and isinstance(old, str):
        return rng.choice((old.upper(), old + " ", old[:-1], old[::-1], old * 50, [old]))
    return rng.choice(ODD)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> Any:
    yield here
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(part, (*here, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _replace(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replace(value[path[0]], path[1:], change)
    return copy
