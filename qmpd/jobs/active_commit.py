"""The commit job for the active layer of a disk: a mirror into the base of the disk's own chain.

It becomes ready, keeps up with what is written, and lets the users of the disk go over to the base when it is
completed. The base is read-only again when the job has ended in any other way.
"""

from __future__ import annotations

from qmpd.block import chain
from qmpd.block.layers import stored_above
from qmpd.block.reopen import read_only_afterwards
from qmpd.jobs.backing_names import BackingNames
from qmpd.jobs.mirror import MirrorJob

_WINDOW = 256 << 20


class ActiveCommitJob(MirrorJob):
    """One commit of an active layer. Made by `create`, like a mirror.

    :ivar base_was_read_only: whether the base shall be so again when the job has come to nothing.
    """

    job_type = "commit"
    base_was_read_only = False
    _switched = False
    _names: BackingNames | None = None

    async def fit_target(self) -> None:
        """Make a base that is too short as long as the disk; one that is longer stays so."""
        if self._target.length < self._source.length:
            await self._target.truncate(self._source.length)

    async def _find_work(self) -> None:
        base = chain.skip_filters(self._target)
        offset, length = 0, self._source.length
        while offset < length:
            step = min(_WINDOW, length - offset)
            extents = await self._source.map_ranges([(offset, step)])
            for start, size in stored_above(self._source, base, extents):
                self.copy.mark(start, size)
            offset += step
            await self.pause_point()
        self.progress.set_remaining(self.copy.remaining)

    async def settle_backing(self) -> None:
        await super().settle_backing()
        if not self._completing or self._filter is None:
            return
        # Not the disk's own top, but an image in its chain that somebody writes to: what stands on it moves as well.
        self._names = BackingNames(self._graph)
        base = chain.skip_filters(self._target).driver
        for overlay in chain.overlays(self._filter):
            await self._names.change(overlay, base.filename(), base.format_name)

    def abort(self) -> None:
        super().abort()
        if self._names is not None:
            self._names.put_back()

    def switch(self) -> None:
        super().switch()
        self._switched = True

    def clean(self) -> None:
        super().clean()
        if self.base_was_read_only and (self.txn.failed or not self._switched):
            read_only_afterwards(self._graph, self._target)
