#!/usr/bin/env python3
"""Full backup of a disk and then an incremental one, as a script for QEMU does it; knows nothing of qmpd.

Usage: backup.py SOCKET DISK COPY
"""

import subprocess
import sys

from qemu.qmp import ConnectError
from qemu.qmp.legacy import QEMUMonitorProtocol


def wait_for_job(qmp: QEMUMonitorProtocol, job: str) -> str:
    """How a job ended: the name of the event that told it."""
    while True:
        event = qmp.pull_event(wait=60.0)
        assert event is not None, "nothing happened for a minute"
        if event["event"] == "BLOCK_JOB_ERROR":
            print(f"{job}: an error of the {event['data']['operation']} kind")
        if event["event"].startswith("BLOCK_JOB_CO") and event["data"]["device"] == job:
            return str(event["event"])


def backup(qmp: QEMUMonitorProtocol, job: str, **options: object) -> None:
    """Run one backup job to its end."""
    arguments: dict[str, object] = {"job-id": job, "device": "disk", "target": "copy", **options}
    reply = qmp.cmd_raw("blockdev-backup", arguments)
    if "error" in reply:
        print(f"{job}: refused, {reply['error']['class']}")
        return
    print(f"{job}: {wait_for_job(qmp, job)}")


def main(socket: str, disk: str, copy: str) -> None:
    """Both backups."""
    qmp = QEMUMonitorProtocol(socket, nickname="backup")
    try:
        greeting = qmp.connect()
    except (ConnectError, OSError) as error:
        sys.exit(f"cannot connect: {error}")
    assert greeting is not None
    qmp.settimeout(60.0)
    print(f"QEMU {greeting['QMP']['version']['qemu']['major']}, {' '.join(greeting['QMP']['capabilities'])}")
    for name, file in (("disk", disk), ("copy", copy)):
        qmp.cmd("blockdev-add", **{"driver": "raw", "node-name": name, "file": {"driver": "file", "filename": file}})
    reply = qmp.cmd_obj({"execute": "block-dirty-bitmap-add", "arguments": {"node": "disk", "name": "b"}, "id": "b1"})
    print(f"bitmap: {reply}")
    address = {"type": "unix", "data": {"path": f"{socket}.nbd"}}
    qmp.cmd("nbd-server-start", addr=address)
    qmp.cmd("block-export-add", **{"type": "nbd", "id": "e", "node-name": "disk", "writable": True})
    backup(qmp, "full", sync="full")
    write = ["qemu-io", "-f", "raw", "-c", "write -P 7 1M 64k", f"nbd+unix:///disk?socket={socket}.nbd"]
    subprocess.run(write, check=True, stdout=subprocess.DEVNULL)
    backup(qmp, "incremental", sync="incremental", bitmap="b")
    backup(qmp, "wrong", sync="incremental", bitmap="nothing")
    qmp.clear_events()
    qmp.cmd("nbd-server-stop")
    print(f"then: {qmp.pull_event(wait=60.0)['event']}")  # type: ignore[index]
    for name in ("disk", "copy"):
        qmp.cmd("blockdev-del", **{"node-name": name})
    print(f"nodes left: {len(qmp.cmd('query-named-block-nodes'))}")  # type: ignore[arg-type]
    qmp.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
