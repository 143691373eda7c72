"""Two `query-qmp-schema` answers held against each other, by structure.

Type names are masked numbers and mean nothing outside their own answer, so the comparison walks from each command and
event that both sides have along the references of both sides at once, breadth first: a difference in a type that many
use is reported once, where the way to it is shortest. What only one side has is a difference whatever side it is.

Paths: `blockdev-add.driver` is a member, `query-jobs->[]` an element of what is returned, and
`blockdev-add(driver=qcow2).encrypt` a member that exists for one value of the tag.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Entity = Mapping[str, Any]

OURS = "qmpd"
THEIRS = "QEMU"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One difference.

    :param path: where.
    :param aspect: `member`, `value` (of an enum), `variant`, `feature`, `type` (of an alternate), or a property that
        both sides have differently, such as `optional` or `meta-type`.
    :param name: what it is that one side lacks; for a property, both sides' values.
    :param only_in: OURS, THEIRS, or an empty text for a property.
    """

    path: str
    aspect: str
    name: str
    only_in: str

    def __str__(self) -> str:
        where = f" (only in {self.only_in})" if self.only_in else ""
        return f"{self.path}: {self.aspect} {self.name}{where}"


class Interface:
    """One side's answer."""

    def __init__(self, payload: Iterable[Entity]) -> None:
        self._entities = {entity["name"]: entity for entity in payload}

    def __getitem__(self, name: str) -> Entity:
        return self._entities[name]

    @property
    def commands(self) -> set[str]:
        """Names of all commands."""
        return self._named("command")

    @property
    def events(self) -> set[str]:
        """Names of all events."""
        return self._named("event")

    def _named(self, meta_type: str) -> set[str]:
        return {name for name, entity in self._entities.items() if entity["meta-type"] == meta_type}

    def values(self, command: str, member: str) -> set[str]:
        """The values of an enum that is the type of a command's argument."""
        arguments = self[self[command]["arg-type"]]
        kind = next(entry["type"] for entry in arguments["members"] if entry["name"] == member)
        return set(self[kind]["values"])


def compare(ours: Interface, theirs: Interface) -> list[Difference]:
    """All differences in the commands and events that both have."""
    return _Comparison(ours, theirs).run()


def explain(
    differences: Iterable[Difference], intended: Iterable[Difference]
) -> tuple[list[Difference], list[Difference]]:
    """What is not intended, and what is said to be intended and does not exist."""
    found, listed = set(differences), set(intended)
    return sorted(found - listed), sorted(listed - found)


class _Comparison:
    """One walk over both sides."""

    def __init__(self, ours: Interface, theirs: Interface) -> None:
        self._ours = ours
        self._theirs = theirs
        self._found: list[Difference] = []
        self._met: set[tuple[str, str]] = set()
        self._ahead: deque[tuple[str, str, str]] = deque()

    def run(self) -> list[Difference]:
        """Compare everything that both have."""
        common = (self._ours.commands & self._theirs.commands) | (self._ours.events & self._theirs.events)
        for name in sorted(common):
            self._entity(name)
        while self._ahead:
            self._types(*self._ahead.popleft())
        return sorted(self._found)

    def _entity(self, name: str) -> None:
        """A command or an event."""
        ours, theirs = self._ours[name], self._theirs[name]
        self._properties(name, ours, theirs, "meta-type", "allow-oob")
        self._features(name, ours, theirs)
        self._visit(name, ours["arg-type"], theirs["arg-type"])
        if "ret-type" in ours and "ret-type" in theirs:
            self._visit(f"{name}->", ours["ret-type"], theirs["ret-type"])

    def _visit(self, path: str, ours: str, theirs: str) -> None:
        """Remember a pair of types, unless it was met before: that ends cycles."""
        if (ours, theirs) not in self._met:
            self._met.add((ours, theirs))
            self._ahead.append((path, ours, theirs))

    def _types(self, path: str, our_name: str, their_name: str) -> None:
        ours, theirs = self._ours[our_name], self._theirs[their_name]
        self._properties(path, ours, theirs, "meta-type")
        if ours["meta-type"] != theirs["meta-type"]:
            return
        self._properties(path, ours, theirs, "json-type", "tag")
        self._features(path, ours, theirs)
        match ours["meta-type"]:
            case "array":
                self._visit(f"{path}[]", ours["element-type"], theirs["element-type"])
            case "enum":
                self._enum(path, ours, theirs)
            case "alternate":
                self._alternate(path, ours, theirs)
            case "object":
                self._object(path, ours, theirs)

    def _enum(self, path: str, ours: Entity, theirs: Entity) -> None:
        for name, one, other in self._pairs(path, "value", "name", ours["members"], theirs["members"]):
            self._features(f"{path}={name}", one, other)

    def _alternate(self, path: str, ours: Entity, theirs: Entity) -> None:
        """Branches have no names: what JSON they take tells them apart."""
        one = [{**branch, "takes": self._json_type(self._ours, branch["type"])} for branch in ours["members"]]
        other = [{**branch, "takes": self._json_type(self._theirs, branch["type"])} for branch in theirs["members"]]
        for _, mine, yours in self._pairs(path, "type", "takes", one, other):
            self._visit(path, mine["type"], yours["type"])

    @staticmethod
    def _json_type(interface: Interface, name: str) -> str:
        entity = interface[name]
        if entity["meta-type"] == "builtin":
            return str(entity["json-type"])
        return "string" if entity["meta-type"] == "enum" else str(entity["meta-type"])

    def _object(self, path: str, ours: Entity, theirs: Entity) -> None:
        for name, one, other in self._pairs(path, "member", "name", ours["members"], theirs["members"]):
            place = f"{path}.{name}"
            self._property(place, "optional", "default" in one, "default" in other)
            self._properties(place, one, other, "default")
            self._features(place, one, other)
            self._visit(place, one["type"], other["type"])
        self._variants(path, ours, theirs)

    def _variants(self, path: str, ours: Entity, theirs: Entity) -> None:
        """A case that only one side has is told with the values of the tag."""
        mine = {branch["case"]: branch["type"] for branch in ours.get("variants", ())}
        yours = {branch["case"]: branch["type"] for branch in theirs.get("variants", ())}
        for case in mine.keys() & yours.keys():
            self._visit(f"{path}({ours['tag']}={case})", mine[case], yours[case])

    def _pairs(
        self, path: str, aspect: str, key: str, ours: Sequence[Entity], theirs: Sequence[Entity]
    ) -> list[tuple[str, Entity, Entity]]:
        """Items that both have; reports the others."""
        mine = {item[key]: item for item in ours}
        yours = {item[key]: item for item in theirs}
        self._found += [Difference(path, aspect, name, OURS) for name in mine if name not in yours]
        self._found += [Difference(path, aspect, name, THEIRS) for name in yours if name not in mine]
        return [(name, item, yours[name]) for name, item in mine.items() if name in yours]

    def _features(self, path: str, ours: Entity, theirs: Entity) -> None:
        mine, yours = set(ours.get("features", ())), set(theirs.get("features", ()))
        self._found += [Difference(path, "feature", name, OURS) for name in mine - yours]
        self._found += [Difference(path, "feature", name, THEIRS) for name in yours - mine]

    def _properties(self, path: str, ours: Entity, theirs: Entity, *keys: str) -> None:
        for key in keys:
            self._property(path, key, ours.get(key), theirs.get(key))

    def _property(self, path: str, key: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            self._found.append(Difference(path, key, f"{ours} != {theirs}", ""))
