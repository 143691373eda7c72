"""Stream and commit jobs as members of a group: chains of images of which some have to go."""

from __future__ import annotations

import errno
import random
from typing import Any

from qmpd.block import chain
from qmpd.block.node import BlockNode
from qmpd.block.reopen import set_read_only
from qmpd.jobs.state import JobStatus
from tests.jobs.members import CLUSTERS, HALF, LENGTH, Member
from tests.lab import Lab

LAST = CLUSTERS - 4


class OnChain(Member):
    """A job on a disk with a chain of images, the lowest of which is raw; all but the topmost are read-only.

    :ivar images: the names of the images, from the lowest up.
    """

    layers = 4

    async def make(self) -> None:
        self.model = bytearray(self.rng.randbytes(LENGTH))
        self.images = [await self.raw("i0", bytes(self.model))]
        for number in range(1, self.layers):
            fmt = "qcow2" if number > 1 else "raw"
            self.images.append(await self.qcow2(f"i{number}", self.images[-1], fmt))
            # The last four clusters are hidden by no image above, so that some are left when the first is done.
            own = {1: [LAST, LAST + 1], 2: [LAST + 2, LAST + 3]}.get(number, [])
            await self.fill(self.images[-1], [*self.some_of(0, HALF, 1), *self.some_of(HALF, LAST, 0), *own])
        async with self.lab.graph.exclusive():
            for name in self.images[:-1]:
                await set_read_only(self.lab.graph, self.lab.graph.lookup(name), read_only=True)
        self.user = self.lab.guest(self.images[-1])
        self.before = {name: await self.bytes_of(name) for name in self.images}

    def node(self, number: int) -> BlockNode:
        """Image `number`, counted from the lowest or, when negative, from the topmost."""
        return self.lab.graph.lookup(self.images[number])

    def weak_places(self) -> list[tuple[str, str, list[int]]]:
        raise NotImplementedError

    async def fail_at(self, number: int, events: list[str]) -> None:
        """Let the job fail at the next request of an image that brings one of these events."""
        event = self.rng.choice(events)
        self.broken = f"{event} of image {number}"
        self.faults[self.images[number]].at_event(event, 1, self.rng.choice([errno.EIO, errno.ENOSPC]))
        self.hurry()
        await self.lab.until(lambda: self.over)

    def judge_chain(self, *numbers: int) -> None:
        """The disk consists of these images, by the graph and by the headers; only the topmost can be written."""
        node: BlockNode | None = self.node(numbers[0])
        for number in numbers:
            assert node is self.node(number), f"{self.name}: the chain should have {numbers}"
            assert node.read_only is (number != numbers[0]), f"{self.name}: image {number}"
            below = chain.backing_node(node)
            # As the job names it, with its blkdebug node, or as it was made.
            names = {""} if below is None else {below.driver.filename(), str(self.lab.file(below.node_name))}
            assert node.driver.recorded_backing()[0] in names, f"{self.name}: the header of image {number}"
            node = below
        assert node is None
        assert not self.node(numbers[0]).read_only

    async def judge_unchanged(self, *numbers: int) -> None:
        """These images show what they did."""
        for number in numbers:
            name = self.images[number]
            assert await self.bytes_of(name) == self.before[name], f"{self.name}: image {number} has changed"


class Stream(OnChain):
    """The topmost image, or one in the middle, takes over what is below it."""

    command = "block-stream"

    def __init__(self, lab: Lab, name: str, rng: random.Random, *, image: int = 3, base: int | None = None) -> None:
        super().__init__(lab, name, rng)
        self.image, self.base = image, base

    def arguments(self) -> dict[str, Any]:
        base = {} if self.base is None else {"base_node": self.images[self.base]}
        return {"device": self.images[self.image], **base}

    async def fail(self) -> None:
        if self.rng.random() < 0.3:
            await self.fail_at(self.image - 1, ["read_aio"])
        else:
            await self.fail_at(self.image, ["write_aio", "cluster_alloc"])

    async def judge(self, success: bool) -> None:
        taken = range(self.image - 1, -1 if self.base is None else self.base, -1)
        await self.judge_unchanged(*range(self.layers - 1))
        self.judge_chain(*(at for at in range(self.layers - 1, -1, -1) if not success or at not in taken))


class Commit(OnChain):
    """Images in the middle go into one below them."""

    command = "block-commit"

    def __init__(self, lab: Lab, name: str, rng: random.Random, *, top: int, base: int) -> None:
        super().__init__(lab, name, rng)
        self.top, self.base = top, base

    def arguments(self) -> dict[str, Any]:
        return {"device": self.images[-1], "top_node": self.images[self.top], "base_node": self.images[self.base]}

    async def fail(self) -> None:
        if self.rng.random() < 0.3:
            await self.fail_at(self.top, ["read_aio"])
        else:
            await self.fail_at(self.base, ["write_aio", "cluster_alloc"] if self.base else ["pwritev"])

    async def judge(self, success: bool) -> None:
        gone = range(self.top, self.base, -1)
        self.judge_chain(*(at for at in range(self.layers - 1, -1, -1) if not success or at not in gone))
        if success:
            assert await self.bytes_of(self.images[self.base]) == self.before[self.images[self.top]]


class ActiveCommit(OnChain):
    """The layer that the guest writes to goes into the base; the guest follows, or not (`soft`)."""

    command = "block-commit"

    def __init__(self, lab: Lab, name: str, rng: random.Random, *, base: int, soft: bool = False) -> None:
        super().__init__(lab, name, rng)
        self.base, self.soft = base, soft

    def arguments(self) -> dict[str, Any]:
        return {"device": self.images[-1], "base_node": self.images[self.base]}

    async def succeed(self) -> None:
        self.hurry()
        await self.lab.until(lambda: self.over or self.job.status is JobStatus.READY)
        await self.write()
        if self.soft:
            await self.lab.execute("block-job-cancel", device=self.job_id)
        else:
            await self.lab.execute("job-complete", id=self.job_id)
        await self.lab.until(lambda: self.over)

    async def fail(self) -> None:
        if self.rng.random() < 0.3:
            await self.fail_at(2, ["read_aio"])
        else:
            await self.fail_at(self.base, ["write_aio"] if self.base else ["pwritev"])

    async def judge(self, success: bool) -> None:
        if success and not self.soft:
            assert self.user.node is self.node(self.base)
            self.judge_chain(*range(self.base, -1, -1))
        else:
            self.judge_chain(*range(self.layers - 1, -1, -1))
        if success:
            assert await self.bytes_of(self.images[self.base]) == self.model


CHAIN_KINDS: dict[str, tuple[type[Member], dict[str, Any]]] = {
    "stream all": (Stream, {}),
    "stream to a base": (Stream, {"base": 1}),
    "stream in the middle": (Stream, {"image": 2, "base": 0}),
    "commit": (Commit, {"top": 2, "base": 1}),
    "commit to raw": (Commit, {"top": 2, "base": 0}),
    "commit below": (Commit, {"top": 1, "base": 0}),
    "active commit": (ActiveCommit, {"base": 1}),
    "active commit to raw": (ActiveCommit, {"base": 0}),
    "active commit, left": (ActiveCommit, {"base": 1, "soft": True}),
}
"""What a job on a chain can be."""
