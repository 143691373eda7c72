"""What tests of the kept state ask: how a server looks, which events there were, how jobs have ended."""

from typing import Any

from iotests.harness.qmp import QMPClient
from iotests.harness.servers import Server

_QUERIES = ("query-named-block-nodes", "query-block-exports", "query-block", "query-jobs")


def look(server: Server) -> dict[str, Any]:
    """What queries tell, but for the space that files take.

    Bitmaps come by name: those that images store change their places once, as with QEMU.
    """
    answers = {name: server.qmp.command(name) for name in _QUERIES}
    answers["objects"] = objects_of(server)
    for node in answers["query-named-block-nodes"]:
        _forget_sizes(node["image"])
        node.get("dirty-bitmaps", []).sort(key=lambda bitmap: bitmap["name"])
    return answers


def objects_of(server: Server) -> list[dict[str, str]]:
    """The objects that clients have made. What they are below comes with the first one, and stays."""
    if not any(found["name"] == "objects" for found in server.qmp.command("qom-list", path="/")):
        return []
    found: list[dict[str, str]] = server.qmp.command("qom-list", path="/objects")
    return [one for one in found if one["name"] != "type"]


def _forget_sizes(image: dict[str, Any]) -> None:
    """Leave out what the closing of an image changes: its size on disk, and the bitmaps that it stores then."""
    for name in ("actual-size", "virtual-size") if image["format"] == "file" else ("actual-size",):
        image.pop(name, None)
    image.get("format-specific", {}).get("data", {}).pop("bitmaps", None)
    if "backing-image" in image:
        _forget_sizes(image["backing-image"])


def replay(client: QMPClient, since: int) -> list[dict[str, Any]]:
    """All events after number `since`."""
    found: list[dict[str, Any]] = []
    while True:
        part = client.command("replay-events", since=since, limit=7)
        found += part["events"]
        if not part["events"] or part["events"][-1]["seq"] == part["last"]:
            return found
        since = part["events"][-1]["seq"]


def outcomes(server: Server) -> list[str]:
    """How all jobs have ended; that is stored a little later than it is told."""
    while True:
        found = [job["outcome"] for job in server.qmp.command("catalog-query-jobs")]
        if "running" not in found:
            return found
        server.check()
