"""The payload of `query-qmp-schema` in itself; iotests/test_introspection.py holds it against the real programs."""

from __future__ import annotations

from qmpd.api.introspection import schema_info


def test_numbering() -> None:
    """Names are masked as QEMU masks them: types are numbered in the order of their first use and appear in it."""
    entities = schema_info()
    kinds = [entity["meta-type"] for entity in entities]
    types = kinds.index("object")
    assert set(kinds[:types]) == {"command", "event"}
    assert not {"command", "event"} & set(kinds[types:])
    names = [entity["name"] for entity in entities[types:]]
    assert len(names) == len(set(names))
    numbers = [int(name) for name in names if name.isdigit()]
    assert numbers == sorted(numbers) == list(range(len(numbers)))
    builtins = {entity["name"] for entity in entities if entity["meta-type"] == "builtin"}
    assert builtins <= {"str", "int", "bool", "number", "any", "null"}


def test_every_reference_leads_somewhere() -> None:
    entities = schema_info()
    known = {entity["name"] for entity in entities}
    for entity in entities:
        items = [entity, *entity.get("members", []), *entity.get("variants", [])]
        for item in items:
            for key in ("arg-type", "ret-type", "element-type", "type"):
                assert item.get(key, "str") in known | {"str"}


def test_each_answer_is_a_copy() -> None:
    schema_info()[0]["name"] = "changed"
    assert schema_info()[0]["name"] != "changed"
