"""Waiting on purpose, and the hurry that ends it."""

from __future__ import annotations

import asyncio

from tests.block.conftest import Bench, read

YEARS = 10**17


async def test_requests_take_their_time_until_there_is_hurry(bench: Bench) -> None:
    node = await bench.add(**{"driver": "null-co", "node-name": "n", "size": 4096, "latency-ns": YEARS})
    waiting = [asyncio.ensure_future(read(node, 0, 512)), asyncio.ensure_future(node.flush())]
    await asyncio.sleep(0)
    assert not any(request.done() for request in waiting)
    bench.graph.hurry()
    async with asyncio.timeout(30):
        await asyncio.gather(*waiting)
        await node.flush()


async def test_a_cancelled_request_leaves_no_delay(bench: Bench) -> None:
    node = await bench.add(**{"driver": "null-co", "node-name": "n", "size": 4096, "latency-ns": YEARS})
    request = asyncio.ensure_future(read(node, 0, 512))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.wait([request])
    bench.graph.hurry()


async def test_short_delays_pass(bench: Bench) -> None:
    node = await bench.add(**{"driver": "null-co", "node-name": "n", "size": 4096, "latency-ns": 1000})
    assert len(await read(node, 0, 512)) == 512
