"""check_types: types of the values in a JSON object that may come from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NUMBER: tuple[type, ...] = (int, float)
TEXT_OR_NONE: tuple[type, ...] = (str, type(None))


def check_types(name: str, values: Any, types: Mapping[str, tuple[type, ...]]) -> None:
    """Check the types of an object's entries. What is missing is not checked; bool is no int.

    Args:
        name: Name of the object in the error.
        values: The object.
        types: Types that an entry may have, by its name.

    Raises:
        TypeError: if it is no object, or an entry has another type.
    """
    if type(values) is not dict:
        raise TypeError(f"{name} {str(values)[:80]!r}")
    for entry, kinds in types.items():
        if entry in values and type(values[entry]) not in kinds:
            raise TypeError(f"{name}: {entry} {str(values[entry])[:80]!r}")
