"""The models take what the schema says and nothing else, and say in one sentence why not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from qmpd.api import models
from qmpd.api.enums import BlockdevDriver
from qmpd.api.keyval_types import TYPES
from qmpd.api.tables import COMMANDS, EVENTS
from qmpd.qapi.checker import load
from qmpd.qapi.explain import explain
from qmpd.qapi.schema import INTEGER_RANGES, Schema, TypeRef
from tests.qapi.strategies import at, places, replaced, values
from tests.soak import count

ROOT = Path(__file__).parents[2]
SCHEMA: Schema = load(str(ROOT / "schema" / "qapi-schema.json"))
TAKING = [name for name, command in SCHEMA.commands.items() if command.arg_type is not None and not command.free_form]
RETURNING = [command.name for command in SCHEMA.commands.values() if command.ret_type is not None]

quick = settings(
    max_examples=count(30, 1_000),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def arguments(name: str) -> st.SearchStrategy[dict[str, Any]]:
    command = SCHEMA.commands[name]
    assert command.arg_type is not None
    return values(SCHEMA, TypeRef(command.arg_type))


def refusal(name: str, given_arguments: Any) -> str:
    """The sentence with which `name` refuses its arguments."""
    with pytest.raises(ValueError) as caught:
        COMMANDS[name].validate(given_arguments)
    return COMMANDS[name].explain(caught.value)


@quick
@given(st.sampled_from(TAKING).flatmap(lambda name: st.tuples(st.just(name), arguments(name))))
def test_right_arguments_are_taken_and_given_back(call: tuple[str, dict[str, Any]]) -> None:
    name, data = call
    model = COMMANDS[name].validate(data)
    assert model is not None
    assert model.to_json() == data


@quick
@given(st.sampled_from(RETURNING).flatmap(lambda name: st.tuples(st.just(name), results(name))))
def test_right_results_pass(call: tuple[str, Any]) -> None:
    COMMANDS[call[0]].check_return(call[1])


def results(name: str) -> st.SearchStrategy[Any]:
    returned = SCHEMA.commands[name].ret_type
    assert returned is not None
    return values(SCHEMA, returned, depth=2)


@quick
@given(st.sampled_from(list(EVENTS)).flatmap(lambda name: st.tuples(st.just(name), event_data(name))))
def test_right_events_pass(event: tuple[str, Any]) -> None:
    EVENTS[event[0]].check(event[1])


def event_data(name: str) -> st.SearchStrategy[Any]:
    arg_type = SCHEMA.events[name].arg_type
    return st.just({}) if arg_type is None else values(SCHEMA, TypeRef(arg_type))


# One of each JSON type that no member of a command's arguments takes in place of another.
STRANGERS: list[Any] = [None, 1.5, True, -(2**70), "no such value\x00", [{}], {"no such": 1}]


@quick
@given(st.data())
def test_one_mistake_is_refused_and_named(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TAKING))
    good = data.draw(arguments(name))
    path = data.draw(st.sampled_from(places(good)))
    stranger = data.draw(st.sampled_from(STRANGERS))
    old = at(good, path)
    assume(not fits(old, stranger) and (name, *path[:1]) not in ANYTHING)
    sentence = refusal(name, replaced(good, path, stranger))
    assert "\n" not in sentence
    parent = [step for step in path if isinstance(step, str)]
    assert not parent or parent[-1] in sentence or "unexpected" in sentence


ANYTHING = {
    (name, member.name)
    for name in TAKING
    for member in SCHEMA.members(SCHEMA.commands[name].arg_type or "")
    if member.type.name == "any"
}
"""Members of commands that take every value, so that there is no wrong one."""


def fits(old: Any, stranger: Any) -> bool:
    """Whether the stranger could be right where `old` stands."""
    if isinstance(stranger, str):
        return isinstance(old, str | dict)  # a string, or the node that is referred to instead of defined
    if isinstance(stranger, dict):
        return False
    if isinstance(old, bool) or isinstance(stranger, bool):
        return isinstance(old, bool) and isinstance(stranger, bool)
    return False


@quick
@given(st.data())
def test_unknown_member_is_refused_everywhere(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TAKING))
    good = data.draw(arguments(name))
    objects = [path for path in places(good) if isinstance(at(good, path), dict)]
    path = data.draw(st.sampled_from(objects))
    sentence = refusal(name, replaced(good, path, {**at(good, path), "x-nope": 1}))
    assert "x-nope' is unexpected" in sentence
    # An object that has no members at all has none to tell.
    assert not at(good, path) or "; known here are '" in sentence


@quick
@given(st.data())
def test_missing_member_is_named(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(TAKING))
    command = SCHEMA.commands[name]
    assert command.arg_type is not None
    good = data.draw(arguments(name))
    mandatory = [member.name for member in SCHEMA.members(command.arg_type) if not member.optional]
    assume(mandatory)
    gone = data.draw(st.sampled_from(mandatory))
    sentence = refusal(name, {key: value for key, value in good.items() if key != gone})
    # What may be anything need not be described.
    assert sentence == f"parameter '{gone}' is missing" or "is missing; it must be " in sentence
    assert sentence.startswith(f"parameter '{gone}' is missing")


@quick
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    )
)
@example({"": {}})
@example([])
def test_garbage_is_refused_in_one_line(garbage: Any) -> None:
    for name in ("blockdev-add", "transaction", "block-dirty-bitmap-merge", "nbd-server-start"):
        sentence = refusal(name, garbage)
        assert sentence.isprintable()
        assert len(sentence) < 1000


@pytest.mark.parametrize("kind", sorted(INTEGER_RANGES))
def test_integer_ranges_in_words(kind: str) -> None:
    low, high = INTEGER_RANGES[kind]
    member = next(
        (
            (name, item.name)
            for name in TAKING
            for item in SCHEMA.members(str(SCHEMA.commands[name].arg_type))
            if item.type == TypeRef(kind)
        ),
        None,
    )
    if member is None:
        return
    name, item = member
    everything = {other.name: _plain(other.type) for other in SCHEMA.members(str(SCHEMA.commands[name].arg_type))}
    assert f"'{item}' must be at most {high}, not {high + 1}" in refusal(name, {**everything, item: high + 1})
    assert f"'{item}' must be at least {low}, not {low - 1}" in refusal(name, {**everything, item: low - 1})


def _plain(reference: TypeRef) -> Any:
    if reference.name == "SocketAddressLegacy":
        return {"type": "unix", "data": {"path": "/s"}}
    return 0 if reference.name in INTEGER_RANGES else False if reference.name == "bool" else "x"


def one_of(names: Iterable[str]) -> str:
    """As the messages list what there is to choose from."""
    *others, last = [f"'{name}'" for name in names]
    return f"{', '.join(others)} or {last}"


SENTENCES: list[tuple[str, Any, str]] = [
    ("query-jobs", {"a": 1}, "parameter 'a' is unexpected; there are no parameters"),
    ("job-pause", {}, "parameter 'id' is missing; it must be a string"),
    ("job-pause", {"id": 1}, "parameter 'id' must be a string, not 1"),
    ("job-pause", {"id": "a", "ID": "b"}, "parameter 'ID' is unexpected; known here are 'id'"),
    ("job-pause", [], "the argument must be an object, not an array"),
    ("blockdev-add", {"driver": "qcow9"}, f"parameter 'driver' must be one of {one_of(BlockdevDriver)}, not 'qcow9'"),
    ("blockdev-add", {"driver": ["raw"]}, "parameter 'driver' must be a string, not an array"),
    ("blockdev-add", {"driver": "raw", "node_name": "a", "file": "f"},
     "parameter 'node_name' is unexpected; known here are 'driver', 'node-name', 'discard', 'cache', 'read-only', "
     "'auto-read-only', 'force-share', 'active', 'detect-zeroes', 'file', 'offset' and 'size'"),
    ("blockdev-add", {"driver": "raw", "file": 1}, "parameter 'file' must be an object or a string, not 1"),
    ("blockdev-add", {"driver": "raw", "file": {"driver": "raw", "file": {"driver": "file"}}},
     "parameter 'file.file.filename' is missing; it must be a string"),
    ("blockdev-add", {"driver": "raw", "file": {"filename": "a"}},
     f"parameter 'file.driver' is missing; it must be one of {one_of(BlockdevDriver)}"),
    ("blockdev-add", {"driver": "null-co", "read-zeroes": 1}, "parameter 'read-zeroes' must be true or false, not 1"),
    ("blockdev-add", {"driver": "null-co", "size": "1"}, "parameter 'size' must be an integer, not '1'"),
    ("blockdev-add", {"driver": "null-co", "size": 1.0}, "parameter 'size' must be an integer, not 1.0"),
    ("blockdev-add", {"driver": "null-co", "size": None}, "parameter 'size' must be an integer, not null"),
    ("blockdev-add", {"driver": "null-co", "size": 10**400},
     "parameter 'size' must be at most 9223372036854775807, not a huge number"),
    ("blockdev-add", {"driver": "null-co", "cache": "none"}, "parameter 'cache' must be an object, not 'none'"),
    ("transaction", {"actions": [{"type": "abort", "data": {}}, {"type": "abort", "data": {"a": 1}}]},
     "parameter 'actions[1].data.a' is unexpected"),
    ("transaction", {"actions": [{"type": "block-dirty-bitmap-merge",
                                  "data": {"node": "n", "target": "t", "bitmaps": ["a", {"node": "n"}]}}]},
     "parameter 'actions[0].data.bitmaps[1].name' is missing; it must be a string"),
    ("transaction", {"actions": [], "properties": {"completion-mode": "all"}},
     "parameter 'properties.completion-mode' must be one of 'individual' or 'grouped', not 'all'"),
    ("qmp_capabilities", {"enable": ["oob", "x\ny" * 100]},
     "parameter 'enable[1]' must be one of 'oob' or 'event-replay', not '" + ("x\\ny" * 100)[:80] + "...'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "sentence"), SENTENCES)
def test_sentences(name: str, data: Any, sentence: str) -> None:
    assert refusal(name, data) == sentence


def test_nesting_has_an_end() -> None:
    node: Any = "n"
    for _ in range(1000):
        node = {"driver": "raw", "file": node}
    sentence = refusal("blockdev-add", node)
    assert sentence.startswith("parameter 'file.file.")
    assert sentence.endswith("is nested too deeply; refer to what exists by name instead of defining it in place")
    assert len(sentence) < 400


def test_explain_without_types() -> None:
    with pytest.raises(ValueError) as caught:
        COMMANDS["blockdev-add"].validate({"driver": "raw", "file": {"driver": "file"}})
    assert explain(caught.value) == "parameter 'file.filename' is missing"
    with pytest.raises(ValueError) as caught:
        COMMANDS["job-pause"].validate({"id": "a", "b": 1})
    assert explain(caught.value) == "parameter 'b' is unexpected"
    assert explain(caught.value, TYPES) == "parameter 'b' is unexpected; known here are 'id'"
    assert explain(ValueError("something else")) == "something else"


def test_one_error_for_many_bad_elements() -> None:
    with pytest.raises(ValueError) as caught:
        COMMANDS["transaction"].validate({"actions": [1] * 1000})
    assert len(caught.value.errors()) == 1  # type: ignore[attr-defined]


def test_none_is_absent_in_python_but_null_is_not_in_json() -> None:
    made = models.BlockdevOptionsNullCo(driver=models.BlockdevDriver.NULL_CO, node_name="n", size=None)
    assert made.to_json() == {"driver": "null-co", "node-name": "n"}
    assert made == COMMANDS["blockdev-add"].validate(made.to_json())
    assert "null" in refusal("blockdev-add", {"driver": "null-co", "node-name": None})


def test_models_are_immutable() -> None:
    made = models.BlockDirtyBitmap(node="n", name="b")
    with pytest.raises(ValueError, match="frozen"):
        made.name = "c"  # type: ignore[misc]


def test_python_names_do_not_reach_clients() -> None:
    assert refusal("blockdev-del", {"node_name": "n"}) == "parameter 'node-name' is missing; it must be a string"
    both = {"node-name": "n", "node_name": "n"}
    assert refusal("blockdev-del", both) == "parameter 'node_name' is unexpected; known here are 'node-name'"


def test_branches_of_a_union_share_their_types() -> None:
    validate = COMMANDS["blockdev-add"].validate
    for driver in ("file", "host_device"):
        made = validate({"driver": driver, "filename": "/a"})
        assert isinstance(made, models.BlockdevOptionsFile)
        assert isinstance(made, models.QObjBlockdevOptionsBase)
    assert isinstance(validate({"driver": "null-aio"}), models.BlockdevOptionsNullAio)
    assert isinstance(validate({"driver": "raw", "file": "f"}), models.BlockdevOptionsRawBranch)


USER_CODE = """\
from __future__ import annotations
from qmpd.api import models
from qmpd.api.tables import COMMANDS

