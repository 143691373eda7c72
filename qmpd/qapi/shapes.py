"""Reads one expression: is it written as its kind must be?

Gives definitions whose type names are not resolved yet; `checker` does that. Conditions (`if`) are decided
here, so what is off simply does not come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qmpd.qapi import names
from qmpd.qapi.doc import Doc
from qmpd.qapi.parser import Array, Expression, Object, Pragma
from qmpd.qapi.schema import (
    Alternate,
    Branch,
    Command,
    Definition,
    Enum,
    EnumValue,
    Event,
    Member,
    Struct,
    TypeRef,
    Union,
)
from qmpd.qapi.source import SchemaError, SourceInfo

_COMMON_KEYS = {"if", "features"}
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "enum": ({"data"}, {"prefix"}),
    "struct": ({"data"}, {"base"}),
    "union": ({"data", "base", "discriminator"}, set()),
    "alternate": ({"data"}, set()),
    "command": (
        set(),
        {"data", "returns", "boxed", "gen", "success-response", "allow-oob", "allow-preconfig", "coroutine"},
    ),
    "event": (set(), {"data", "boxed"}),
}
_FLAGS_TRUE = ("boxed", "allow-oob", "allow-preconfig", "coroutine")
_FLAGS_FALSE = ("gen", "success-response")


@dataclass(frozen=True, slots=True)
class _Head:
    """What every definition begins with."""

    value: Object
    kind: str
    name: str
    info: SourceInfo
    doc: Doc | None
    features: tuple[str, ...]

    def at(self, key: str) -> SourceInfo:
        """The place of the expression's key."""
        return self.info.at_line(self.value.lines[key])


