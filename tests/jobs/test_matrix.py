"""The job group with real jobs of every kind: every order of success, failure and cancellation, and what is left.

A failure is a request of a disk that fails (blkdebug). Each case is made from a seed, which is part of its name; a
soak runs all cases that `QMPD_SEEDS` does not choose.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from pathlib import Path

import pytest

from tests import invariants
from tests.jobs.chain_members import CHAIN_KINDS
from tests.jobs.members import KINDS, Member, make_member
from tests.lab import Lab, seeds

KINDS.update(CHAIN_KINDS)
ENDS = ("success", "failure", "cancel")


async def bring_down(members: list[Member], ends: tuple[str, ...], order: tuple[int, ...]) -> int | None:
    """Let the members end in `order`; gives the one who took the group down, None when all succeeded."""
    for index in order:
        member = members[index]
        for other in members:
            if not other.over:
                await other.write()
        if ends[index] == "success":
            await member.succeed()
            continue
        await (member.fail() if ends[index] == "failure" else member.cancel())
        return index
    return None


def told(lab: Lab, member: Member) -> str:
    """The one event that tells how a job ended."""
    ends = [line for line in lab.events.of(member.job_id) if line.startswith(("COMPLETED", "CANCELLED"))]
    assert len(ends) == 1, lab.events.of(member.job_id)
    return ends[0].partition(" ")[0] + (" with error" if "(" in ends[0] else "")


async def run_group(
    path: Path, rng: random.Random, kinds: list[str], ends: tuple[str, ...], order: tuple[int, ...]
) -> None:
    """One case, from an empty daemon to an empty daemon."""
    lab = Lab(path)
    try:
        members = [make_member(kind, lab, f"m{number}", rng) for number, kind in enumerate(kinds)]
        for member in members:
            await member.make()
            await member.write()
        nodes = set(lab.graph.nodes)
        group = lab.jobs.shared = lab.jobs.new_transaction()
        for member in members:
            await member.start()
            await member.write()
            invariants.check(lab.graph, lab.jobs)
        culprit = await bring_down(members, ends, order)
        await group.wait_settled()
        lab.jobs.shared = None
        check_events(lab, members, ends, culprit)
        invariants.check_at_rest(lab.graph, lab.jobs)
        invariants.check_files(lab.graph, path)
        assert culprit is None or set(lab.graph.nodes) == nodes
        for member in members:
            await member.finish(culprit is None)
            await member.write()
            assert await lab.content(member.user) == member.model
            member.user.detach()
        assert asyncio.all_tasks() == {asyncio.current_task()}
    finally:
        await lab.close()
    assert not lab.graph.nodes and not invariants.open_files(path)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("qmpd")]


def check_events(lab: Lab, members: list[Member], ends: tuple[str, ...], culprit: int | None) -> None:
    """Each job told the end that it had."""
    expected = ["COMPLETED" if culprit is None else "CANCELLED"] * len(members)
    if culprit is not None and ends[culprit] == "failure":
        expected[culprit] = "COMPLETED with error"
    assert [told(lab, member) for member in members] == expected, [member.broken for member in members]


def possible(kind: str, end: str) -> bool:
    """A backup with sync=none never ends by itself."""
    return end != "success" or kind != "backup none"


SINGLES = [(kind, end) for kind in KINDS for end in ENDS if possible(kind, end)]


@pytest.mark.parametrize("seed", seeds(1, 40))
@pytest.mark.parametrize(("kind", "end"), SINGLES)
async def test_one_job(tmp_path: Path, kind: str, end: str, seed: int) -> None:
    await run_group(tmp_path, random.Random(f"{kind} {end} {seed}"), [kind], (end,), (0,))


@pytest.mark.parametrize("seed", seeds(30, 3000))
async def test_a_group(tmp_path: Path, seed: int) -> None:
    """Two or three jobs of any kinds, with any ends, in any order."""
    rng = random.Random(seed)
    kinds = [rng.choice(list(KINDS)) for _ in range(rng.choice([2, 3]))]
    # Half of the groups succeed, as far as they can: otherwise almost none of three would.
    ends = tuple(rng.choice([end for end in ENDS if possible(kind, end)]) for kind in kinds)
    if rng.random() < 0.4:
        kinds = [rng.choice([kind for kind in KINDS if possible(kind, "success")]) for _ in kinds]
        ends = ("success",) * len(kinds)
    order = rng.choice(list(itertools.permutations(range(len(kinds)))))
    print(f"seed {seed}: {kinds} end with {ends} in the order {order}")
    await run_group(tmp_path, rng, kinds, ends, order)
