"""Every way to write a bad schema ends in an error that names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from qmpd.qapi.__main__ import main
from qmpd.qapi.checker import load
from qmpd.qapi.source import SchemaError

# Each case: its name, the line that is to blame, a part of the message, and the schema. `{` stands as it is.
CASES: list[tuple[str, int, str, str]] = [
    # The lexer
    ("double-quotes", 1, "single quotes", '{ "enum": "E" }'),
    ("number", 1, "stray '1'", "{ 'enum': 1 }"),
    ("stray-character", 2, "stray '&'", "\n&"),
    ("stray-word", 1, "stray 'null'", "{ 'enum': null }"),
    ("open-string", 2, "closing quote", "{ 'struct':\n 'Ab\n' }"),
    ("open-string-at-end", 1, "closing quote", "{ 'struct': 'Ab"),
    ("bad-escape", 1, "unknown escape '\\n'", "{ 'struct': 'A\\n' }"),
    ("bad-character", 1, "printable ASCII", "{ 'struct': 'Aé' }"),
    ("open-doc", 2, "closing '##'", "\n##\n# @Ab:\n#\n"),
    ("doc-line-without-hash", 3, "begins with '#'", "##\n# @Ab:\nAb\n##\n"),
    ("doc-line-without-space", 3, "begins with '# '", "##\n# @Ab:\n#Ab\n##\n"),
    # The parser
    ("not-an-object", 1, "expected '{', found '['", "[ 'a' ]"),
    ("open-object", 2, "found end of file", "{ 'struct': 'Ab',\n 'data': {"),
    ("open-array", 2, "expected ',' or ']', found end of file", "{ 'enum': 'Ab',\n 'data': [ 'a'"),
    ("no-colon", 1, "expected ':', found '}'", "{ 'struct' }"),
    ("no-comma", 2, "expected ',' or '}', found 'data'", "{ 'struct': 'Ab'\n 'data': {} }"),
    ("trailing-comma", 1, "expected a member name", "{ 'struct': 'Ab', }"),
    ("no-value", 1, "found '}'", "{ 'struct': }"),
    ("member-twice", 3, "member 'a' is given twice", "{ 'struct': 'Ab', 'data': {\n 'a': 'str',\n 'a': 'str' } }"),
    ("doc-in-expression", 2, "found a documentation block", "{ 'struct':\n##\n# @a:\n##\n 'Ab' }"),
    ("include-no-string", 1, "an include is written", "{ 'include': [ 'a' ] }"),
    ("include-with-more", 1, "an include is written", "{ 'include': 'a', 'if': 'B' }"),
    ("include-missing", 3, "cannot read schema file", "\n\n{ 'include': 'no-such-file.json' }"),
    ("include-itself", 2, "includes itself", "\n{ 'include': 'schema.json' }"),
    ("pragma-no-object", 1, "a pragma is written", "{ 'pragma': true }"),
    ("pragma-unknown", 2, "unknown pragma 'x'", "{ 'pragma': {\n 'x': true } }"),
    ("pragma-no-boolean", 1, "true or false", "{ 'pragma': { 'doc-required': 'yes' } }"),
    ("pragma-no-array", 1, "an array of names", "{ 'pragma': { 'command-name-exceptions': true } }"),
    ("pragma-no-names", 1, "an array of names", "{ 'pragma': { 'command-name-exceptions': [ true ] } }"),
    # Documentation
    ("doc-empty", 1, "documentation block is empty", "##\n#\n##\n"),
    ("doc-symbol-without-colon", 2, "written '@NAME:'", "##\n# @Ab\n##\n{ 'struct': 'Ab', 'data': {} }"),
    ("doc-symbol-line-goes-on", 2, "a line of its own", "##\n# @Ab: text\n##\n{ 'struct': 'Ab', 'data': {} }"),
    ("doc-dangling", 1, "not followed", "##\n# @Ab:\n##\n"),
    ("doc-before-doc", 1, "not followed", "##\n# @Ab:\n##\n##\n# free\n##\n"),
    ("doc-before-include", 1, "not followed", "##\n# @Ab:\n##\n{ 'include': 'x' }"),
    ("doc-before-pragma", 1, "not followed", "##\n# @Ab:\n##\n{ 'pragma': { 'doc-required': true } }"),
    ("doc-of-another", 1, "stands before struct 'Cd'", "##\n# @Ab:\n##\n{ 'struct': 'Cd', 'data': {} }"),
    ("doc-member-twice", 5, "'a' is described twice", "##\n# @Ab:\n#\n# @a: x\n# @a: x\n##\n"),
    ("doc-member-no-name", 3, "needs a name", "##\n# @Ab:\n# @: x\n##\n"),
    ("doc-member-empty", 4, "'a' is empty", "##\n# @Ab:\n#\n# @a:\n##\n{ 'struct': 'Ab', 'data': { 'a': 'str' } }"),
    ("doc-section-empty", 4, "'Returns' is empty", "##\n# @a:\n#\n# Returns:\n##\n{ 'command': 'a' }"),
    ("doc-stranger", 3, "no such member", "##\n# @Ab:\n# @b: x\n##\n{ 'struct': 'Ab', 'data': {} }"),
    ("doc-feature-stranger", 5, "lacks it", "##\n# @a:\n#\n# Features:\n# @f: x\n##\n{ 'command': 'a' }"),
    ("doc-required", 2, "struct 'Ab' is not documented",
     "{ 'pragma': { 'doc-required': true } }\n{ 'struct': 'Ab', 'data': {} }"),
    ("doc-required-member", 6, "member 'b' of 'Ab' is not described",
     "{ 'pragma': { 'doc-required': true } }\n##\n# @Ab:\n##\n{ 'struct': 'Ab', 'data': {\n '*b': 'str' } }"),
    ("doc-required-value", 5, "member 'b' of 'Ab' is not described",
     "{ 'pragma': { 'doc-required': true } }\n##\n# @Ab:\n##\n{ 'enum': 'Ab', 'data': [ 'b' ] }"),
    ("doc-required-base", 5, "member 't' of 'Ab' is not described",
     "{ 'pragma': { 'doc-required': true } }\n##\n# @Ab:\n##\n{ 'union': 'Ab', 'base': { 't': 'Ee' },"
     " 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("doc-required-feature", 5, "feature 'f' of 'a' is not described",
     "{ 'pragma': { 'doc-required': true } }\n##\n# @a:\n##\n{ 'command': 'a', 'features': [ 'f' ] }"),
    # What every expression has
    ("no-kind", 1, "exactly one of the keys", "{ 'data': {} }"),
    ("two-kinds", 1, "exactly one of the keys", "{ 'enum': 'Ab', 'struct': 'Ab', 'data': {} }"),
    ("name-no-string", 1, "is a string", "{ 'struct': [ 'Ab' ], 'data': {} }"),
    ("key-missing", 1, "struct 'Ab' lacks 'data'", "{ 'struct': 'Ab' }"),
    ("key-unknown", 2, "unknown key 'bas'; known are", "{ 'struct': 'Ab', 'data': {},\n 'bas': 'C' }"),
    ("condition-empty", 1, "a condition is", "{ 'struct': 'Ab', 'data': {}, 'if': '' }"),
    ("condition-bad-operator", 1, "a condition is", "{ 'struct': 'Ab', 'data': {}, 'if': { 'xor': [ 'A' ] } }"),
    ("condition-empty-all", 1, "a condition is", "{ 'struct': 'Ab', 'data': {}, 'if': { 'all': [] } }"),
    ("features-no-array", 1, "are an array", "{ 'struct': 'Ab', 'data': {}, 'features': 'f' }"),
    ("feature-no-name", 1, "is a name", "{ 'struct': 'Ab', 'data': {}, 'features': [ true ] }"),
    ("feature-bad-name", 1, "is a name", "{ 'struct': 'Ab', 'data': {}, 'features': [ 'F f' ] }"),
    ("feature-unknown-key", 1, "unknown key 'x'", "{ 'command': 'a', 'features': [ { 'name': 'f', 'x': 'y' } ] }"),
    ("feature-twice", 1, "given twice", "{ 'command': 'a', 'features': [ 'f', 'f' ] }"),
    # Names
    ("type-name", 1, "CamelCase", "{ 'struct': 'ab', 'data': {} }"),
    ("type-name-list", 1, "'List' are reserved", "{ 'struct': 'AbList', 'data': {} }"),
    ("command-name", 1, "lower case", "{ 'command': 'Ab' }"),
    ("command-name-underscore", 1, "'-' instead of '_'", "{ 'command': 'a_b' }"),
    ("event-name", 1, "upper case", "{ 'event': 'ab' }"),
    ("member-name", 2, "'1a' is no name", "{ 'struct': 'Ab', 'data': {\n '1a': 'str' } }"),
    ("member-name-case", 1, "lower case", "{ 'struct': 'Ab', 'data': { 'aB': 'str' } }"),
    ("member-name-reserved", 1, "reserved", "{ 'struct': 'Ab', 'data': { 'has-x': 'str' } }"),
    ("member-name-u", 1, "reserved", "{ 'struct': 'Ab', 'data': { 'u': 'str' } }"),
    ("value-name", 1, "'a b' is no name", "{ 'enum': 'Ab', 'data': [ 'a b' ] }"),
    ("value-name-case", 1, "lower case", "{ 'enum': 'Ab', 'data': [ 'A' ] }"),
    ("branch-name", 1, "'a b' is no name", "{ 'alternate': 'Ab', 'data': { 'a b': 'str' } }"),
    ("duplicate-type", 2, "already defined at", "{ 'enum': 'Ab', 'data': [] }\n{ 'struct': 'Ab', 'data': {} }"),
    ("duplicate-command", 2, "already defined at", "{ 'command': 'ab' }\n{ 'command': 'ab' }"),
    # Enums
    ("enum-no-array", 2, "an array of values", "{ 'enum': 'Ab',\n 'data': {} }"),
    ("enum-value-no-string", 1, "is a string", "{ 'enum': 'Ab', 'data': [ { 'name': true } ] }"),
    ("enum-value-no-name", 1, "lacks 'name'", "{ 'enum': 'Ab', 'data': [ { 'if': 'A' } ] }"),
    ("enum-value-clash", 3, "clashes with 'a-b'", "{ 'enum': 'Ab', 'data': [\n 'a-b',\n 'a-b' ] }"),
    # Structs
    ("struct-no-object", 1, "an object of members", "{ 'struct': 'Ab', 'data': [ 'a' ] }"),
    ("struct-base-no-name", 2, "the name of a struct", "{ 'struct': 'Ab', 'data': {},\n 'base': {} }"),
    ("struct-base-unknown", 1, "unknown type 'C'", "{ 'struct': 'Ab', 'base': 'C', 'data': {} }"),
    ("struct-base-enum", 2, "must be a struct",
     "{ 'enum': 'Ee', 'data': [] }\n{ 'struct': 'Ab', 'base': 'Ee', 'data': {} }"),
    ("struct-base-itself", 1, "form a loop", "{ 'struct': 'Ab', 'base': 'Ab', 'data': {} }"),
    ("struct-base-loop", 1, "form a loop",
     "{ 'struct': 'Ab', 'base': 'Cd', 'data': {} }\n{ 'struct': 'Cd', 'base': 'Ab', 'data': {} }"),
    ("member-unknown-type", 3, "unknown type 'Nope'", "{ 'struct': 'Ab', 'data': {\n 'a': 'str',\n 'b': 'Nope' } }"),
    ("member-bad-type", 1, "is a name, or an array of one name", "{ 'struct': 'Ab', 'data': { 'a': [ 'b', 'c' ] } }"),
    ("member-no-type", 1, "lacks 'type'", "{ 'struct': 'Ab', 'data': { 'a': { 'if': 'X' } } }"),
    ("member-clash", 1, "clashes with 'a-b'", "{ 'struct': 'Ab', 'data': { 'a-b': 'str', '*a-b': 'str' } }"),
    ("member-clash-with-base", 3, "member 'a' of 'Cd' clashes with 'a' at",
     "{ 'struct': 'Ab', 'data': { 'a': 'str' } }\n{ 'struct': 'Cd', 'base': 'Ab', 'data': {\n 'a': 'int' } }"),
    # Unions
    ("union-no-base", 1, "lacks 'base'", "{ 'union': 'Ab', 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("union-base-array", 2, "a struct's name or an object",
     "{ 'union': 'Ab',\n 'base': [ 'a' ], 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("union-discriminator-no-name", 1, "is a member's name",
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': true, 'data': { 'x': 'Bb' } }"),
    ("union-no-branches", 1, "an object of branches",
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': 't', 'data': {} }"),
    ("union-branches-all-off", 1, "no branch left",
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': 't', 'data': { 'x': { 'type': 'Bb', 'if': 'OFF' } } }"),
    ("union-discriminator-unknown", 3, "must be a member of its base",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'Bb', 'data': {} }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 'tt', 'data': { 'x': 'Bb' } }"),
    ("union-discriminator-no-enum", 2, "must be of an enum type",
     "{ 'struct': 'Bb', 'data': {} }\n"
     "{ 'union': 'Ab', 'base': { 't': 'str' }, 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("union-discriminator-optional", 3, "must not be optional",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'Bb', 'data': {} }\n"
     "{ 'union': 'Ab', 'base': { '*t': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("union-branch-no-value", 4, "branch 'y' of 'Ab' is not a value of 'Ee'",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'Bb', 'data': {} }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'Bb',\n 'y': 'Bb' } }"),
    ("union-branch-no-struct", 2, "must be of a struct type",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'str' } }"),
    ("union-branch-array", 1, "must not be an array",
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': 't', 'data': { 'x': [ 'Bb' ] } }"),
    ("union-branch-unknown", 2, "unknown type 'Zz'",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'Zz' } }"),
    ("union-branch-clash", 3, "member 't' of branch 'x' of 'Ab' clashes",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'Bb', 'data': {\n 't': 'str' } }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'Bb' } }"),
    ("union-branches-clash", 2, "clashes with branch 'a-b'",
     "{ 'pragma': { 'member-name-exceptions': [ 'Ab' ] } }\n"
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': 't', 'data': { 'a-b': 'Bb', 'a_b': 'Bb' } }"),
    ("union-branch-unknown-key", 1, "unknown key 'features'",
     "{ 'union': 'Ab', 'base': 'Bb', 'discriminator': 't', 'data': { 'x': { 'type': 'Bb', 'features': [] } } }"),
    # Alternates
    ("alternate-no-branches", 1, "an object of branches", "{ 'alternate': 'Ab', 'data': {} }"),
    ("alternate-unknown", 1, "unknown type 'Zz'", "{ 'alternate': 'Ab', 'data': { 'x': 'Zz' } }"),
    ("alternate-any", 1, "which is everything", "{ 'alternate': 'Ab', 'data': { 'x': 'any' } }"),
    ("alternate-nested", 2, "must not be an alternate",
     "{ 'alternate': 'Ab', 'data': { 'x': 'str' } }\n{ 'alternate': 'Cd', 'data': { 'x': 'Ab' } }"),
    ("alternate-two-strings", 3, "cannot be told apart from its branch 'x'",
     "{ 'enum': 'Ee', 'data': [ 'a' ] }\n{ 'alternate': 'Ab', 'data': { 'x': 'str',\n 'y': 'Ee' } }"),
    ("alternate-two-objects", 2, "cannot be told apart",
     "{ 'struct': 'Bb', 'data': {} }\n{ 'alternate': 'Ab', 'data': { 'x': 'Bb', 'y': 'Bb' } }"),
    ("alternate-two-numbers", 1, "cannot be told apart",
     "{ 'alternate': 'Ab', 'data': { 'x': 'int', 'y': 'number' } }"),
    ("alternate-two-arrays", 1, "cannot be told apart",
     "{ 'alternate': 'Ab', 'data': { 'x': [ 'int' ], 'y': [ 'str' ] } }"),
    ("alternate-string-and-boolean", 1, "cannot be told apart",
     "{ 'alternate': 'Ab', 'data': { 'x': 'str', 'y': 'bool' } }"),
    ("alternate-on-off-and-boolean", 2, "cannot be told apart",
     "{ 'enum': 'Ee', 'data': [ 'on' ] }\n{ 'alternate': 'Ab', 'data': { 'x': 'Ee', 'y': 'bool' } }"),
    ("alternate-digits-and-integer", 2, "cannot be told apart",
     "{ 'enum': 'Ee', 'data': [ '3des' ] }\n{ 'alternate': 'Ab', 'data': { 'x': 'Ee', 'y': 'int' } }"),
    # Commands and events
    ("command-data-array", 1, "a type's name or an object", "{ 'command': 'ab', 'data': [ 'x' ] }"),
    ("command-data-unknown", 1, "unknown type 'Zz'", "{ 'command': 'ab', 'data': 'Zz' }"),
    ("command-data-builtin", 1, "must be an object type", "{ 'command': 'ab', 'data': 'str' }"),
    ("command-data-enum", 2, "must be an object type",
     "{ 'enum': 'Ee', 'data': [] }\n{ 'command': 'ab', 'data': 'Ee' }"),
    ("command-data-union", 4, "needs 'boxed'",
     "{ 'enum': 'Ee', 'data': [ 'x' ] }\n{ 'struct': 'Bb', 'data': {} }\n"
     "{ 'union': 'Ab', 'base': { 't': 'Ee' }, 'discriminator': 't', 'data': { 'x': 'Bb' } }\n"
     "{ 'command': 'ab', 'data': 'Ab' }"),
    ("command-boxed-no-data", 1, "needs data", "{ 'command': 'ab', 'boxed': true }"),
    ("command-boxed-members", 1, "needs the name of a type",
     "{ 'command': 'ab', 'boxed': true, 'data': { 'a': 'str' } }"),
    ("command-returns-unknown", 1, "unknown type 'Zz'", "{ 'command': 'ab', 'returns': 'Zz' }"),
    ("command-returns-builtin", 1, "can be extended", "{ 'command': 'ab', 'returns': 'str' }"),
    ("command-returns-two", 1, "is a name, or an array", "{ 'command': 'ab', 'returns': [ 'A', 'B' ] }"),
    ("command-flag-false", 2, "may only be true", "{ 'command': 'ab',\n 'allow-oob': false }"),
    ("command-flag-true", 1, "may only be false", "{ 'command': 'ab', 'gen': true }"),
    ("command-oob-coroutine", 1, "both", "{ 'command': 'ab', 'allow-oob': true, 'coroutine': true }"),
    ("event-returns", 1, "unknown key 'returns'", "{ 'event': 'AB', 'returns': 'Xy' }"),
    ("event-data-unknown", 1, "unknown type 'Zz'", "{ 'event': 'AB', 'data': 'Zz' }"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_error_names_place(tmp_path: Path, line: int, message: str, text: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load(str(path))
    assert message in caught.value.message
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_unreadable_encoding(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_bytes(b"# \xff")
    with pytest.raises(SchemaError, match="it is not UTF-8"):
        load(str(path))


def test_error_in_included_file_tells_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n{ 'include': 'sub/b.json' }\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.json").write_text("{ 'include': 'c.json' }\n")
    (tmp_path / "sub/c.json").write_text("\n\n{ 'nope': 'x' }\n")
    with pytest.raises(SchemaError) as caught:
        load(str(tmp_path / "a.json"))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"In file included from {tmp_path}/a.json:2:"
    assert lines[1] == f"In file included from {tmp_path}/sub/b.json:1:"
    assert lines[2].startswith(f"{tmp_path}/sub/c.json:3: ")


def test_include_loop_over_two_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{ 'include': 'b.json' }\n")
    (tmp_path / "b.json").write_text("\n{ 'include': 'a.json' }\n")
    with pytest.raises(SchemaError) as caught:
        load(str(tmp_path / "a.json"))
    assert f"{tmp_path}/b.json:2: " in str(caught.value)


def test_compiler_reports_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.json"
    path.write_text("{ 'nope': 'x' }")
    assert main([str(path), str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith(f"{path}:1: ")
    assert not (tmp_path / "out").exists()
