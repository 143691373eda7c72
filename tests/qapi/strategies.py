"""Hypothesis strategies for the schema's types: values that are right, and one mistake in them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from qmpd.qapi.schema import INTEGER_RANGES, Alternate, Enum, Schema, Struct, TypeRef, Union

JSON = Any
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def values(schema: Schema, reference: TypeRef, depth: int = 3) -> st.SearchStrategy[JSON]:
    """JSON values of a type. Optional members of deeper levels are left out, so that recursion ends."""
    if reference.is_array:
        return st.lists(values(schema, TypeRef(reference.name), depth), max_size=3 if depth > 0 else 0)
    definition = schema.types.get(reference.name)
    match definition:
        case None:
            return _builtin(reference.name)
        case Enum():
            return st.sampled_from([value.name for value in definition.values])
        case Struct():
            return _object(schema, reference.name, depth)
        case Union():
            branches = [value.name for value in schema.discriminator(definition).values]
            return st.sampled_from(branches).flatmap(lambda value: _union(schema, definition, value, depth))
        case Alternate():
            branch_types = [branch.type for branch in definition.branches]
            if depth <= 0:
                plain = [item for item in branch_types if not isinstance(schema.types.get(item.name), Struct | Union)]
                branch_types = plain or branch_types
            return st.one_of(*(values(schema, item, depth - 1) for item in branch_types))
    raise AssertionError(definition)


def _builtin(name: str) -> st.SearchStrategy[JSON]:
    if name in INTEGER_RANGES:
        low, high = INTEGER_RANGES[name]
        return st.integers(low, high) | st.sampled_from([low, high])
    return {
        "str": text,
        "bool": st.booleans(),
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53),
        "null": st.none(),
        "any": st.none() | st.booleans() | text | st.lists(text, max_size=2),
    }[name]


def _object(schema: Schema, name: str, depth: int) -> st.SearchStrategy[dict[str, JSON]]:
    required: dict[str, st.SearchStrategy[JSON]] = {}
    optional: dict[str, st.SearchStrategy[JSON]] = {}
    for member in schema.members(name):
        if not member.optional:
            required[member.name] = st.deferred(lambda ref=member.type: values(schema, ref, depth - 1))
        elif depth > 0:
            optional[member.name] = st.deferred(lambda ref=member.type: values(schema, ref, depth - 1))
    return st.fixed_dictionaries(required, optional=optional)


def _union(schema: Schema, union: Union, value: str, depth: int) -> st.SearchStrategy[dict[str, JSON]]:
    parts = [_object(schema, union.base, depth)]
    branch = schema.branch_type(union, value)
    if branch is not None:
        parts.append(_object(schema, branch, depth))
    merged = st.tuples(*parts).map(lambda found: {key: item for part in found for key, item in part.items()})
    return merged.map(lambda found: {**found, union.discriminator: value})


def places(value: JSON, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all values inside `value`, itself included."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def replaced(value: JSON, path: tuple[str | int, ...], new: JSON) -> JSON:
    """A copy of `value` with `new` at `path`."""
    if not path:
        return new
    if isinstance(value, dict):
        return {key: replaced(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [replaced(item, path[1:], new) if number == path[0] else item for number, item in enumerate(value)]


def at(value: JSON, path: tuple[str | int, ...]) -> JSON:
    """What stands at `path`."""
    for step in path:
        value = value[step]
    return value
