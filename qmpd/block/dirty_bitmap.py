"""Dirty bitmaps: which parts of a node were written since some moment, and the set of them that a node
owns.

Leans on `bitarray` only. Bits live in a little-endian `bitarray` that is padded with zero bits to whole
64-bit words (never less than one), because that is the form which `x-debug-block-dirty-bitmap-sha256`
hashes. Everything but `set` works on whole buffers; nothing here loops over bits, awaits, or knows about
jobs and commands.

Three small ideas carry the rest:

* **Successor.** A job that copies what a bitmap says needs the bits to stand still while writes go on.
  `freeze` puts a nameless successor beside the bitmap, which records from then on in its place. At the end
  there are two outcomes: `abdicate` (the copy is good: the old bits are dropped, the successor's take their
  place) and `reclaim` (it is not: both are merged). A frozen bitmap is busy and nobody else may touch it. A
  bitmap that was disabled gets a disabled successor, so `abdicate` leaves it empty and `reclaim` leaves it
  as it was. What backup makes of its bitmap-mode: `on-success` abdicates after success and reclaims
  otherwise, `never` always reclaims, `always` always abdicates and after a failure adds the bits it did not
  get to copy with `merge_bits`.
* **Twin.** An action that may have to be taken back long after it was done (the group of jobs it belongs to
  has not ended yet) leaves a twin beside the bitmap: hidden, with the bits *and the recording state* from
  before the action. The twin sees every write like any other bitmap of the node, so it is at all times what
  the bitmap would be had the action never been. Taking back is to adopt the twin's contents.
* **Count as a watch.** `count` is computed when asked for and kept until the next change. A kept count
  therefore means that somebody has looked since the last change, and only then a change is reported to the
  store's `on_change`. The write path pays one comparison for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from mmap import mmap
from typing import Protocol, TypedDict

from bitarray import bitarray
from bitarray.util import zeros

from qmpd.errors import GenericError

MIN_GRANULARITY = 512
MAX_GRANULARITY = 1 << 31
MIN_DEFAULT_GRANULARITY = 4096
MAX_DEFAULT_GRANULARITY = 65536
MAX_NAME_BYTES = 1023
MAX_BITS = 1 << 33
"""The most bits one bitmap may have (1 GiB of memory): a mistyped granularity must not take the host down."""

_WORD_BITS = 64

Allocate = Callable[[int], mmap | memoryview | bytearray]


class HelperMemory(Protocol):
    """Gives memory to the bitmaps beside one, its successor and its twin. They must survive what it survives.

    Roles are "successor", and "twin" or "idle-twin": the latter does not record, as the bitmap did not before.
    """

    def make(self, role: str) -> Allocate:
        """Memory for the helper `role`, all zero."""

    def drop(self, role: str) -> None:
        """That helper is no more. Harmless if there was none."""


def _twin_role(*, recording: bool) -> str:
    return "twin" if recording else "idle-twin"


class BitmapInfo(TypedDict, total=False):
    """`BlockDirtyInfo` as the queries give it; `count` and `granularity` in bytes."""

    name: str
    recording: bool
    persistent: bool
    busy: bool
    inconsistent: bool
    granularity: int
    count: int


def default_granularity(cluster_size: int | None) -> int:
    """The granularity when none is asked for: the cluster size within 4 and 64 KiB, else 64 KiB."""
    if not cluster_size:
        return MAX_DEFAULT_GRANULARITY
    return min(max(cluster_size, MIN_DEFAULT_GRANULARITY), MAX_DEFAULT_GRANULARITY)


def check_granularity(granularity: int) -> None:
    """Raise `GenericError` unless `granularity` is a power of two from 512 bytes to 2 GiB."""
    if not MIN_GRANULARITY <= granularity <= MAX_GRANULARITY or granularity & (granularity - 1):
        raise GenericError(
            f"'granularity' is {granularity}, it has to be a power of two "
            f"from {MIN_GRANULARITY} to {MAX_GRANULARITY}"
        )


def _padded(size: int) -> int:
    """`size` bits rounded up to whole words, at least one."""
    return max(-(-size // _WORD_BITS), 1) * _WORD_BITS


def _coarser(bits: bitarray, factor: int) -> bitarray:
    """One bit for each `factor` (a power of two) bits of `bits`: set where any of them is."""
    folded = bits + zeros(-len(bits) % max(factor, 8), endian="little")
    while factor >= 8:
        packed = bitarray(endian="little")
        packed.pack(folded.tobytes())  # one bit for each byte, set unless the byte is zero
        folded = packed
        factor //= 8
    step = 1
    while step < factor:
        folded |= folded << step
        step *= 2
    return folded[::factor]


def _finer(bits: bitarray, factor: int) -> bitarray:
    """Each bit of `bits` repeated `factor` (a power of two) times."""
    spread = zeros(len(bits) * factor, endian="little")
    spread[::factor] = bits
    step = 1
    while step < factor:
        spread |= spread >> step
        step *= 2
    return spread


class DirtyBitmap:
    """One bit for each `granularity` bytes of `length` bytes; a last partial piece has a bit of its own.

    :param name: the client's name for it, None for helpers (successors, twins, a job's own).
    :param granularity: bytes a bit stands for; see `check_granularity`.
    :param disabled: do not record writes.
    :param allocate: gives the memory for the bits: a writable buffer of so many bytes (a multiple of eight),
        whose contents are taken as the bits; `resize` calls it again. Plain memory when left out.
    :param helpers: gives the memory of its successor and its twin. Plain memory when left out.
    :ivar on_trial: a group of jobs has added it that may still take it away.
    :raises GenericError: bad granularity, or more bits than `MAX_BITS`.
    """

    __slots__ = (
        "__weakref__",
        "_allocate",
        "_bits",
        "_count",
        "_enabled",
        "_helpers",
        "_hidden",
        "_locks",
        "_shift",
        "_size",
        "_store",
        "_successor",
        "_twin",
        "granularity",
        "inconsistent",
        "length",
        "name",
        "on_trial",
        "persistent",
        "read_only",
    )

    def __init__(
        self,
        name: str | None,
        length: int,
        granularity: int,
        *,
        persistent: bool = False,
        disabled: bool = False,
        allocate: Allocate | None = None,
        helpers: HelperMemory | None = None,
    ) -> None:
        check_granularity(granularity)
        self.name = name
        self.length = length
        self.granularity = granularity
        self.persistent = persistent
        self.inconsistent = False
        self.read_only = False
        self.on_trial = False
        self._hidden = False
        self._shift = granularity.bit_length() - 1
        self._enabled = not disabled
        self._locks = 0
        self._successor: DirtyBitmap | None = None
        self._twin: DirtyBitmap | None = None
        self._store: BitmapStore | None = None
        self._count: int | None = None
        self._allocate = allocate
        self._helpers = helpers
        self.check_resize(length)
        self._size = self._bits_for(length)
        self._bits = self._new_bits()
        self._bits[self._size :] = 0

    def __repr__(self) -> str:
        return f"<DirtyBitmap {self.name!r} of {self.length} bytes by {self.granularity}>"

    # Recording: the write path.

    def set(self, offset: int, length: int) -> None:
        """Mark every piece that `length` (> 0) bytes from `offset` touch as dirty, enabled or not."""
        shift = self._shift
        first = offset >> shift
        last = (offset + length - 1) >> shift
        if last >= self._size:
            last = self._size - 1
        if first == last:
            self._bits[first] = 1
        else:
            self._bits[first : last + 1] = 1
        if self._count is not None:
            self._touched()

    def reset(self, offset: int, length: int) -> None:
        """Mark every piece that `length` bytes from `offset` touch as clean: align to lose nothing."""
        if length > 0:
            end = min(((offset + length - 1) >> self._shift) + 1, self._size)
            self._bits[offset >> self._shift : end] = 0
            self._touched()

    def clear(self) -> None:
        """Mark everything as clean."""
        self._bits.setall(0)
        self._touched()

    # Questions.

    @property
    def count(self) -> int:
        """Dirty bytes: dirty pieces times the granularity, so a dirty last partial piece counts in full."""
        if self._count is None:
            self._count = self._bits.count()
        return self._count << self._shift

    @property
    def size(self) -> int:
        """How many bits there are, without the padding."""
        return self._size

    def get(self, offset: int) -> bool:
        """Whether the piece that holds byte `offset` is dirty."""
        return bool(self._bits[offset >> self._shift])

    def next_dirty(self, offset: int, end: int | None = None) -> int | None:
        """The first dirty byte at or after `offset` and before `end` (the whole length), or None."""
        return self._next(1, offset, end)

    def next_clean(self, offset: int, end: int | None = None) -> int | None:
        """The first clean byte at or after `offset` and before `end` (the whole length), or None."""
        return self._next(0, offset, end)

    def dirty_extents(self, offset: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
        """Runs of dirty bytes within `length` bytes from `offset`, as (offset, length), clipped to it.

        Reads the bits as it goes: what changes behind it is not seen again, what changes ahead is.
        """
        end = self.length if length is None else min(offset + length, self.length)
        position = self._next(1, offset, end)
        while position is not None:
            stop = self._next(0, position, end)
            yield position, (end if stop is None else stop) - position
            position = None if stop is None else self._next(1, stop, end)

    def sha256(self) -> str:
        """What `x-debug-block-dirty-bitmap-sha256` gives: the digest of the bits as whole words."""
        return hashlib.sha256(self._bits).hexdigest()

    # Whole contents.

    def snapshot(self) -> bitarray:
        """A copy of the bits in plain memory, padded with zeros to whole words."""
        copy = bitarray(endian="little")
        copy.extend(self._bits)
        return copy

    def everything(self) -> bitarray:
        """As `snapshot`, with what a successor or a twin has beside it: all that may turn out to be dirty."""
        bits = self.snapshot()
        for beside in (self._successor, self._twin):
            if beside is not None:
                bits |= beside._bits
        return bits

    def restore(self, bits: bitarray) -> None:
        """Put back what `snapshot` or `take` gave; the length must not have changed since."""
        if len(bits) != len(self._bits):
            raise ValueError(f"{len(bits)} bits do not fit a bitmap of {len(self._bits)}")
        if self._allocate is None:
            self._bits = bits
        else:
            self._bits[:] = bits
        self._touched()

    def take(self) -> bitarray:
        """Clear, and return the bits that were there (for `restore`)."""
        if self._allocate is not None:
            taken = self.snapshot()
            self.clear()
            return taken
        taken = self._bits
        self._bits = zeros(len(taken), endian="little")
        self._touched()
        return taken

    def check_mergeable(self, other: DirtyBitmap) -> None:
        """Raise `GenericError` unless `other` covers as many bytes as this one; granularities may differ."""
        if other.length != self.length:
            raise GenericError(
                f"Bitmap '{other.name}' covers {other.length} bytes and cannot be merged into '{self.name}', "
                f"which covers {self.length}; both have to be of the same size"
            )

    def merge_from(self, other: DirtyBitmap) -> None:
        """Add everything that is dirty in `other`.

        :raises GenericError: as `check_mergeable`.
        """
        self.check_mergeable(other)
        self.merge_bits(other._bits[: other._size], other.granularity)

    def merge_bits(self, bits: bitarray, granularity: int) -> None:
        """Add `bits` (little-endian, one for each `granularity` bytes from offset 0, a power of two).

        Bits beyond this bitmap's length are dropped. A backup gives back what it did not copy with this.
        """
        if granularity < self.granularity:
            bits = _coarser(bits, self.granularity // granularity)
        elif granularity > self.granularity:
            bits = _finer(bits[: -(-self.length // granularity)], granularity // self.granularity)
        own = len(self._bits)
        if len(bits) > own:
            bits = bits[:own]
        elif len(bits) < own:
            bits = bits + zeros(own - len(bits), endian="little")
        self._bits |= bits
        self._bits[self._size :] = 0
        self._touched()

    def check_resize(self, length: int) -> None:
        """Raise `GenericError` when `length` bytes would take more than `MAX_BITS` bits."""
        size = self._bits_for(length)
        if size > MAX_BITS:
            raise GenericError(
                f"A bitmap of {length} bytes by {self.granularity} has more than {MAX_BITS} bits; "
                "'granularity' has to be larger"
            )

    def resize(self, length: int) -> None:
        """Cover `length` bytes from now on; what is new is clean. See `check_resize`."""
        size = self._bits_for(length)
        kept = self.snapshot()[:size] if size != self._size else None
        self.length = length
        self._size = size
        if kept is not None:
            kept.extend(zeros(_padded(size) - len(kept), endian="little"))
            self._bits = kept
            if self._allocate is not None:
                self._bits = self._new_bits()
                self._bits[:] = kept
        self._touched()

    def move(self, allocate: Allocate | None, helpers: HelperMemory | None) -> None:
        """Keep the bits in other memory (None for plain), and those of helpers to come. Not while it has any.

        :raises OSError: there is no room; nothing has changed.
        """
        if self._successor is not None or self._twin is not None:
            raise RuntimeError(f"bitmap {self.name!r} has a successor or twin")
        bits, before = self._bits, self._allocate
        self._allocate = allocate
        try:
            self._bits = self._new_bits()
        except BaseException:
            self._allocate = before
            raise
        self._bits[:] = bits
        self._helpers = helpers

    # States.

    @property
    def enabled(self) -> bool:
        """Whether writes are recorded in this very bitmap; never so while it is frozen."""
        return self._enabled

    @property
    def recording(self) -> bool:
        """Whether writes are recorded, here or in the successor."""
        return self._enabled or (self._successor is not None and self._successor._enabled)

    @property
    def frozen(self) -> bool:
        """Whether a successor records in its place."""
        return self._successor is not None

    @property
    def locked(self) -> bool:
        """Whether somebody holds it with `lock`."""
        return self._locks > 0

    @property
    def busy(self) -> bool:
        """Whether some operation uses it, so that others must keep off."""
        return self._successor is not None or self._locks > 0

    @property
    def successor(self) -> DirtyBitmap | None:
        """Who records in its place while it is frozen."""
        return self._successor

    @property
    def hidden(self) -> bool:
        """Whether clients do not see it: a twin, or removed by a group of jobs that has not ended."""
        return self._hidden

    def hide(self) -> None:
        """Be seen by no client; the name stays taken, and recording goes on."""
        self._hidden = True
        self._state_changed()

    def unhide(self) -> None:
        """Be seen again."""
        self._hidden = False
        self._state_changed()

    def enable(self) -> None:
        """Record writes from now on. Not while frozen."""
        self._set_enabled(True)

    def disable(self) -> None:
        """Record no more writes. Not while frozen."""
        self._set_enabled(False)

    def lock(self) -> None:
        """Make it busy until as many `unlock` calls have come; the bits go on recording."""
        self._locks += 1
        self._state_changed()

    def unlock(self) -> None:
        """Take back one `lock`."""
        if self._locks == 0:
            raise RuntimeError(f"bitmap {self.name!r} is not locked")
        self._locks -= 1
        self._state_changed()

    def check(
        self, *, allow_busy: bool = False, allow_ro: bool = False, allow_inconsistent: bool = False
    ) -> None:
        """Raise `GenericError` when it is in a state that the caller does not allow."""
        if self.busy and not allow_busy:
            raise GenericError(f"Bitmap '{self.name}' is busy: the operation that uses it has to end first")
        if self.read_only and not allow_ro:
            raise GenericError(f"Bitmap '{self.name}' is read-only: its image has to be opened for writing")
        if self.inconsistent and not allow_inconsistent:
            raise GenericError(
                f"Bitmap '{self.name}' is inconsistent and can only be removed with block-dirty-bitmap-remove"
            )

    def freeze(self) -> DirtyBitmap:
        """Stop here and record in a successor, which is returned.

        :raises GenericError: it is busy.
        """
        self.check(allow_ro=True, allow_inconsistent=True)
        successor = self._make_helper("successor")
        self._successor = successor
        self._enabled = False
        if self._store is not None:
            self._store.add(successor)
        return successor

    def abdicate(self) -> None:
        """End `freeze` after success: the successor's bits and state take the place of the old ones."""
        self.restore(self._end_freeze()._bits)
        self._drop_helper("successor")

    def reclaim(self) -> None:
        """End `freeze` after failure: what was dirty stays so, and what the successor recorded is added."""
        self.merge_from(self._end_freeze())
        self._drop_helper("successor")

    @property
    def has_twin(self) -> bool:
        """Whether a twin stands beside it."""
        return self._twin is not None

    def make_twin(self) -> None:
        """Put a hidden twin with the same bits and recording state beside it. Only one, not while frozen."""
        if self._twin is not None or self._successor is not None:
            raise RuntimeError(f"bitmap {self.name!r} has a twin or successor already")
        twin = self._make_helper(_twin_role(recording=self._enabled))
        twin._bits[:] = self._bits
        twin._hidden = True
        self._twin = twin
        if self._store is not None:
            self._store.add(twin)

    def drop_twin(self) -> None:
        """Let the twin go: what was done stays."""
        twin = self._end_twin()
        self._drop_helper(_twin_role(recording=twin._enabled))

    def adopt_twin(self) -> None:
        """Become what the twin is: the bitmap as if nothing had been done to it since `make_twin`."""
        twin = self._end_twin()
        self.restore(twin._bits)
        self._set_enabled(twin._enabled)
        self._drop_helper(_twin_role(recording=twin._enabled))

    # Inside.

    def _make_helper(self, role: str) -> DirtyBitmap:
        """A nameless bitmap of the same size that records as this one does."""
        allocate = None if self._helpers is None else self._helpers.make(role)
        return DirtyBitmap(None, self.length, self.granularity, disabled=not self._enabled, allocate=allocate)

    def _drop_helper(self, role: str) -> None:
        if self._helpers is not None:
            self._helpers.drop(role)

    def _bits_for(self, length: int) -> int:
        return -(-length // self.granularity)

    def _new_bits(self) -> bitarray:
        bits = _padded(self._size)
        if self._allocate is None:
            return zeros(bits, endian="little")
        return bitarray(buffer=self._allocate(bits // 8), endian="little")

    def _next(self, value: int, offset: int, end: int | None) -> int | None:
        end = self.length if end is None else min(end, self.length)
        if offset >= end:
            return None
        stop = ((end - 1) >> self._shift) + 1
        index = self._bits.find(value, offset >> self._shift, stop)
        return None if index < 0 else max(index << self._shift, offset)

    def _set_enabled(self, enabled: bool) -> None:
        if self._successor is not None:
            raise RuntimeError(f"bitmap {self.name!r} is frozen")
        self._enabled = enabled
        if self._store is not None:
            self._store.recording_changed()

    def _end_freeze(self) -> DirtyBitmap:
        successor = self._successor
        if successor is None:
            raise RuntimeError(f"bitmap {self.name!r} is not frozen")
        self._successor = None
        self._enabled = successor._enabled
        if self._store is not None:
            self._store.recording_changed()
        if successor._store is not None:
            successor._store.discard(successor)
        return successor

    def _end_twin(self) -> DirtyBitmap:
        twin = self._twin
        if twin is None:
            raise RuntimeError(f"bitmap {self.name!r} has no twin")
        self._twin = None
        if twin._store is not None:
            twin._store.discard(twin)
        return twin

    def _touched(self) -> None:
        """The bits have changed."""
        watched = self._count is not None
        self._count = None
        if watched and self._store is not None:
            self._store.changed()

    def _state_changed(self) -> None:
        """What a query tells of its state has changed."""
        if self._store is not None:
            self._store.changed()


class BitmapStore:
    """The bitmaps of one node, the newest first (the order in which queries list them).

    :param node_name: for error descriptions.
    :param on_change: called after a change that makes an earlier `info` stale. Changes of the bits alone are
        reported once until `info` is asked for again.
    """

    __slots__ = ("_all", "_by_name", "_recording", "node_name", "on_change")

    def __init__(self, node_name: str, on_change: Callable[[], None] | None = None) -> None:
        self.node_name = node_name
        self.on_change = on_change
        self._all: dict[DirtyBitmap, None] = {}
        self._by_name: dict[str, DirtyBitmap] = {}
        self._recording: tuple[DirtyBitmap, ...] | None = ()

    def __iter__(self) -> Iterator[DirtyBitmap]:
        """Every bitmap, nameless and hidden ones included, newest first."""
        return reversed(tuple(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def mark(self, offset: int, length: int) -> None:
        """Record a write of `length` (> 0) bytes at `offset` in all that record. Call before the write."""
        recording = self._recording
        if recording is None:
            recording = self._recording = tuple(bitmap for bitmap in self._all if bitmap.enabled)
        for bitmap in recording:
            bitmap.set(offset, length)

    def add(self, bitmap: DirtyBitmap) -> None:
        """Own `bitmap` from now on.

        :raises GenericError: the name is empty, too long or taken.
        """
        name = bitmap.name
        if name is not None:
            self.check_name(name)
            self._by_name[name] = bitmap
        self._all[bitmap] = None
        bitmap._store = self
        self.recording_changed()

    def check_name(self, name: str) -> None:
        """Raise `GenericError` unless a bitmap may be added under `name`."""
        if not name:
            raise GenericError("'name' is empty, a bitmap has to have a name")
        if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
            raise GenericError(f"'name' may have {MAX_NAME_BYTES} bytes and has more: '{name[:200]}'")
        taken = self._by_name.get(name)
        if taken is None:
            return
        if taken.hidden:
            raise GenericError(
                f"Bitmap '{name}' of node '{self.node_name}' is being removed by a group of jobs "
                "that has not ended; its name is free once that has succeeded"
            )
        raise GenericError(f"Node '{self.node_name}' already has a bitmap '{name}'; the name has to be new")

    def remove(self, bitmap: DirtyBitmap) -> None:
        """Disown `bitmap`.

        :raises KeyError: it is not here.
        """
        if bitmap._store is not self:
            raise KeyError(bitmap)
        del self._all[bitmap]
        if bitmap.name is not None:
            del self._by_name[bitmap.name]
        bitmap._store = None
        self.recording_changed()

    def discard(self, bitmap: DirtyBitmap) -> None:
        """Disown `bitmap` if it is here."""
        if bitmap._store is self:
            self.remove(bitmap)

    def find(self, name: str) -> DirtyBitmap | None:
        """The bitmap that clients know as `name`, or None; not one that is hidden."""
        bitmap = self._by_name.get(name)
        return None if bitmap is None or bitmap.hidden else bitmap

    def lookup(self, name: str) -> DirtyBitmap:
        """The bitmap that clients know as `name`.

        :raises GenericError: there is none.
        """
        bitmap = self.find(name)
        if bitmap is None:
            raise GenericError(
                f"Node '{self.node_name}' has no bitmap '{name[:200]}', see query-named-block-nodes"
            )
        return bitmap

    def check_resize(self, length: int) -> None:
        """Raise `GenericError` when a bitmap could not follow the node to `length` bytes."""
        for bitmap in self._all:
            bitmap.check_resize(length)

    def resize(self, length: int) -> None:
        """The node has `length` bytes now; all bitmaps follow."""
        for bitmap in self._all:
            bitmap.resize(length)
        self.changed()

    def info(self) -> list[BitmapInfo]:
        """`BlockDirtyInfo` of all, newest first; successors and jobs' own bitmaps come without a name."""
        return [self._info_of(bitmap) for bitmap in self if not bitmap.hidden]

    def recording_changed(self) -> None:
        """Other bitmaps record now; bitmaps call it when that changes. Worked out at the next write."""
        self._recording = None
        self.changed()

    def changed(self) -> None:
        """Tell `on_change`."""
        if self.on_change is not None:
            self.on_change()

    @staticmethod
    def _info_of(bitmap: DirtyBitmap) -> BitmapInfo:
        info = BitmapInfo()
        if bitmap.name is not None:
            info["name"] = bitmap.name
        info["recording"] = bitmap.recording
        info["persistent"] = bitmap.persistent
        info["busy"] = bitmap.busy
        if bitmap.inconsistent:
            info["inconsistent"] = True
        info["granularity"] = bitmap.granularity
        info["count"] = bitmap.count
        return info
