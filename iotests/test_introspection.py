"""`query-qmp-schema` of both daemons is the same in every member, but for what docs/compatibility.md names."""

import pytest

from iotests.harness import Launcher
from iotests.harness.compatibility import Compatibility
from iotests.harness.introspection import Difference, Entity, Interface, compare, explain


def interface(launch: Launcher, kind: str) -> Interface:
    """What a server of this kind answers."""
    return Interface(launch.peer(kind).qmp.command("query-qmp-schema"))


@pytest.mark.qmpd_only("starts the real ones by itself")
@pytest.mark.parametrize("peer", ["qsd", "qemu"])
def test_no_unexplained_difference(launch: Launcher, peer: str) -> None:
    differences = compare(interface(launch, "qmpd"), interface(launch, peer))
    unexplained, gone = explain(differences, Compatibility().intended())
    assert not unexplained, "\n".join(map(str, unexplained))
    assert not gone, "named in docs/compatibility.md, but not there:\n" + "\n".join(map(str, gone))


def test_each_intended_difference_has_a_reason() -> None:
    assert all(Compatibility().reasons())


class TestComparison:
    """The comparison itself, on small made-up interfaces."""

    def of(self, *entities: Entity) -> Interface:
        """A command `c` with argument type `0`, which `entities` describe; everything else is built in."""
        command = {"name": "c", "meta-type": "command", "arg-type": "0", "ret-type": "0"}
        integer = {"name": "int", "meta-type": "builtin", "json-type": "int"}
        text = {"name": "str", "meta-type": "builtin", "json-type": "string"}
        return Interface([command, integer, text, *entities])

    def objects(self, *members: Entity, **more: object) -> Entity:
        return {"name": "0", "meta-type": "object", "members": list(members), **more}

    def test_equal_in_spite_of_names_and_order(self) -> None:
        one = self.of(self.objects({"name": "a", "type": "int"}, {"name": "b", "type": "5"}), enum("5", "x", "y"))
        other = self.of(self.objects({"name": "b", "type": "9"}, {"name": "a", "type": "int"}), enum("9", "y", "x"))
        assert compare(one, other) == []

    def test_cycles_end(self) -> None:
        one = self.of(self.objects({"name": "again", "type": "0", "default": None}))
        other = self.of(self.objects({"name": "again", "type": "0"}))
        assert compare(one, other) == [Difference("c.again", "optional", "True != False", "")]

    def test_members(self) -> None:
        one = self.of(self.objects({"name": "a", "type": "int"}, {"name": "b", "type": "int", "features": ["f"]}))
        other = self.of(self.objects({"name": "b", "type": "str"}, {"name": "c", "type": "int"}))
        assert compare(one, other) == [
            Difference("c", "member", "a", "qmpd"),
            Difference("c", "member", "c", "QEMU"),
            Difference("c.b", "feature", "f", "qmpd"),
            Difference("c.b", "json-type", "int != string", ""),
        ]

    def test_variants_are_followed(self) -> None:
        def side(value: str, member: str) -> Interface:
            tag = {"name": "kind", "type": "1"}
            variants = [{"case": "x", "type": "2"}, {"case": value, "type": "2"}]
            branch = {"name": "2", "meta-type": "object", "members": [{"name": member, "type": "int"}]}
            return self.of(self.objects(tag, tag="kind", variants=variants), enum("1", "x", value), branch)

        assert compare(side("y", "m"), side("z", "n")) == [
            Difference("c(kind=x)", "member", "m", "qmpd"),
            Difference("c(kind=x)", "member", "n", "QEMU"),
            Difference("c.kind", "value", "y", "qmpd"),
            Difference("c.kind", "value", "z", "QEMU"),
        ]

    def test_alternates_are_told_apart_by_what_they_take(self) -> None:
        def side(*types: str) -> Interface:
            choice = {"name": "1", "meta-type": "alternate", "members": [{"type": name} for name in types]}
            return self.of(self.objects({"name": "a", "type": "1"}), choice, enum("2", "x"))

        assert compare(side("str", "int"), side("int", "2")) == [
            Difference("c.a", "meta-type", "builtin != enum", ""),
        ]
        assert compare(side("str", "int"), side("str")) == [Difference("c.a", "type", "int", "qmpd")]


def enum(name: str, *values: str) -> Entity:
    """An enum of these values."""
    return {"name": name, "meta-type": "enum", "members": [{"name": value} for value in values], "values": list(values)}
