"""Values of Python in JSON that come back unchanged: also tuples, and mappings with any keys.

Strings, numbers, lists and mappings with string keys are stored as they are. Others are objects
with one name: {"__tuple__": [...]}, or {"__items__": [[key, value], ...]} for a mapping.
"""

from __future__ import annotations

from typing import Any

_TUPLE, _ITEMS = "__tuple__", "__items__"
_PLAIN = (str, int, float, bool, type(None))


def encode_values(value: Any) -> Any:
    """Return a value as JSON values from which `decode_values` makes it again.

    Raises:
        TypeError: if a part is of a type that would come back changed.
    """
    if type(value) in _PLAIN:
        return value
    if type(value) is list:
        return [encode_values(item) for item in value]
    if type(value) is tuple:
        return {_TUPLE: [encode_values(item) for item in value]}
    if type(value) is dict:
        items = [(key, encode_values(item)) for key, item in value.items()]
        if all(type(key) is str and key not in (_TUPLE, _ITEMS) for key, _ in items):
            return dict(items)
        return {_ITEMS: [[encode_values(key), item] for key, item in items]}
    raise TypeError(f"a value of type {type(value).__name__}: {str(value)[:80]!r}")


def decode_values(value: Any) -> Any:
    """Return the value that `encode_values` described.

    Raises:
        ValueError, TypeError, KeyError: if the JSON values are damaged.
    """
    if isinstance(value, list):
        return [decode_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE}:
        return tuple(decode_values(item) for item in value[_TUPLE])
    if set(value) == {_ITEMS}:
        return {decode_values(key): decode_values(item) for key, item in value[_ITEMS]}
    return {key: decode_values(item) for key, item in value.items()}