class Shapes:
    """Reads expressions under one set of pragmas and conditions.

    :param defined: the symbols that conditions take for true.
    """

    def __init__(self, pragma: Pragma, defined: frozenset[str]) -> None:
        self._pragma = pragma
        self._defined = defined

    def read(self, expression: Expression) -> Iterator[Definition]:
        """The definitions that `expression` makes: implicit types first, none if its condition is off.

        :raises SchemaError: for whatever is not written as it must be.
        """
        head = self._head(expression)
        made = list(self._definitions(head))
        self._check_doc(head)
        if self._condition(head.value, head.info):
            yield from made

    def _head(self, expression: Expression) -> _Head:
        value, info = expression.value, expression.info
        kinds = [key for key in value if key in _KEYS]
        if len(kinds) != 1:
            raise SchemaError(info, f"an expression has exactly one of the keys {_list(_KEYS)}")
        kind = kinds[0]
        name = value[kind]
        if not isinstance(name, str):
            raise SchemaError(info, f"the name of the {kind} is a string")
        required, allowed = _KEYS[kind]
        _check_keys(value, {kind} | required, allowed | _COMMON_KEYS, f"{kind} '{name}'", info)
        self._check_name(kind, name, info)
        return _Head(value, kind, name, info, expression.doc, self._features(value, f"{kind} '{name}'", info))

    def _check_name(self, kind: str, name: str, info: SourceInfo) -> None:
        if kind == "command":
            wrong = names.check_command(name, exception=name in self._pragma.command_name_exceptions)
        elif kind == "event":
            wrong = names.check_event(name)
        else:
            wrong = names.check_type(name)
        if wrong is not None:
            raise SchemaError(info, f"'{name}' is no name for {_article(kind)}: {wrong}")

    def _definitions(self, head: _Head) -> Iterator[Definition]:
        match head.kind:
            case "enum":
                yield self._enum(head)
            case "struct":
                base, members = self._base_name(head), self._members(head, "data")
                yield Struct(head.name, head.info, head.doc, head.features, base, members)
            case "union":
                yield from self._union(head)
            case "alternate":
                branches = self._branches(head, arrays=True)
                yield Alternate(head.name, head.info, head.doc, head.features, branches)
            case _:
                yield from self._entity(head)

    def _base_name(self, head: _Head) -> str | None:
        base = head.value.get("base")
        if base is not None and not isinstance(base, str):
            raise SchemaError(head.at("base"), f"the base of '{head.name}' is the name of a struct")
        return base

    def _enum(self, head: _Head) -> Enum:
        data = head.value["data"]
        if not isinstance(data, Array):
            raise SchemaError(head.at("data"), f"the data of enum '{head.name}' is an array of values")
        values: dict[str, EnumValue] = {}
        for item, line in zip(data, data.lines, strict=True):
            info = head.info.at_line(line)
            value = self._enum_value(head, item, info)
            if value is None:
                continue
            clash = values.setdefault(names.normalized(value.name), value)
            if clash is not value:
                raise SchemaError(info, f"value '{value.name}' of '{head.name}' clashes with '{clash.name}'")
        return Enum(head.name, head.info, head.doc, head.features, tuple(values.values()))

    def _enum_value(self, head: _Head, item: object, info: SourceInfo) -> EnumValue | None:
        written = item if isinstance(item, Object) else Object(info.line)
        if isinstance(item, str):
            written["name"] = item
            written.lines["name"] = info.line
        label = f"a value of enum '{head.name}'"
        _check_keys(written, {"name"}, _COMMON_KEYS, label, info)
        name = written["name"]
        if not isinstance(name, str):
            raise SchemaError(info, f"the name of {label} is a string")
        wrong = names.check_value(name, exception=head.name in self._pragma.member_name_exceptions)
        if wrong is not None:
            raise SchemaError(info, f"'{name}' is no name for {label}: {wrong}")
        value = EnumValue(name, self._features(written, f"value '{name}'", info), info)
        return value if self._condition(written, info) else None

    def _union(self, head: _Head) -> Iterator[Definition]:
        discriminator = head.value["discriminator"]
        if not isinstance(discriminator, str):
            label = f"the discriminator of '{head.name}'"
            raise SchemaError(head.at("discriminator"), f"{label} is a member's name")
        base = head.value["base"]
        if isinstance(base, Object):
            members = self._members(head, "base")
            implicit = Struct(f"q_obj_{head.name}-base", head.info, head.doc, (), None, members, implicit=True)
            yield implicit
            base = implicit.name
        if not isinstance(base, str):
            raise SchemaError(head.at("base"), f"the base of '{head.name}' is a struct's name or an object")
        branches = self._branches(head, arrays=False)
        yield Union(head.name, head.info, head.doc, head.features, base, discriminator, branches)

    def _branches(self, head: _Head, *, arrays: bool) -> tuple[Branch, ...]:
        data = head.value["data"]
        if not isinstance(data, Object) or not data:
            label = f"the data of {head.kind} '{head.name}'"
            raise SchemaError(head.at("data"), f"{label} is an object of branches")
        branches: dict[str, Branch] = {}
        for name, item in data.items():
            info = head.info.at_line(data.lines[name])
            label = f"branch '{name}' of '{head.name}'"
            wrong = names.check_value(name, exception=head.name in self._pragma.member_name_exceptions)
            if wrong is not None:
                raise SchemaError(info, f"'{name}' is no name for a branch of '{head.name}': {wrong}")
            written = _unfold(item, info)
            _check_keys(written, {"type"}, {"if"}, label, info)
            branch = Branch(name, _type_ref(written["type"], label, info), info)
            if branch.type.is_array and not arrays:
                raise SchemaError(info, f"{label} must not be an array")
            clash = branches.setdefault(names.normalized(name), branch)
            if clash is not branch:
                raise SchemaError(info, f"{label} clashes with branch '{clash.name}'")
            if not self._condition(written, info):
                del branches[names.normalized(name)]
        if not branches:
            raise SchemaError(head.at("data"), f"{head.kind} '{head.name}' has no branch left")
        return tuple(branches.values())

    def _members(self, head: _Head, key: str) -> tuple[Member, ...]:
        data = head.value[key]
        if not isinstance(data, Object):
            raise SchemaError(head.at(key), f"the {key} of {head.kind} '{head.name}' is an object of members")
        members = []
        for written_name, item in data.items():
            member = self._member(head, written_name, item, head.info.at_line(data.lines[written_name]))
            if member is not None:
                members.append(member)
        return tuple(members)

    def _member(self, head: _Head, written_name: str, item: object, info: SourceInfo) -> Member | None:
        name = written_name.removeprefix("*")
        label = f"member '{name}' of '{head.name}'"
        wrong = names.check_member(name, exception=head.name in self._pragma.member_name_exceptions)
        if wrong is not None:
            raise SchemaError(info, f"'{name}' is no name for a member of '{head.name}': {wrong}")
        written = _unfold(item, info)
        _check_keys(written, {"type"}, _COMMON_KEYS, label, info)
        reference = _type_ref(written["type"], label, info)
        features = self._features(written, label, info)
        member = Member(name, reference, written_name != name, features, info)
        return member if self._condition(written, info) else None

    def _entity(self, head: _Head) -> Iterator[Definition]:
        self._check_flags(head)
        data = head.value.get("data")
        boxed = head.value.get("boxed") is True
        arg_type: str | None = None
        if isinstance(data, Object):
            if boxed:
                raise SchemaError(head.at("data"), f"'boxed' of '{head.name}' needs the name of a type as data")
            members = self._members(head, "data")
            if members:
                arg_type = f"q_obj_{head.name}-arg"
                yield Struct(arg_type, head.info, head.doc, (), None, members, implicit=True)
        elif isinstance(data, str):
            arg_type = data
        elif data is not None:
            label = f"the data of '{head.name}'"
            raise SchemaError(head.at("data"), f"{label} is a type's name or an object of members")
        elif boxed:
            raise SchemaError(head.at("boxed"), f"'boxed' of '{head.name}' needs data")
        if head.kind == "event":
            yield Event(head.name, head.info, head.doc, head.features, arg_type, boxed)
            return
        yield self._command(head, arg_type, boxed=boxed)

    def _command(self, head: _Head, arg_type: str | None, *, boxed: bool) -> Command:
        returned = head.value.get("returns")
        flags = {flag: head.value.get(flag) is True for flag in _FLAGS_TRUE}
        if flags["allow-oob"] and flags["coroutine"]:
            raise SchemaError(head.info, f"'{head.name}' cannot have both 'allow-oob' and 'coroutine'")
        return Command(
            head.name,
            head.info,
            head.doc,
            head.features,
            arg_type,
            None if returned is None else _type_ref(returned, f"what '{head.name}' returns", head.info),
            boxed,
            free_form=head.value.get("gen") is False and arg_type is not None,
            success_response=head.value.get("success-response") is not False,
            allow_oob=flags["allow-oob"],
            allow_preconfig=flags["allow-preconfig"],
            coroutine=flags["coroutine"],
        )

    def _check_flags(self, head: _Head) -> None:
        for flag in _FLAGS_TRUE:
            if head.value.get(flag, True) is not True:
                raise SchemaError(head.at(flag), f"flag '{flag}' of '{head.name}' may only be true")
        for flag in _FLAGS_FALSE:
            if head.value.get(flag, False) is not False:
                raise SchemaError(head.at(flag), f"flag '{flag}' of '{head.name}' may only be false")

    def _features(self, written: Object, label: str, info: SourceInfo) -> tuple[str, ...]:
        items = written.get("features", Array(info.line))
        if not isinstance(items, Array):
            raise SchemaError(info, f"the features of {label} are an array")
        features: dict[str, bool] = {}
        for item in items:
            entry = item if isinstance(item, Object) else None
            name = entry.get("name") if entry is not None else item
            if not isinstance(name, str) or names.check_value(name, exception=False) is not None:
                raise SchemaError(info, f"a feature of {label} is a name, or an object with a name")
            if entry is not None:
                _check_keys(entry, {"name"}, {"if"}, f"feature '{name}' of {label}", info)
            if name in features:
                raise SchemaError(info, f"feature '{name}' of {label} is given twice")
            features[name] = entry is None or self._condition(entry, info)
        return tuple(name for name, present in features.items() if present)

    def _condition(self, written: Object, info: SourceInfo) -> bool:
        return "if" not in written or self._decide(written["if"], info)

    def _decide(self, condition: object, info: SourceInfo) -> bool:
        if isinstance(condition, str) and condition:
            return condition in self._defined
        if isinstance(condition, Object) and len(condition) == 1:
            operator, operand = next(iter(condition.items()))
            if operator == "not":
                return not self._decide(operand, info)
            if operator in ("all", "any") and isinstance(operand, Array) and operand:
                decided = [self._decide(item, info) for item in operand]
                return all(decided) if operator == "all" else any(decided)
        raise SchemaError(
            info, "a condition is a symbol, or one of { 'all': [...] }, { 'any': [...] } and { 'not': ... }"
        )

    def _check_doc(self, head: _Head) -> None:
        if head.doc is None:
            if self._pragma.doc_required:
                raise SchemaError(head.info, f"{head.kind} '{head.name}' is not documented")
            return
        if head.doc.symbol != head.name:
            raise SchemaError(
                head.doc.info, f"documentation of '{head.doc.symbol}' stands before {head.kind} '{head.name}'"
            )
        written = _written_names(head)
        for name, section in head.doc.members.items():
            if name not in written:
                raise SchemaError(section.info, f"'{name}' is described, but '{head.name}' has no such member")
        excused = not self._pragma.doc_required or head.name in self._pragma.documentation_exceptions
        for name, info in written.items():
            if name not in head.doc.members and not excused:
                raise SchemaError(info, f"member '{name}' of '{head.name}' is not described")
        self._check_feature_docs(head, head.doc, excused=excused)

    def _check_feature_docs(self, head: _Head, doc: Doc, *, excused: bool) -> None:
        written = _written_features(head)
        for name, section in doc.features.items():
            if name not in written:
                raise SchemaError(section.info, f"feature '{name}' is described, but '{head.name}' lacks it")
        for name in sorted(written - doc.features.keys()):
            if not excused:
                raise SchemaError(head.info, f"feature '{name}' of '{head.name}' is not described")


