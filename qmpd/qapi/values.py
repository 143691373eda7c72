"""Parameters in the older key=value text, that of `--chardev`: flat, with flags that need no value."""

from __future__ import annotations

from collections.abc import Mapping

_MOST_DIGITS = 40
"""Of a number, with all the zeroes that somebody may put before it."""


def pairs(text: str, implied_key: str | None) -> dict[str, str]:
    """`key=value,...`; `,,` stands for a comma; a bare `key` is `key=on`, a bare `nokey` is `key=off`."""
    found: dict[str, str] = {}
    words = [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")] if text else []
    if len(words) > 1 and not words[-1]:  # a comma at the end
        words.pop()
    for index, word in enumerate(words):
        key, equals, value = word.partition("=")
        if not equals and index == 0 and implied_key is not None:
            key, value = implied_key, word
        elif not equals:
            key, value = (word[2:], "off") if word.startswith("no") and word != "nodelay" else (word, "on")
        found[key] = value
    return found


class Values:
    """The parameters of one option; what nobody asked for is an error in the end. Methods raise `ValueError`."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = pairs
        self._used: set[str] = set()

    def has(self, key: str) -> bool:
        """Whether the parameter is given."""
        return key in self._pairs

    def text(self, key: str, default: str | None = None) -> str:
        """The value; without `default` the parameter must be given."""
        self._used.add(key)
        value = self._pairs.get(key, default)
        if value is None:
            raise ValueError(f"parameter '{key}' is missing")
        return value

    def maybe(self, key: str) -> str | None:
        """The value, or None if it is not given."""
        self._used.add(key)
        return self._pairs.get(key)

    def chosen(self, key: str, values: tuple[str, ...], default: str) -> str:
        """The value, which is one of `values`."""
        value = self.text(key, default)
        if value not in values:
            raise ValueError(f"parameter '{key}' must be one of {', '.join(values)}, not '{value}'")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """Whether it is on."""
        value = self.maybe_flag(key)
        return default if value is None else value

    def maybe_flag(self, key: str) -> bool | None:
        """Whether it is on, or None if it is not given."""
        self._used.add(key)
        value = self._pairs.get(key)
        if value is None:
            return None
        if value in ("on", "yes", "true", "y"):
            return True
        if value in ("off", "no", "false", "n"):
            return False
        raise ValueError(f"parameter '{key}' must be 'on' or 'off', not '{value}'")

    def number(self, key: str, default: int, most: int = (1 << 63) - 1) -> int:
        """A number of digits, at most `most`."""
        self._used.add(key)
        value = self._pairs.get(key, str(default))
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"parameter '{key}' must be a number, not '{value}'")
        if len(value) > _MOST_DIGITS or int(value) > most:
            raise ValueError(f"parameter '{key}' must be at most {most}, not '{value[:_MOST_DIGITS]}'")
        return int(value)

    def size(self, key: str, default: int) -> int:
        """A number of bytes, maybe with a suffix."""
        value = self.maybe(key)
        if value is None:
            return default
        from qmpd.qapi.keyval import parse_size

        try:
            return parse_size(value)
        except ValueError as error:
            raise ValueError(f"parameter '{key}' must be {error}, not '{value}'") from None

    def drop(self, *keys: str) -> None:
        """Parameters that change nothing here."""
        self._used.update(keys)

    def unused(self) -> list[str]:
        """The parameters that nobody has asked for."""
        return [key for key in self._pairs if key not in self._used]

    def finish(self) -> None:
        """Refuse what nobody has asked for."""
        for key in self.unused():
            raise ValueError(f"parameter '{key}' is unknown here")
