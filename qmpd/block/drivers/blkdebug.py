"""Driver `blkdebug`: a filter that lets requests fail, for tests of everything that has to cope with that.

What fails when is said by rules (`blkdebug_rules`). They react to events that the driver above raises by
`BlockDriver.debug` just before it does a thing (qcow2: `l2_load`, `cluster_alloc`, ...), and to those of this node's
own writes. An event can also meet a breakpoint: then the request that raised it stands still until it is resumed,
so that a test can look at what is on disk half-way.

The filter also narrows what requests may look like (alignment, sizes), and takes or refuses permissions at will.
Nothing passes it by: `map` never says where in a host file the data lies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any, Protocol

from qmpd.api.enums import BlkdebugEvent, BlkdebugIOType
from qmpd.block.driver import Buffer, FilterDriver, HostPiece, OpenContext, Range, not_supported
from qmpd.block.drivers.blkdebug_rules import Breakpoint, Rule, RuleSet, inject_error, parse_config, set_state
from qmpd.block.extents import Extent
from qmpd.block.permissions import PERM_NAMES, Perm
from qmpd.errors import GenericError, os_error_text

_MAX_ALIGN = 1 << 31
_LIMITS = ("max-transfer", "opt-write-zero", "max-write-zero", "opt-discard", "max-discard")
_ZEROES = memoryview(bytes(1 << 20))
_PERMS = {name: bit for bit, name in PERM_NAMES.items()}


class BlkdebugOptions(Protocol):
    """What the driver reads of its branch of `BlockdevOptions`."""

    image: Any
    config: str | None
    align: int | None
    max_transfer: int | None
    opt_write_zero: int | None
    max_write_zero: int | None
    opt_discard: int | None
    max_discard: int | None
    inject_error: Sequence[Any] | None
    set_state: Sequence[Any] | None
    take_child_perms: Sequence[str] | None
    unshare_child_perms: Sequence[str] | None


class BlkdebugDriver(FilterDriver):
    """The filter."""

    mutable_options = frozenset()
    main_child = "image"

    def __init__(self, format_name: str = "blkdebug") -> None:
        super().__init__(format_name)
        self.rules = RuleSet()
        self._config: str | None = None
        self._align = 0
        self._limits: dict[str, int] = {}
        self._take = self._unshare = Perm.NONE
        self._given: dict[str, Any] = {}
        self._standing: list[tuple[str, asyncio.Future[None]]] = []
        self._watchers: list[asyncio.Future[None]] = []
        self.debug = self

    async def open(self, options: BlkdebugOptions, context: OpenContext) -> None:
        rules: list[Rule] = []
        if options.config:
            rules += await self._read_config(options.config, context)
        given = [rule.model_dump(exclude_none=True) for rule in options.inject_error or ()]
        states = [rule.model_dump(exclude_none=True) for rule in options.set_state or ()]
        rules += map(inject_error, given)
        rules += map(set_state, states)
        self._note_given(options, given, states)
        for rule in rules:
            self.rules.add(rule)
        self._take = _perms(options.take_child_perms)
        self._unshare = _perms(options.unshare_child_perms)
        await context.open_child("image", options.image, protocol=True)
        self._set_limits()
        self.adopt_geometry()
        self.rules.event(BlkdebugEvent.NONE)

    async def _read_config(self, path: str, context: OpenContext) -> list[Rule]:
        self._config = path
        try:
            text = await context.pool.run(_read_text, path)
        except OSError as error:
            raise GenericError(f"The blkdebug rules '{path}' cannot be read: {os_error_text(error)}") from error
        except UnicodeDecodeError as error:
            raise GenericError(f"The blkdebug rules '{path}' are no text") from error
        return parse_config(text, path)

    def _note_given(
        self, options: BlkdebugOptions, errors: list[dict[str, Any]], states: list[dict[str, Any]]
    ) -> None:
        for name in ("align", *_LIMITS):
            value = getattr(options, name.replace("-", "_"))
            if value is not None:
                self._given[name] = value
        for name, rules in (("inject-error", errors), ("set-state", states)):
            for number, rule in enumerate(rules):
                self._given.update({f"{name}.{number}.{key}": value for key, value in rule.items()})

    def _set_limits(self) -> None:
        align = self._given.get("align", 0)
        if align and (not 0 < align < _MAX_ALIGN or align & (align - 1)):
            raise GenericError(f"'align' is {align}; it has to be a power of two below {_MAX_ALIGN}")
        self._align = max(align, self.below.request_alignment)
        self._limits = {name: self._given.get(name, 0) for name in _LIMITS}
        steps = {
            "max-write-zero": max(self._limits["opt-write-zero"], self._align),
            "max-discard": max(self._limits["opt-discard"], self._align),
        }
        for name, value in self._limits.items():
            step = steps.get(name, self._align)
            if value < 0 or value % step:
                raise GenericError(f"'{name}' is {value}; here it has to be a multiple of {step}")

    def adopt_geometry(self) -> None:
        super().adopt_geometry()
        self.request_alignment = self._align

    # Events and breakpoints.

    async def event(self, event: str) -> None:
        """`event` happens in the layer above, or here; returns when no breakpoint holds it any more."""
        for tag in self.rules.event(event):
            resumed = asyncio.get_running_loop().create_future()
            self._standing.append((tag, resumed))
            for waiter in self._watchers:
                if not waiter.done():
                    waiter.set_result(None)
            self._watchers.clear()
            await resumed

    def add_breakpoint(self, event: BlkdebugEvent, tag: str) -> None:
        """Stop the next request that raises `event`."""
        self.rules.add(Breakpoint(event, tag))

    def remove_breakpoint(self, tag: str) -> bool:
        """Forget the breakpoints `tag`, and let go who stands at one; False if there is none."""
        forgotten = self.rules.remove_breakpoints(tag)
        while self.resume(tag):
            forgotten = True
        return forgotten

    def resume(self, tag: str) -> bool:
        """Let one request that stands at breakpoint `tag` go on; False if none does."""
        for place in self._standing:
            if place[0] == tag:
                self._standing.remove(place)
                place[1].set_result(None)
                return True
        return False

    def is_suspended(self, tag: str) -> bool:
        """Whether a request stands at breakpoint `tag`."""
        return any(place[0] == tag for place in self._standing)

    async def wait_suspended(self, tag: str) -> None:
        """Return when a request stands at breakpoint `tag`."""
        while not self.is_suspended(tag):
            arrival = asyncio.get_running_loop().create_future()
            self._watchers.append(arrival)
            await arrival

    # Requests.

    async def _check(self, iotype: BlkdebugIOType, offset: int, length: int) -> None:
        rule = self.rules.verdict(iotype, offset, length)
        if rule is None or not rule.error:
            return
        if not rule.immediately:
            await asyncio.sleep(0)
        raise OSError(rule.error, os.strerror(rule.error))

    async def preadv(self, offset: int, buffer: memoryview) -> None:
        step = self._limits["max-transfer"] or len(buffer) or 1
        for at in range(0, len(buffer), step):
            part = buffer[at : at + step]
            await self._check(BlkdebugIOType.READ, offset + at, len(part))
            present = self._present(offset + at, len(part))
            await self.below.preadv(offset + at, part[:present])
            part[present:] = bytes(len(part) - present)

    def _present(self, offset: int, length: int) -> int:
        """How much of an aligned request there is below: a disk may end within a block."""
        return max(min(length, self.below.length - offset), 0)

    async def pwritev(self, offset: int, data: Buffer, fua: bool) -> None:
        await self.event(BlkdebugEvent.PWRITEV)
        try:
            await self._write_pieces(offset, memoryview(data), fua)
        finally:
            await self.event(BlkdebugEvent.PWRITEV_DONE)

    async def _write_pieces(self, offset: int, view: memoryview, fua: bool) -> None:
        step = self._limits["max-transfer"] or len(view) or 1
        for at in range(0, len(view), step):
            part = view[at : at + step]
            await self._check(BlkdebugIOType.WRITE, offset + at, len(part))
            await self.below.pwritev(offset + at, part[: self._present(offset + at, len(part))], fua)

    async def pwrite_zeroes(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        await self.event(BlkdebugEvent.PWRITEV_ZERO)
        try:
            await self._zero_pieces(offset, length, may_unmap, no_fallback)
        finally:
            await self.event(BlkdebugEvent.PWRITEV_DONE)

    async def _zero_pieces(self, offset: int, length: int, may_unmap: bool, no_fallback: bool) -> None:
        align = self._limits["opt-write-zero"] or self._align
        for start, size in _pieces(offset, length, align, self._limits["max-write-zero"]):
            if start % align or size % align:
                if no_fallback:
                    raise not_supported()
                for at in range(start, start + size, len(_ZEROES)):
                    await self._write_pieces(at, _ZEROES[: min(len(_ZEROES), start + size - at)], False)
                continue
            await self._check(BlkdebugIOType.WRITE_ZEROES, start, size)
            present = self._present(start, size)
            await self.below.pwrite_zeroes(start, present, may_unmap=may_unmap, no_fallback=no_fallback)

    async def pdiscard(self, offset: int, length: int) -> None:
        align = self._limits["opt-discard"] or self._align
        for start, size in _pieces(offset, length, align, self._limits["max-discard"]):
            if start % align == 0 and size % align == 0:
                await self._check(BlkdebugIOType.DISCARD, start, size)
                await self.below.pdiscard(start, self._present(start, size))

    async def flush(self) -> None:
        await self._check(BlkdebugIOType.FLUSH, 0, 0)
        await super().flush()

    async def map(self, offset: int, length: int) -> list[Extent]:
        await self._check(BlkdebugIOType.BLOCK_STATUS, offset, length)
        # Whoever knew where the bytes lie would go there directly, and nothing would ever fail.
        return [extent._replace(host=None, host_offset=0) for extent in await self.below.map(offset, length)]

    async def map_ranges(self, ranges: Sequence[Range]) -> list[Extent]:
        return [extent for offset, length in ranges for extent in await self._map_whole(offset, length)]

    async def copy_from_host(self, pieces: Sequence[HostPiece]) -> None:
        raise not_supported()

    async def populate(self, offset: int, length: int) -> None:
        await self._check(BlkdebugIOType.WRITE, offset, length)
        await self.below.populate(offset, length)

    def write_now(self, offset: int, data: Buffer) -> None:
        rule = self.rules.verdict(BlkdebugIOType.WRITE, offset, len(data)) if len(data) else None
        if rule is not None and rule.error:
            raise OSError(rule.error, os.strerror(rule.error))
        self.below.driver.write_now(offset, data)

    # The graph.

    def child_permissions(self, name: str, perm: Perm, shared: Perm) -> tuple[Perm, Perm]:
        return perm | self._take, shared & ~self._unshare

    def filename(self) -> str:
        name = self.below.driver.filename()
        return self.json_name() if self._given or name.startswith("json:") else f"blkdebug:{self._config or ''}:{name}"

    @property
    def lends_name(self) -> bool:
        return True

    def open_options(self) -> dict[str, Any]:
        return {"driver": self.format_name, **self.runtime_options(), "image": self.below.driver.open_options()}

    def runtime_options(self) -> dict[str, Any]:
        return self._given if self._config is None else {"config": self._config, **self._given}


def _read_text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _perms(names: Sequence[str] | None) -> Perm:
    perm = Perm.NONE
    for name in names or ():
        perm |= _PERMS[str(name)]
    return perm


def _pieces(offset: int, length: int, align: int, most: int) -> list[Range]:
    """A range cut where it meets the grid of `align`, its middle in pieces of at most `most` bytes (0: any)."""
    end = offset + length
    first, last = -(-offset // align) * align, end // align * align
    if first >= last:
        return [(offset, length)] if length else []
    step = most or last - first
    middle = [(at, min(step, last - at)) for at in range(first, last, step)]
    pieces = [(offset, first - offset), *middle, (last, end - last)]
    return [piece for piece in pieces if piece[1]]
