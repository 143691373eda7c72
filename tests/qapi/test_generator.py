"""What the generator writes can be imported and does what the schema says; what is checked in is not stale."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from qmpd.qapi.__main__ import main
from qmpd.qapi.checker import DEFINED, load
from qmpd.qapi.generate import generate
from qmpd.qapi.reference import generate_reference
from qmpd.qapi.source import SchemaError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "schema" / "qapi-schema.json"
API = ROOT / "qmpd" / "api"
REFERENCE = ROOT / "docs" / "qmp-reference.md"

# One of everything that the language has.
EVERYTHING = """
{ 'pragma': { 'doc-required': true,
              'command-name-exceptions': [ 'old_style' ],
              'command-returns-exceptions': [ 'count-them' ] } }

##
# = Free text
##

##
# @Colour:
#
# A colour.
#
# @red: like @blue, but not
# @blue: like \\the sky
# @3d-grey: odd
##
{ 'enum': 'Colour',
  'data': [ 'red', { 'name': 'blue', 'features': [ { 'name': 'deprecated', 'if': 'OFF' } ] },
            { 'name': 'green', 'if': 'OFF' }, '3d-grey' ],
  'if': { 'any': [ 'OFF', { 'not': 'OFF' } ] } }

{ 'pragma': { 'documentation-exceptions': [ 'Colour', 'Base', 'Derived', 'Scalars', 'Shape', 'Tint', 'Ref', 'Empty',
                                            'Circle', 'paint', 'PAINTED', 'old_style' ] } }

##
# @Base:
##
{ 'struct': 'Base', 'data': { 'from': 'str', '*copy': 'bool' } }

##
# @Derived:
##
{ 'struct': 'Derived', 'base': 'Base',
  'data': { '*next-one': 'Derived', '*gone': { 'type': 'Nowhere', 'if': { 'all': [ 'ON', 'OFF' ] } } } }

##
# @Scalars:
##
{ 'struct': 'Scalars',
  'data': { '*i': 'int', '*i8': 'int8', '*i16': 'int16', '*i32': 'int32', '*i64': 'int64',
            '*u8': 'uint8', '*u16': 'uint16', '*u32': 'uint32', '*u64': 'uint64', '*size': 'size',
            '*s': 'str', '*n': 'number', '*b': 'bool', '*z': 'null', '*a': 'any', '*c': 'Colour',
            '*is': [ 'int8' ] } }

##
# @Empty:
##
{ 'struct': 'Empty', 'data': {} }

##
# @Circle:
##
{ 'struct': 'Circle', 'data': { 'radius': 'uint8' } }

##
# @Shape:
##
{ 'union': 'Shape', 'base': { 'colour-name': 'Colour', '*name': 'str' }, 'discriminator': 'colour-name',
  'data': { 'red': 'Circle', '3d-grey': { 'type': 'Empty', 'if': 'ON' }, 'blue': { 'type': 'Circle', 'if': 'OFF' } } }

##
# @Tint:
##
{ 'enum': 'Tint', 'prefix': 'TINT', 'data': [ 'red' ] }

##
# @Ref:
##
{ 'alternate': 'Ref', 'data': { 'name': 'Tint', 'shape': 'Shape', 'number': 'int', 'nothing': 'null',
                                'several': [ 'str' ] } }

##
# @paint:
#
# Paints.
#
# Returns: what was painted
#
# Features:
# @unstable: who knows
##
{ 'command': 'paint', 'data': { 'what': [ 'Ref' ], '*all-of-it': 'Scalars' }, 'returns': [ 'Shape' ],
  'features': [ 'unstable' ], 'allow-oob': true }

##
# @add-shape:
##
{ 'command': 'add-shape', 'data': 'Shape', 'boxed': true, 'success-response': false }

##
# @old_style:
##
{ 'command': 'old_style', 'coroutine': true, 'allow-preconfig': true }

##
# @count-them:
##
{ 'command': 'count-them', 'returns': 'int' }

##
# @gone:
##
{ 'command': 'gone', 'if': 'OFF' }

##
# @PAINTED:
##
{ 'event': 'PAINTED', 'data': { 'colour': 'Colour' } }