def _written_features(head: _Head) -> set[str]:
    """The names of all features of the definition and of its members, whatever their conditions."""
    found = _feature_names(head.value)
    for data in (head.value.get("data"), head.value.get("base")):
        items = data.values() if isinstance(data, Object) else data if isinstance(data, Array) else ()
        for item in items:
            if isinstance(item, Object):
                found |= _feature_names(item)
    return found


def _feature_names(written: Object) -> set[str]:
    items = written.get("features")
    return {
        str(item.get("name") if isinstance(item, Object) else item)
        for item in (items if isinstance(items, Array) else ())
    }


def _written_names(head: _Head) -> dict[str, SourceInfo]:
    """What the documentation must describe: the definition's own members, whatever their conditions."""
    data = head.value.get("base" if head.kind == "union" else "data")
    if isinstance(data, Object):
        return {name.removeprefix("*"): head.info.at_line(line) for name, line in data.lines.items()}
    if isinstance(data, Array):
        items = zip(data, data.lines, strict=True)
        return {
            str(item["name"] if isinstance(item, Object) else item): head.info.at_line(line) for item, line in items
        }
    return {}


def _check_keys(value: Object, required: set[str], allowed: set[str], label: str, info: SourceInfo) -> None:
    for key in sorted(required - value.keys()):
        raise SchemaError(info, f"{label} lacks '{key}'")
    known = required | allowed
    for key in value:
        if key not in known:
            wrong = f"{label} has the unknown key '{key}'; known are {_list(known)}"
            raise SchemaError(info.at_line(value.lines[key]), wrong)


def _unfold(item: object, info: SourceInfo) -> Object:
    """The long form `{ 'type': TYPE }` of a member or branch."""
    if isinstance(item, Object):
        return item
    written = Object(info.line)
    written["type"] = item
    written.lines["type"] = info.line
    return written


def _type_ref(value: object, label: str, info: SourceInfo) -> TypeRef:
    if isinstance(value, str):
        return TypeRef(value)
    if isinstance(value, Array) and len(value) == 1 and isinstance(value[0], str):
        return TypeRef(value[0], is_array=True)
    raise SchemaError(info, f"the type of {label} is a name, or an array of one name")


def _list(keys: object) -> str:
    assert isinstance(keys, set | dict)
    return ", ".join(f"'{key}'" for key in (sorted(keys) if isinstance(keys, set) else keys))


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeu" and kind != "union" else f"a {kind}"
