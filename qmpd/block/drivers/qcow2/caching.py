"""How much of an image's tables is kept in memory, and for how long: the options for that, with QEMU's defaults.

The caches hold L2 tables and blocks of reference counts. `docs/qcow2-cache.txt` of QEMU tells what the options mean.
"""

from __future__ import annotations

from typing import Protocol

from qmpd.block.drivers.qcow2.header import Header
from qmpd.errors import GenericError

DEFAULT_L2_CACHE = 32 << 20
DEFAULT_REFCOUNT_CACHE = 1 << 20
_REFCOUNT_BLOCKS = 4
_MAX_CACHE = 1 << 40
_MIN_PART, _MAX_PART = 512, 64 << 10
_DEFAULT_INTERVAL = 600
_MAX_INTERVAL = (1 << 32) - 1


class CacheOptions(Protocol):
    """What is read of `BlockdevOptionsQcow2`."""

    cache_size: int | None
    l2_cache_size: int | None
    l2_cache_entry_size: int | None
    refcount_cache_size: int | None
    cache_clean_interval: int | None


def sizes(options: CacheOptions, header: Header) -> tuple[int, int]:
    """Bytes for L2 tables and for blocks of reference counts.

    :raises GenericError: the options contradict each other.
    """
    total, l2, refcount = options.cache_size, options.l2_cache_size, options.refcount_cache_size
    for name, value in (("cache-size", total), ("l2-cache-size", l2), ("refcount-cache-size", refcount)):
        if value is not None and not 0 <= value <= _MAX_CACHE:
            raise GenericError(f"'{name}' is {value}; it has to be from 0 to {_MAX_CACHE}")
    if total is not None:
        return _divide(total, l2, refcount, header)
    return (
        l2 if l2 is not None else DEFAULT_L2_CACHE,
        refcount if refcount is not None else DEFAULT_REFCOUNT_CACHE,
    )


def _divide(total: int, l2: int | None, refcount: int | None, header: Header) -> tuple[int, int]:
    if l2 is not None and refcount is not None:
        raise GenericError("At most two of 'cache-size', 'l2-cache-size' and 'refcount-cache-size' can be given")
    for name, value in (("l2-cache-size", l2), ("refcount-cache-size", refcount)):
        if value is not None and value > total:
            raise GenericError(f"'{name}' is {value}, more than the {total} of 'cache-size'")
    if l2 is not None:
        return l2, total - l2
    if refcount is not None:
        return total - refcount, refcount
    # L2 tables first, as far as there are any, but not without a few blocks of counts.
    whole = header.l1_entries_for(header.size) * header.cluster_size
    few = _REFCOUNT_BLOCKS * header.cluster_size
    if total >= whole + few:
        return whole, total - whole
    refcount = min(total, few)
    return total - refcount, refcount


def part_size(options: CacheOptions, header: Header) -> int:
    """Bytes of an L2 table that are read, kept and dropped together.

    :raises GenericError: it cannot be.
    """
    size = options.l2_cache_entry_size
    if size is None:
        return min(header.cluster_size, _MAX_PART)
    if not _MIN_PART <= size <= header.cluster_size or size & (size - 1):
        raise GenericError(
            f"'l2-cache-entry-size' is {size}; it has to be a power of two from {_MIN_PART} to the cluster size, "
            f"which is {header.cluster_size}"
        )
    return size


def clean_interval(options: CacheOptions) -> int:
    """Every how many seconds unused entries are dropped, 0 for never.

    :raises GenericError: it cannot be.
    """
    interval = _DEFAULT_INTERVAL if options.cache_clean_interval is None else options.cache_clean_interval
    if not 0 <= interval <= _MAX_INTERVAL:
        raise GenericError(f"'cache-clean-interval' is {interval}; it has to be from 0 to {_MAX_INTERVAL}")
    return interval
