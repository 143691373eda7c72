"""The rules of `blkdebug`: what an event does, and which request fails. No I/O, no waiting.

An event activates the `inject-error` rules that name it, in place of those that an earlier event activated; from then
on the first active rule that fits a request lets it fail. `set-state` rules move a small state machine, and rules can
be bound to one of its states. A breakpoint stops whoever raises its event, once.

The file format of `config` is that of QEMU's docs/devel/blkdebug.txt: sections `[inject-error]` and `[set-state]`,
each one rule, with lines `key = "value"`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qmpd.api.enums import BlkdebugEvent, BlkdebugIOType
from qmpd.errors import GenericError

SECTOR = 512
INITIAL_STATE = 1
ANY_STATE = 0
_MAX_INT = (1 << 31) - 1

_ALL_BUT_STATUS = frozenset(BlkdebugIOType) - {BlkdebugIOType.BLOCK_STATUS}
_SECTION = re.compile(r"\[\s*([\w-]+)(?:\s+\"[^\"]*\")?\s*\]\Z")
_ENTRY = re.compile(r"([\w-]+)\s*=\s*\"([^\"]*)\"\Z")
_TRUE, _FALSE = frozenset({"on", "yes", "true", "y"}), frozenset({"off", "no", "false", "n"})


@dataclass(eq=False, frozen=True, slots=True)
class InjectError:
    """Let requests fail once `event` has come.

    :ivar state: the state in which the event counts, 0 for any.
    :ivar iotypes: the kinds of request that fail.
    :ivar error: the errno that they fail with, 0 for none.
    :ivar offset: the byte that a request has to cover, None for any request.
    :ivar once: forget the rule when a request has failed by it.
    :ivar immediately: fail in the call itself, not a turn of the event loop later.
    """

    event: BlkdebugEvent
    state: int = ANY_STATE
    iotypes: frozenset[BlkdebugIOType] = _ALL_BUT_STATUS
    error: int = errno.EIO
    offset: int | None = None
    once: bool = False
    immediately: bool = False

    def fits(self, iotype: BlkdebugIOType, offset: int, length: int) -> bool:
        """Whether a request of this kind and place is one to fail."""
        if iotype not in self.iotypes:
            return False
        return self.offset is None or offset <= self.offset < offset + length


@dataclass(eq=False, frozen=True, slots=True)
class SetState:
    """Go to `new_state` when `event` comes."""

    event: BlkdebugEvent
    new_state: int
    state: int = ANY_STATE


@dataclass(eq=False, frozen=True, slots=True)
class Breakpoint:
    """Stop the next request that raises `event`."""

    event: BlkdebugEvent
    tag: str
    state: int = ANY_STATE


Rule = InjectError | SetState | Breakpoint


class RuleSet:
    """The rules of one node and its state.

    :ivar state: 1 at first.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.state = INITIAL_STATE
        self._rules: dict[str, list[Rule]] = {}
        self._active: list[InjectError] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Have one more rule."""
        self._rules.setdefault(rule.event, []).append(rule)

    def remove(self, rule: Rule) -> None:
        """Forget a rule."""
        self._rules[rule.event].remove(rule)
        if rule in self._active:
            self._active.remove(rule)

    def remove_breakpoints(self, tag: str) -> bool:
        """Forget all breakpoints with this tag; False if there is none."""
        found = [rule for rules in self._rules.values() for rule in rules if isinstance(rule, Breakpoint)]
        found = [rule for rule in found if rule.tag == tag]
        for rule in found:
            self.remove(rule)
        return bool(found)

    def event(self, event: str) -> list[str]:
        """`event` has come. Gives the tags of the breakpoints that it meets; those are forgotten."""
        rules = self._rules.get(event)
        if not rules:
            return []
        fitting = [rule for rule in rules if rule.state in (ANY_STATE, self.state)]
        errors = [rule for rule in fitting if isinstance(rule, InjectError)]
        if errors:
            self._active = errors
        # Of several ways to go on the one that was given first counts, as in QEMU.
        self.state = next((rule.new_state for rule in fitting if isinstance(rule, SetState)), self.state)
        stops = [rule for rule in fitting if isinstance(rule, Breakpoint)]
        for rule in stops:
            self.remove(rule)
        return [rule.tag for rule in stops]

    def verdict(self, iotype: BlkdebugIOType, offset: int, length: int) -> InjectError | None:
        """The rule by which a request fails, None when it is to go on."""
        for rule in self._active:
            if rule.fits(iotype, offset, length):
                if rule.once:
                    self.remove(rule)
                return rule
        return None


def inject_error(given: Mapping[str, Any]) -> InjectError:
    """The rule that the members of `BlkdebugInjectErrorOptions` describe.

    :raises GenericError: a number is none that can be meant.
    """
    iotype, code, sector = given.get("iotype"), given.get("errno"), given.get("sector")
    if code is not None and not 0 <= code <= _MAX_INT:
        raise GenericError(f"'errno' of a blkdebug rule is {code}; it has to be the number of an error, such as 5")
    return InjectError(
        BlkdebugEvent(given["event"]),
        _state(given.get("state")),
        _ALL_BUT_STATUS if iotype is None else frozenset({BlkdebugIOType(iotype)}),
        errno.EIO if code is None else code,
        None if sector is None or sector < 0 else sector * SECTOR,
        bool(given.get("once")),
        bool(given.get("immediately")),
    )


def set_state(given: Mapping[str, Any]) -> SetState:
    """The rule that the members of `BlkdebugSetStateOptions` describe."""
    return SetState(BlkdebugEvent(given["event"]), _state(given["new_state"]), _state(given.get("state")))


def _state(value: int | None) -> int:
    return ANY_STATE if value is None else value


# The file.

_INJECT_ERROR_KEYS = {
    "event": str,
    "state": int,
    "iotype": str,
    "errno": int,
    "sector": int,
    "once": bool,
    "immediately": bool,
}
_SET_STATE_KEYS = {"event": str, "state": int, "new_state": int}
_SECTIONS = {"inject-error": _INJECT_ERROR_KEYS, "set-state": _SET_STATE_KEYS}


def parse_config(text: str, name: str) -> list[Rule]:
    """The rules in the file `name`, which holds `text`.

    :raises GenericError: it is not well-formed.
    """
    sections: list[tuple[str, dict[str, Any], int]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        place = f"{name}, line {number}"
        if line.startswith("["):
            sections.append((_section_name(line, place), {}, number))
        elif not sections:
            raise GenericError(f"{place}: a rule begins with [inject-error] or [set-state]")
        else:
            kind, values, _ = sections[-1]
            key, value = _entry(line, _SECTIONS[kind], place)
            values[key] = value
    return [_rule(kind, values, f"{name}, line {number}") for kind, values, number in sections]


def _section_name(line: str, place: str) -> str:
    found = _SECTION.match(line)
    if found is None or found[1] not in _SECTIONS:
        raise GenericError(f"{place}: {line} is no section; there are [inject-error] and [set-state]")
    return found[1]


def _entry(line: str, keys: Mapping[str, type], place: str) -> tuple[str, Any]:
    found = _ENTRY.match(line)
    if found is None:
        raise GenericError(f'{place}: {line} should read: key = "value"')
    key, text = found[1], found[2]
    if key not in keys:
        raise GenericError(f"{place}: there is no '{key}' in this section; there are {', '.join(keys)}")
    return key, _value(keys[key], key, text, place)


def _value(kind: type, key: str, text: str, place: str) -> Any:
    if kind is bool and text in _TRUE | _FALSE:
        return text in _TRUE
    if kind is int:
        try:
            return int(text, 0)
        except ValueError:
            raise GenericError(f"{place}: '{key}' is \"{text}\"; it has to be a number") from None
    if kind is bool:
        raise GenericError(f"{place}: '{key}' is \"{text}\"; it has to be \"on\" or \"off\"")
    allowed = [str(value) for value in (BlkdebugEvent if key == "event" else BlkdebugIOType)]
    if text not in allowed:
        raise GenericError(f"{place}: '{key}' is \"{text}\"; there are {', '.join(allowed)}")
    return text


def _rule(kind: str, values: dict[str, Any], place: str) -> Rule:
    if "event" not in values:
        raise GenericError(f"{place}: this rule has no 'event'")
    if kind == "inject-error":
        return inject_error(values)
    if "new_state" not in values:
        raise GenericError(f"{place}: this rule has no 'new_state'")
    return set_state(values)
