"""Transcripts that a generator makes up: commands on a few nodes, bitmaps and exports, sensible and not, in any order.

Nobody knows beforehand what each of them comes to; both servers have to agree on it, and on what there is afterwards.
Commands that take their time are left out, so that no answer depends on when it is asked for.
"""

import random
from collections.abc import Callable
from typing import Any

from iotests.differential.transcript import Action, Allowance, Call, Step, Tool, Transcript

NODES = ("a", "b", "c", "d")
GROUPS = ("g", "h")
LENGTH = 1 << 20

_SETUP = (
    f"truncate -s {LENGTH} 1.img 2.img",
    *(f"qemu-img create -q -f qcow2 {name}.qcow2 {LENGTH}" for name in ("3", "4", "5")),
)
_FILES = {"raw": ("1.img", "2.img"), "qcow2": ("3.qcow2", "4.qcow2", "5.qcow2")}
_BY_CHANCE = (
    Allowance("reply.return[].image.virtual-size", "files of qcow2 images grow in their own way", False),
    Allowance("reply.return[].image.format-specific.data.data-file-raw", "QEMU 7.2 reads it from nowhere", False),
)

Members = dict[str, Any]
Maker = Callable[[random.Random], tuple[str, Members]]


def walk(seed: int, steps: int) -> Transcript:
    """A transcript of `steps` commands, with a look at everything after each few."""
    generator = random.Random(seed)
    made = Transcript(f"walk-{seed}", "made up", "walks.py")
    made.steps = [Step(Tool(command), 0) for command in _SETUP]
    server = {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}}
    _append(made, Call("nbd-server-start", server))
    for number in range(steps):
        name, arguments = generator.choice(_MAKERS)(generator)
        _append(made, Call(name, arguments, fails=None))
        if number % 4 == 3:
            _append(made, Call("query-named-block-nodes", {}), *_BY_CHANCE)
            _append(made, Call("query-block-exports", {}))
            _append(made, Call("x-debug-query-block-graph", {}))
    return made


def _append(transcript: Transcript, action: Action, *allowances: Allowance) -> None:
    """Add a step; its place stands for the line of a file."""
    transcript.steps.append(Step(action, len(transcript.steps) + 1, list(allowances)))


def _flags(generator: random.Random) -> Members:
    """Options that every driver takes."""
    chosen: Members = {}
    if generator.random() < 0.2:
        chosen["read-only"] = generator.random() < 0.7
    if generator.random() < 0.1:
        chosen["discard"] = generator.choice(["ignore", "unmap"])
    if generator.random() < 0.1:
        chosen["detect-zeroes"] = generator.choice(["off", "on", "unmap"])
    return chosen


def _definition(generator: random.Random, name: str) -> Members:
    """The options of a node."""
    driver = generator.choice(["null-co", "raw", "raw", "qcow2", "qcow2", "file", "throttle"])
    options: Members = {"driver": driver, "node-name": name, **_flags(generator)}
    match driver:
        case "null-co":
            options |= {"size": generator.choice([0, LENGTH, 2 * LENGTH]), "read-zeroes": True}
        case "file":
            options["filename"] = generator.choice(_FILES["raw"])
        case "throttle":
            options |= {"throttle-group": generator.choice(GROUPS), "file": generator.choice(NODES)}
        case _:
            inline = {"driver": "file", "filename": generator.choice(_FILES[driver])}
            options["file"] = generator.choice([inline, inline, generator.choice(NODES)])
            if driver == "qcow2" and generator.random() < 0.5:
                options["backing"] = generator.choice([None, *NODES])
    return options


def _add(generator: random.Random) -> tuple[str, Members]:
    return "blockdev-add", _definition(generator, generator.choice(NODES))


def _delete(generator: random.Random) -> tuple[str, Members]:
    return "blockdev-del", {"node-name": generator.choice(NODES)}


def _reopen(generator: random.Random) -> tuple[str, Members]:
    names = generator.sample(NODES, generator.randint(1, 2))
    return "blockdev-reopen", {"options": [_definition(generator, name) for name in names]}


def _resize(generator: random.Random) -> tuple[str, Members]:
    lengths = [0, 512, 1000, LENGTH, 3 * LENGTH]
    return "block_resize", {"node-name": generator.choice(NODES), "size": generator.choice(lengths)}


def _threshold(generator: random.Random) -> tuple[str, Members]:
    members = {"node-name": generator.choice(NODES), "write-threshold": generator.choice([0, 1, LENGTH])}
    return "block-set-write-threshold", members


def _export(generator: random.Random) -> tuple[str, Members]:
    node = generator.choice(NODES)
    members = {"type": "nbd", "id": f"e{generator.randint(0, 4)}", "node-name": node, "name": str(generator.random())}
    return "block-export-add", {**members, "writable": generator.random() < 0.5}


def _snapshot(generator: random.Random) -> tuple[str, Members]:
    node, overlay = generator.sample(NODES, 2)
    return "blockdev-snapshot", {"node": node, "overlay": overlay}


def _group(generator: random.Random) -> tuple[str, Members]:
    name = generator.choice(GROUPS)
    return generator.choice([("object-add", {"qom-type": "throttle-group", "id": name}), ("object-del", {"id": name})])


def _bitmap(generator: random.Random) -> tuple[str, Members]:
    """A command on a bitmap, all of which are actions of a transaction, too."""
    verb = generator.choice(["add", "add", "add", "remove", "clear", "enable", "disable", "merge"])
    bitmap: Members = {"node": generator.choice(NODES), "name": generator.choice("xyz")}
    match verb:
        case "add":
            bitmap |= {"granularity": generator.choice([512, 4096, 65536]), "disabled": generator.random() < 0.3}
            bitmap["persistent"] = generator.random() < 0.2
        case "merge":
            other = {"node": generator.choice(NODES), "name": generator.choice("xyz")}
            sources = [generator.choice(["x", "y", other])]
            bitmap = {"node": bitmap["node"], "target": bitmap["name"], "bitmaps": sources}
    return f"block-dirty-bitmap-{verb}", bitmap


def _transaction(generator: random.Random) -> tuple[str, Members]:
    makers: list[Maker] = [_bitmap, _bitmap, _bitmap, _snapshot]
    actions = [generator.choice(makers)(generator) for _ in range(generator.randint(1, 3))]
    if generator.random() < 0.3:
        actions.append(("abort", {}))
    return "transaction", {"actions": [{"type": kind, "data": data} for kind, data in actions]}


_MAKERS: list[Maker] = [
    *[_add] * 5,
    *[_bitmap] * 4,
    *[_reopen] * 2,
    *[_transaction] * 2,
    _delete,
    _resize,
    _threshold,
    _export,
    _snapshot,
    _group,
    _group,
]
"""What may come next; what stands there more often comes more often."""
