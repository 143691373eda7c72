"""Reads schema files into expressions: JSON objects, each with its place and its documentation.

Follows `include`, obeys `pragma`, and pairs every documentation block with the expression it stands before.
What the expressions mean is the checker's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qmpd.qapi.doc import Doc, parse_doc
from qmpd.qapi.lexer import Token, TokenKind, tokenize
from qmpd.qapi.source import SchemaError, SourceInfo


class Object(dict[str, object]):
    """A JSON object that remembers the line of each of its members."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Array(list[object]):
    """A JSON array that remembers the line of each of its elements."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


@dataclass(slots=True)
class Pragma:
    """What `pragma` directives ask for; they hold for all files read together."""

    doc_required: bool = False
    command_name_exceptions: set[str] = field(default_factory=set)
    command_returns_exceptions: set[str] = field(default_factory=set)
    documentation_exceptions: set[str] = field(default_factory=set)
    member_name_exceptions: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Expression:
    """A top-level definition as it was written."""

    value: Object
    info: SourceInfo
    doc: Doc | None


@dataclass(slots=True)
class ParsedSchema:
    """All files of a schema.

    :param expressions: definitions in order, an included file's where it is included.
    :param free_docs: documentation that belongs to no definition.
    """

    expressions: list[Expression] = field(default_factory=list)
    pragma: Pragma = field(default_factory=Pragma)
    free_docs: list[Doc] = field(default_factory=list)


def parse_file(path: str) -> ParsedSchema:
    """Read `path` and whatever it includes.

    :raises SchemaError: for bad syntax, a bad directive, or a file that cannot be read.
    """
    result = ParsedSchema()
    _Parser(result, SourceInfo(path, 1), (), set()).run(Path(path))
    return result


class _Parser:
    """Reads one file; makes another of its kind for each include."""

    def __init__(self, result: ParsedSchema, info: SourceInfo, open_files: tuple[Path, ...], seen: set[Path]) -> None:
        self._result = result
        self._info = info
        self._open_files = open_files
        self._seen = seen
        self._tokens: list[Token] = []
        self._position = 0

    def run(self, path: Path) -> None:
        """Read the file at `path`."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            blame = self._info.included_from or self._info
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SchemaError(blame, f"cannot read schema file '{path}': {reason}") from error
        self._open_files = (*self._open_files, path.resolve())
        self._seen.add(path.resolve())
        self._tokens = list(tokenize(text, self._info))
        doc: Doc | None = None
        while (token := self._peek()).kind is not TokenKind.END:
            if token.kind is TokenKind.DOC:
                self._reject_dangling(doc)
                doc = self._doc()
            else:
                self._expression(path, doc)
                doc = None
        self._reject_dangling(doc)

    def _doc(self) -> Doc | None:
        token = self._next()
        doc = parse_doc(token.text, self._info.at_line(token.line))
        if doc.symbol is None:
            self._result.free_docs.append(doc)
            return None
        return doc

    def _expression(self, path: Path, doc: Doc | None) -> None:
        info = self._info.at_line(self._peek().line)
        value = self._object()
        if "include" in value:
            self._reject_dangling(doc)
            self._include(value, path, info)
        elif "pragma" in value:
            self._reject_dangling(doc)
            self._pragma(value, info)
        else:
            self._result.expressions.append(Expression(value, info, doc))

    def _reject_dangling(self, doc: Doc | None) -> None:
        if doc is not None:
            raise SchemaError(doc.info, f"documentation of '{doc.symbol}' is not followed by its definition")

    def _include(self, value: Object, path: Path, info: SourceInfo) -> None:
        name = value["include"]
        if len(value) != 1 or not isinstance(name, str):
            raise SchemaError(info, "an include is written { 'include': 'FILE' }")
        target = path.parent / name
        resolved = target.resolve()
        if resolved in self._open_files:
            raise SchemaError(info, f"'{name}' includes itself, directly or through other files")
        if resolved not in self._seen:
            _Parser(self._result, SourceInfo(str(target), 1, info), self._open_files, self._seen).run(target)

    def _pragma(self, value: Object, info: SourceInfo) -> None:
        settings = value["pragma"]
        if len(value) != 1 or not isinstance(settings, Object):
            raise SchemaError(info, "a pragma is written { 'pragma': { 'NAME': VALUE } }")
        for name, setting in settings.items():
            self._set_pragma(name, setting, self._info.at_line(settings.lines[name]))

    def _set_pragma(self, name: str, setting: object, info: SourceInfo) -> None:
        pragma = self._result.pragma
        if name == "doc-required":
            if not isinstance(setting, bool):
                raise SchemaError(info, "pragma 'doc-required' is true or false")
            pragma.doc_required = setting
            return
        exceptions = {
            "command-name-exceptions": pragma.command_name_exceptions,
            "command-returns-exceptions": pragma.command_returns_exceptions,
            "documentation-exceptions": pragma.documentation_exceptions,
            "member-name-exceptions": pragma.member_name_exceptions,
        }.get(name)
        if exceptions is None:
            raise SchemaError(info, f"unknown pragma '{name}'")
        if not isinstance(setting, Array):
            raise SchemaError(info, f"pragma '{name}' is an array of names")
        names = [item for item in setting if isinstance(item, str)]
        if len(names) != len(setting):
            raise SchemaError(info, f"pragma '{name}' is an array of names")
        exceptions.update(names)

    def _peek(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _unexpected(self, token: Token, wanted: str) -> SchemaError:
        shown = "a documentation block" if token.kind is TokenKind.DOC else f"'{token.text}'"
        if token.kind is TokenKind.END:
            shown = token.text
        return SchemaError(self._info.at_line(token.line), f"expected {wanted}, found {shown}")

    def _accept(self, char: str) -> bool:
        token = self._peek()
        if token.kind is TokenKind.PUNCTUATION and token.text == char:
            self._position += 1
            return True
        return False

    def _object(self) -> Object:
        opening = self._next()
        if opening.kind is not TokenKind.PUNCTUATION or opening.text != "{":
            raise self._unexpected(opening, "'{'")
        result = Object(opening.line)
        if self._accept("}"):
            return result
        while True:
            key = self._next()
            if key.kind is not TokenKind.STRING:
                raise self._unexpected(key, "a member name in single quotes" if result else "a name or '}'")
            if not self._accept(":"):
                raise self._unexpected(self._peek(), "':'")
            if key.text in result:
                raise SchemaError(self._info.at_line(key.line), f"member '{key.text}' is given twice")
            result.lines[key.text] = key.line
            result[key.text] = self._value()
            if self._accept("}"):
                return result
            if not self._accept(","):
                raise self._unexpected(self._peek(), "',' or '}'")

    def _array(self) -> Array:
        result = Array(self._next().line)
        if self._accept("]"):
            return result
        while True:
            result.lines.append(self._peek().line)
            result.append(self._value())
            if self._accept("]"):
                return result
            if not self._accept(","):
                raise self._unexpected(self._peek(), "',' or ']'")

    def _value(self) -> object:
        token = self._peek()
        if token.kind is TokenKind.PUNCTUATION and token.text == "{":
            return self._object()
        if token.kind is TokenKind.PUNCTUATION and token.text == "[":
            return self._array()
        self._next()
        if token.kind is TokenKind.STRING:
            return token.text
        if token.kind is TokenKind.BOOLEAN:
            return token.text == "true"
        raise self._unexpected(token, "'{', '[', a string or a boolean")
