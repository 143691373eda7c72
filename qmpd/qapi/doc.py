"""Reads a documentation block: symbol, body, members, features, tagged sections.

A block that begins with `@name:` documents the definition of that name; any other is free text for the
manual. Within it `@member:` begins the description of a member, `Features:` turns to descriptions of
features, and `Returns:`, `Since:`, `Note:`, `Notes:`, `Example:`, `Examples:` and `Errors:` begin sections
of their own.
Source: "QAPI generator", section "Documentation comments" of the QEMU manual.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qmpd.qapi.source import SchemaError, SourceInfo

_SYMBOL = re.compile(r"@([^:\s]+):\s*(.*)")
_MEMBER = re.compile(r"@(\S*?):(?:\s+(.*))?$")
_SECTION = re.compile(r"(Returns|Since|Notes?|Examples?|Errors):(?:\s+(.*))?$")


@dataclass(slots=True)
class Section:
    """Text under one tag, member or feature."""

    tag: str
    info: SourceInfo
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text, common indentation and outer blank lines removed."""
        indents = [len(line) - len(line.lstrip()) for line in self.lines[1:] if line.strip()]
        cut = min(indents, default=0)
        body = [self.lines[0], *(line[cut:] for line in self.lines[1:])] if self.lines else []
        return "\n".join(body).strip("\n").strip()


@dataclass(slots=True)
class Doc:
    """A documentation block. `symbol` is None for free text; then only `body` is filled."""

    info: SourceInfo
    symbol: str | None = None
    body: Section | None = None
    members: dict[str, Section] = field(default_factory=dict)
    features: dict[str, Section] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """The body's text."""
        return self.body.text if self.body is not None else ""


def parse_doc(text: str, info: SourceInfo) -> Doc:
    """Read a block.

    :param text: the block's lines without `# `; the first is empty (it stands for the opening `##`).
    :param info: the place of the opening `##`.
    :raises SchemaError: for a member, feature or section described twice or not at all.
    """
    doc = Doc(info)
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise SchemaError(info, "documentation block is empty")
    match = _SYMBOL.match(lines[first])
    doc.body = Section("", info.at_line(info.line + first))
    if match is None:
        if lines[first].startswith("@"):
            raise SchemaError(doc.body.info, "the line that names what is documented is written '@NAME:'")
        doc.body.lines.extend(lines[first:])
        return doc
    doc.symbol = match.group(1)
    if match.group(2):
        raise SchemaError(doc.body.info, f"the description of '{doc.symbol}' begins on a line of its own")
    _read_sections(doc, lines, first + 1)
    return doc


def _read_sections(doc: Doc, lines: list[str], start: int) -> None:
    assert doc.body is not None
    current, in_features = doc.body, False
    for number, line in enumerate(lines[start:], start):
        info = doc.info.at_line(doc.info.line + number)
        opened: Section | None = None
        if line == "Features:":
            in_features, current = True, Section("Features", info)
            continue
        if match := _MEMBER.match(line):
            opened = _open_member(doc, match.group(1), info, in_features=in_features)
        elif match := _SECTION.match(line):
            opened = Section(match.group(1), info)
            doc.sections.append(opened)
            in_features = False
        if opened is not None and match is not None:
            current = opened
            line = match.group(2) or ""
        elif current.tag and current.lines and line and not line.startswith(" ") and not current.lines[-1]:
            current = Section("", info)  # plain text after a blank line closes the section
            doc.sections.append(current)
            in_features = False
        current.lines.append(line)
    for section in [*doc.members.values(), *doc.features.values(), *doc.sections]:
        if not section.text:
            raise SchemaError(section.info, f"the description of '{section.tag}' is empty")


def _open_member(doc: Doc, name: str, info: SourceInfo, *, in_features: bool) -> Section:
    kind, table = ("feature", doc.features) if in_features else ("member", doc.members)
    if not name:
        raise SchemaError(info, f"a {kind} description needs a name after '@'")
    if name in table:
        raise SchemaError(info, f"{kind} '{name}' is described twice")
    table[name] = Section(name, info)
    return table[name]
