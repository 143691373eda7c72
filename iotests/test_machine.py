"""The questions that tools ask first, on qmpd and on a QEMU without a machine."""

from typing import Any

import pytest

from iotests.harness import Server

pytestmark = pytest.mark.peer("qemu")

SAME: dict[str, Any] = {
    "query-uuid": {"UUID": "00000000-0000-0000-0000-000000000000"},
    "query-current-machine": {"wakeup-suspend-support": False},
    "query-cpus-fast": [],
    "query-memory-size-summary": {"base-memory": 0, "plugged-memory": 0},
    "query-memory-devices": [],
    "query-memdev": [],
    "query-tpm": [],
    "query-vnc": {"enabled": False},
    "query-vnc-servers": [],
    "query-mice": [],
    "query-pci": [],
    "query-dump": {"status": "none", "completed": 0, "total": 0},
    "query-migrate": {},
    "query-rx-filter": [],
    "query-pr-managers": [],
    "query-fdsets": [],
    "query-iothreads": [],
    "query-name": {},
}


def test_there_is_none(server: Server) -> None:
    """Where there is nothing to tell of, both say so alike."""
    answers = {name: server.qmp.command(name) for name in SAME}
    assert answers == SAME


def test_what_differs_from_a_machine(server: Server) -> None:
    """What QEMU could do and qmpd could not; the shape is the same."""
    assert server.qmp.command("query-kvm")["enabled"] is False
    assert "arch" in server.qmp.command("query-target")
    assert "none" in {machine["name"] for machine in server.qmp.command("query-machines")}
    assert isinstance(server.qmp.command("query-cpu-definitions"), list)
    assert isinstance(server.qmp.command("query-tpm-models"), list)
    assert isinstance(server.qmp.command("query-tpm-types"), list)
    assert server.qmp.command("query-sev")["enabled"] is False
    assert all(not entry["state"] for entry in server.qmp.command("query-migrate-capabilities"))
    assert "formats" in server.qmp.command("query-dump-guest-memory-capability")
    # Not every QEMU is built with SPICE.
    if "query-spice" in {entry["name"] for entry in server.qmp.command("query-commands")}:
        assert server.qmp.command("query-spice")["enabled"] is False


def test_refusals(server: Server) -> None:
    server.qmp.refused("query-balloon", error_class="DeviceNotActive")
    server.qmp.refused("query-hotpluggable-cpus")
    server.qmp.refused("query-rx-filter", name="net0")
    server.qmp.refused("query-command-line-options", option="nonsense")


def test_iothreads(server: Server) -> None:
    server.qmp.command("object-add", qom_type="iothread", id="t0", poll_max_ns=5)
    (thread,) = server.qmp.command("query-iothreads")
    assert (thread["id"], thread["poll-max-ns"], thread["aio-max-batch"]) == ("t0", 5, 0)
    assert thread["thread-id"] > 0


def test_options(server: Server) -> None:
    (drive,) = server.qmp.command("query-command-line-options", option="drive")
    parameters = {parameter["name"]: parameter["type"] for parameter in drive["parameters"]}
    assert (parameters["file"], parameters["copy-on-read"], parameters["throttling.bps-total"]) == (
        "string",
        "boolean",
        "number",
    )
    assert server.qmp.command("query-command-line-options", option="device") == [{"option": "device", "parameters": []}]
    names = {entry["option"] for entry in server.qmp.command("query-command-line-options")}
    assert {"drive", "device", "object", "chardev"} <= names
