"""Loads on the monitor: round trips, pipelines, transactions, start-up and memory.

The client is a bare socket that sends bytes prepared beforehand and counts newlines, so that it costs next to
nothing beside the server.
"""

import contextlib
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.stage import MIB, Stage
from iotests.harness import Server

_RECEIVE = 1 << 20


def request(command: str, **arguments: Any) -> bytes:
    """A command as it goes over the wire."""
    message: dict[str, Any] = {"execute": command}
    if arguments:
        message["arguments"] = arguments
    return json.dumps(message).encode() + b"\r\n"


def bare_socket(server: Server) -> socket.socket:
    """The harness's negotiated session without the harness: its socket, blocking."""
    taken = server.qmp.detach()
    taken.settimeout(120)
    return taken


def receive_lines(connection: socket.socket, number: int) -> None:
    """Read until that many lines have come."""
    while number > 0:
        chunk = connection.recv(_RECEIVE)
        if not chunk:
            raise ConnectionError("the server hung up during a measurement")
        number -= chunk.count(b"\n")


def round_trips(server: Server, command: bytes, seconds: float) -> float:
    """Commands a second of one client that waits for each reply."""
    connection = bare_socket(server)
    for _ in range(50):
        connection.sendall(command)
        receive_lines(connection, 1)
    done = 0
    start = time.perf_counter()
    deadline = start + seconds
    while (now := time.perf_counter()) < deadline:
        for _ in range(20):
            connection.sendall(command)
            receive_lines(connection, 1)
        done += 20
    return done / (now - start)


def query_version(stage: Stage) -> float:
    """The cheapest command."""
    with stage.server() as server:
        return round_trips(server, request("query-version"), stage.sizes.load_time)


def query_jobs(stage: Stage) -> float:
    """A command that looks at state: no job runs."""
    with stage.server() as server:
        return round_trips(server, request("query-jobs"), stage.sizes.load_time)


def query_file_nodes(stage: Stage) -> float:
    """A large reply: 50 file nodes."""
    with stage.server() as server:
        for disk in stage.small:
            server.qmp.command("blockdev-add", driver="file", node_name=disk.name, filename=str(disk.path))
        return round_trips(server, request("query-named-block-nodes"), stage.sizes.load_time)


def query_null_nodes(stage: Stage) -> float:
    """A large reply: 50 null-co nodes."""
    with stage.server() as server:
        for number in range(50):
            server.add_null(f"null{number}", MIB)
        return round_trips(server, request("query-named-block-nodes"), stage.sizes.load_time)


def pipelined(stage: Stage) -> float:
    """Commands a second of one client that does not wait for replies."""
    number = stage.sizes.pipelined
    with stage.server() as server:
        connection = bare_socket(server)
        receiver = threading.Thread(target=receive_lines, args=(connection, number))
        load = request("query-version") * number
        start = time.perf_counter()
        receiver.start()
        connection.sendall(load)
        receiver.join()
        return number / (time.perf_counter() - start)


def bitmap_transaction(stage: Stage) -> float:
    """Milliseconds for a transaction of 200 bitmap actions: 200 bitmaps added, or 200 removed."""
    names = [f"bitmap{number}" for number in range(200)]

    def transaction(kind: str) -> bytes:
        actions = [{"type": kind, "data": {"node": "disk", "name": name}} for name in names]
        return request("transaction", actions=actions)

    with stage.server() as server:
        server.add_raw(stage.sparse, "disk")
        connection = bare_socket(server)
        pair = transaction("block-dirty-bitmap-add"), transaction("block-dirty-bitmap-remove")
        start = time.perf_counter()
        for _ in range(stage.sizes.transactions // 2):
            for command in pair:
                connection.sendall(command)
                receive_lines(connection, 1)
        return (time.perf_counter() - start) * 1000 / stage.sizes.transactions


def start_to_greeting(stage: Stage) -> float:
    """Milliseconds from starting the process to its greeting."""
    with stage.server(start=False) as server:
        start = time.perf_counter()
        server.spawn()
        greeting = _first_bytes(server.monitor_paths[0])
        elapsed = time.perf_counter() - start
        assert b"QMP" in greeting
        return elapsed * 1000


def _first_bytes(path: Path) -> bytes:
    deadline = time.perf_counter() + 60
    while time.perf_counter() < deadline:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            client.connect(str(path))
            return client.recv(_RECEIVE)
        time.sleep(0.0005)  # there is no event for "a path appeared and somebody listens there"
    raise TimeoutError(path)


def idle_memory(stage: Stage) -> float:
    """MiB resident with one session and nothing to do."""
    with stage.server() as server:
        server.qmp.command("query-version")
        status = Path(f"/proc/{server.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024
