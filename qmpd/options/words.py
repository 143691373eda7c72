"""The words of the command line, taken apart as `getopt_long` does, with one dash as good as two.

A value follows as the next word or behind `=`, with a short option also at once (`-Tvalue`). The beginning of a name
stands for it if no other option begins so; where only one of qemu-storage-daemon's options does, that is meant,
whatever else there is here. Options that take no value may be put together behind one dash (`-hV`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qmpd.options.model import OptionError

STRAY = ""
"""The name that goes with a word that belongs to no option."""

_WITHOUT_VALUE = ("daemonize", "help", "version")
_SHORT = {"h": "help", "V": "version", "T": "trace"}
_PEERS = (
    *("blockdev", "chardev", "daemonize", "export", "help", "monitor", "nbd-server", "object", "pidfile", "trace"),
    "version",
)
"""The options of qemu-storage-daemon."""


def split(words: Sequence[str], with_value: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options' full names and values, in order; words behind `--` are nothing to us, as in QEMU.

    :param with_value: the options that take a value.
    :raises OptionError: there is no such option, or it lacks its value, or has one that it does not take.
    """
    rest = iter(words)
    known = (*with_value, *_WITHOUT_VALUE)
    for word in rest:
        if word == "--":
            return
        if not word.startswith("-") or word == "-":
            yield STRAY, word
            continue
        name, equals, value = _take_apart(word, known)
        if name in _WITHOUT_VALUE:
            if equals:
                raise OptionError(f"--{name}: takes no value")
            yield name, ""
            continue
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise OptionError(f"--{name}: needs a value") from None
        yield name, value


def _take_apart(word: str, known: Sequence[str]) -> tuple[str, bool, str]:
    """The option that a word names, whether its value stands in the word, and that value."""
    text = word.lstrip("-")
    name, equals, value = text.partition("=")
    short = None if word.startswith("--") else _SHORT.get(text[:1])
    if short is not None and not (len(name) > 1 and any(one.startswith(name) for one in known)):
        return short, short not in _WITHOUT_VALUE and len(text) > 1, text[1:]
    return _full_name(word, name, known), bool(equals), value


def _full_name(word: str, name: str, known: Sequence[str]) -> str:
    """The option that `name` is, or is the beginning of."""
    if name in known:
        return name
    candidates = [one for one in known if name and one.startswith(name)]
    if not candidates:
        raise OptionError(f"{word}: unknown option; see 'qmpd --help'")
    peers = [one for one in candidates if one in _PEERS]
    if len(peers) != 1 and len(candidates) > 1:
        raise OptionError(f"--{name}: is short for any of {', '.join(candidates)}")
    return peers[0] if peers else candidates[0]