##
# @PAINT_DRY:
##
{ 'event': 'PAINT_DRY' }
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a package generated from `EVERYTHING`, importable while the tests of this module run."""
    directory = tmp_path_factory.mktemp("generated")
    path = directory / "everything.json"
    path.write_text(EVERYTHING)
    modules = generate(load(str(path), DEFINED | {"ON"}), "everything_api")
    package = directory / "everything_api"
    package.mkdir()
    for name, text in modules.items():
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(text)
    sys.path.insert(0, str(directory))
    yield "everything_api"
    sys.path.remove(str(directory))
    for name in [name for name in sys.modules if name.startswith("everything_api")]:
        del sys.modules[name]


@pytest.fixture
def models(api: str) -> ModuleType:
    return importlib.import_module(f"{api}.models")


@pytest.fixture
def tables(api: str) -> ModuleType:
    return importlib.import_module(f"{api}.tables")


def test_names(models: ModuleType) -> None:
    assert list(models.Colour) == ["red", "blue", "3d-grey"]
    assert models.Colour._3D_GREY == "3d-grey"
    made = models.Derived(from_="a", copy_=True, next_one=models.Derived(from_="b"))
    assert isinstance(made, models.Base)
    assert made.to_json() == {"from": "a", "copy": True, "next-one": {"from": "b"}}
    with pytest.raises(AttributeError, match="no type 'Nowhere'"):
        _ = models.Nowhere


def test_documentation(models: ModuleType) -> None:
    assert models.Colour.__doc__ == "A colour."
    assert models.Shape.__name__ == "Shape"


def test_union(tables: ModuleType, models: ModuleType) -> None:
    validate = tables.COMMANDS["add-shape"].validate
    shape = validate({"colour-name": "red", "radius": 3})
    assert shape == models.ShapeRed(colour_name=models.Colour.RED, radius=3)
    assert isinstance(shape, models.Circle)
    assert isinstance(validate({"colour-name": "blue"}), models.ShapeBlue)
    with pytest.raises(ValueError, match="blue"):
        validate({"colour-name": "blue", "radius": 3})
    with pytest.raises(ValueError, match="radius"):
        validate({"colour-name": "red", "radius": 256})


def test_alternate(tables: ModuleType, models: ModuleType) -> None:
    command = tables.COMMANDS["paint"]
    given = ["red", 7, None, ["x"], {"colour-name": "3d-grey"}]
    assert command.validate({"what": given}).to_json() == {"what": given}
    for bad in (True, 1.5, "pink", [1], {"colour-name": "pink"}):
        with pytest.raises(ValueError):
            command.validate({"what": [bad]})


def test_command_table(tables: ModuleType) -> None:
    assert list(tables.COMMANDS) == ["paint", "add-shape", "old_style", "count-them"]
    paint, add, old, count = tables.COMMANDS.values()
    assert (paint.arg_type, paint.ret_type, paint.allow_oob) == ("QObjPaintArg", "[Shape]", True)
    assert paint.features == ("unstable",)
    assert (add.arg_type, add.ret_type, add.success_response) == ("Shape", None, False)
    assert (old.arg_type, old.coroutine, old.allow_preconfig) == (None, True, True)
    assert old.validate({}) is None
    with pytest.raises(ValueError, match="x"):
        old.validate({"x": 1})
    paint.check_return([{"colour-name": "blue"}])
    count.check_return(3)
    old.check_return({})
    for info, value in ((paint, {"colour-name": "blue"}), (count, "3"), (old, {"x": 1}), (old, [])):
        with pytest.raises(ValueError):
            info.check_return(value)


def test_event_table(tables: ModuleType) -> None:
    assert list(tables.EVENTS) == ["PAINTED", "PAINT_DRY"]
    tables.EVENTS["PAINTED"].check({"colour": "red"})
    tables.EVENTS["PAINT_DRY"].check({})
    for name, data in (("PAINTED", {}), ("PAINTED", {"colour": "pink"}), ("PAINT_DRY", {"x": 1})):
        with pytest.raises(ValueError):
            tables.EVENTS[name].check(data)


def test_introspection(api: str) -> None:
    entities = {item["name"]: item for item in importlib.import_module(f"{api}.introspection").schema_info()}
    paint = entities["paint"]
    assert paint["allow-oob"] is True
    assert paint["features"] == ["unstable"]
    assert entities[paint["ret-type"]]["meta-type"] == "array"
    assert entities["count-them"]["ret-type"] == "int"
    assert entities["int"] == {"name": "int", "meta-type": "builtin", "json-type": "int"}
    assert entities["any"]["json-type"] == "value"
    scalars = entities[entities[paint["arg-type"]]["members"][1]["type"]]
    assert {item["type"] for item in scalars["members"][:10]} == {"int"}
    assert scalars["members"][-1]["type"] == "[int]"
    shape = entities[entities["add-shape"]["arg-type"]]
    assert shape["tag"] == "colour-name"
    assert [item["case"] for item in shape["variants"]] == ["red", "3d-grey", "blue"]
    assert "gone" not in entities
    assert "Circle" not in entities


def test_checked_in_package_is_fresh() -> None:
    assert main([str(SCHEMA), str(API), "--reference", str(REFERENCE), "--check"]) == 0


def test_nothing_else_is_in_the_package() -> None:
    assert {str(path.relative_to(API)) for path in API.rglob("*.py")} == set(generate(load(str(SCHEMA))))


def test_same_python_name_twice(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(
        "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'QObjAbArg', 'data': {} }\n"
        "{ 'command': 'ab', 'data': { 'a': 'str' } }\n"
    )
    with pytest.raises(SchemaError) as caught:
        generate(load(str(path)))
    assert str(caught.value) == f"{path}:3: 'q_obj_ab-arg' makes a second Python class 'QObjAbArg'"


def test_types_in_files_that_need_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        "{ 'include': 'b.json' }\n{ 'struct': 'Aa', 'data': { '*b': 'Bb' } }\n{ 'struct': 'Cc', 'data': {} }\n"
    )
    (tmp_path / "b.json").write_text("\n{ 'struct': 'Bb', 'data': { 'c': 'Cc' } }\n")
    with pytest.raises(SchemaError) as caught:
        generate(load(str(tmp_path / "a.json")))
    message = "'b' needs types of 'a', which in turn needs its types"
    assert str(caught.value) == f"In file included from {tmp_path}/a.json:1:\n{tmp_path}/b.json:2: {message}"


def test_compiler_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text("{ 'command': 'a-command' }\n")
    target = tmp_path / "api"
    arguments = [str(schema), str(target)]
    assert main([*arguments, "--check"]) == 1
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    capsys.readouterr()
    (target / "tables.py").write_text("# changed by hand\n")
    assert main([*arguments, "--check"]) == 1
    assert "tables.py is stale" in capsys.readouterr().err


def test_reference(tmp_path: Path) -> None:
    (tmp_path / "everything.json").write_text(EVERYTHING)
    text = generate_reference(load(str(tmp_path / "everything.json"), DEFINED | {"ON"}))
    assert text.startswith("# Free text\n\n#### Colour (enum)\n\nA colour.\n\n- `red`: like `blue`, but not\n")
    assert "- `a` (anything, optional)\n- `c` ([Colour](#colour-enum), optional)\n" in text
    assert "- with `colour-name` `red`: all members of [Circle](#circle-object)\n" in text
    assert "All members of [Base](#base-object), and:\n\n- `next-one` ([Derived](#derived-object), optional)\n" in text
    assert "Returns: array of [Shape](#shape-object); what was painted.\n" in text
    assert "Features:\n\n- `unstable`: who knows\n" in text
    assert "#### PAINT_DRY (event)\n\nData: none.\n" in text
    assert "q_obj" not in text


def test_every_link_of_the_reference_leads_somewhere() -> None:
    text = REFERENCE.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", text))
    assert links
    assert links <= anchors


def test_tables_and_enums_leave_pydantic_alone() -> None:
    program = (
        "import sys; from qmpd.api import models, tables, introspection, keyval_types;"
        "models.JobStatus.READY; tables.COMMANDS['query-jobs'];"
        "sys.exit('pydantic' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
