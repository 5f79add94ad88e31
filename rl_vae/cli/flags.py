"""Flags from a dataclass or a function: name, type, default and help are written there alone."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import docstring_parser
import tyro

Result = TypeVar("Result")


class Flag(NamedTuple):
    """One field of a dataclass, or one argument of a function."""

    name: str
    hint: Any
    default: Any
    """MISSING if there is none."""
    doc: str


def flags(
    source: Callable[..., Any],
    *,
    only: tuple[str, ...] | None = None,
    omit: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
    types: Mapping[str, Any] | None = None,
    **defaults: Any,
) -> Any:
    """Turn a field of a command into the flags of a dataclass or a function.

    Use: `training: Annotated[Any, flags(TrainConfig)]`.

    The parsed value is a plain record; `call` makes the dataclass, or calls the function, so that
    a wrong value is reported as the library reports it.

    Args:
        source: A dataclass, with a docstring below each field; or a function, whose docstring
            has the section Args.
        only: Fields or arguments that become flags; None: all.
        omit: Fields or arguments that become no flags.
        names: Other names of flags, by field name.
        types: Types of flags whose field also takes values that have no text, by field name.
        defaults: Other defaults, by field name.
    """
    chosen = tuple(
        flag
        for flag in flags_of(source)
        if flag.name not in omit and (only is None or flag.name in only)
    )
    missing = {*(only or ()), *omit, *defaults, *(names or ()), *(types or ())} - {
        f.name for f in flags_of(source)
    }
    assert not missing, f"{source.__name__} has no {sorted(missing)}"
    fields = []
    for flag in chosen:
        settings = tyro.conf.arg(help=flag.doc, name=(names or {}).get(flag.name))
        default = defaults.get(flag.name, flag.default)
        hint: Any = Annotated[(types or {}).get(flag.name, flag.hint), settings]
        fields.append((flag.name, hint, dataclasses.field(default=default)))
    record = dataclasses.make_dataclass(source.__name__, fields, kw_only=True)
    return tyro.conf.arg(constructor=record, prefix_name=False, name="")


def call(source: Callable[..., Result], /, *positional: Any, **more: Any) -> Result:
    """Make a dataclass, or call a function, with parsed flags and further arguments.

    Args:
        source: The dataclass or the function.
        positional: Records that `flags` made from it or from others.
        more: Further arguments; they win over the records.

    Raises:
        RlVaeError: as the source does.
    """
    known = {flag.name for flag in flags_of(source)}
    values = {
        field.name: getattr(record, field.name)
        for record in positional
        for field in dataclasses.fields(record)
        if field.name in known
    }
    return source(**{**values, **more})


@functools.cache
def flags_of(source: Callable[..., Any]) -> tuple[Flag, ...]:
    """The fields of a dataclass or the arguments of a function, with their documentation."""
    hints = get_type_hints(source, include_extras=True)
    if not dataclasses.is_dataclass(source):
        docs = {
            part.arg_name: " ".join((part.description or "").split())
            for part in docstring_parser.parse(source.__doc__ or "").params
        }
        return tuple(
            Flag(
                name,
                hints.get(name, Any),
                dataclasses.MISSING if argument.default is argument.empty else argument.default,
                docs.get(name, ""),
            )
            for name, argument in inspect.signature(source).parameters.items()
        )
    assert isinstance(source, type)
    docs = _field_docs(source)
    result = []
    for field in dataclasses.fields(source):
        default: Any = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        result.append(Flag(field.name, hints[field.name], default, docs.get(field.name, "")))
    return tuple(result)


def _field_docs(kind: type[Any]) -> dict[str, str]:
    """The docstring below each field of a dataclass, by field name, base classes included."""
    docs: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for node, below in zip(definition.body, definition.body[1:], strict=False):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                docs[node.target.id] = " ".join(str(below.value.value).split())
    return docs