def size_of(options: models.BlockdevOptions) -> int | None:
    if isinstance(options, models.BlockdevOptionsNull):
        return options.size
    if options.driver is models.BlockdevDriver.RAW:
        child: models.BlockdevOptions | str = options.file
        return None if isinstance(child, str) else size_of(child)
    return None

made = models.BlockDirtyBitmapMerge(node="n", target="t", bitmaps=["a", models.BlockDirtyBitmap(node="n", name="b")])
named = models.BlockdevOptionsNullCo(driver=models.BlockdevDriver.NULL_CO, node_name="n", read_zeroes=True)
reveal_type(named.node_name)
data: dict[str, object] = made.to_json()
models.BlockDirtyBitmap(node=1, name="b")
models.BlockDirtyBitmap(node="n", nmae="b")
"""


def test_models_are_typed_for_users(tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    path.write_text(USER_CODE)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--no-error-summary", str(path)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    lines = [line.partition("user.py:")[2] for line in done.stdout.splitlines()]
    assert len(lines) >= 3, done.stdout  # mypy adds a note about line 18, or not
    assert lines[0].startswith('15: note: Revealed type is "') and "str" in lines[0] and "None" in lines[0]
    assert lines[1].startswith('17: error: Argument "node" to "BlockDirtyBitmap" has incompatible type "int"')
    assert all(line.startswith("18: ") for line in lines[2:])
