"""State directories and images that something has happened to: nothing passes for true that is not."""

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.images import Disk
from iotests.harness.state import Place, replay

pytestmark = pytest.mark.qmpd_only("qemu-storage-daemon keeps no state")


@pytest.fixture
def place(launch: Launcher, scratch: Scratch) -> Place:
    return Place(launch, scratch)


@pytest.fixture
def disk(scratch: Scratch) -> Disk:
    return scratch.disk("disk")


def start_with_bitmap(place: Place, disk: Disk) -> Server:
    """A daemon with the disk `disk`, which has the persistent bitmap `bits`."""
    server = place.start()
    server.add_raw(disk, "disk")
    server.qmp.command("block-dirty-bitmap-add", node="disk", name="bits", persistent=True)
    return server


def is_inconsistent(server: Server, node: str = "disk") -> bool:
    """Whether the bitmap says that it does not know everything."""
    return bool(server.bitmaps(node)["bits"].get("inconsistent"))


class TestHostCrash:
    """The host went down under a daemon."""

    def test_bits_are_not_trusted(self, place: Place, disk: Disk) -> None:
        start_with_bitmap(place, disk).kill()
        place.reboot()
        assert is_inconsistent(place.start())

    def test_the_first_start_fails(self, place: Place, disk: Disk) -> None:
        """The second one finds out as much as the first, not that all is well in this boot of the host."""
        start_with_bitmap(place, disk).kill()
        place.reboot()
        place.change_catalog("CREATE TRIGGER refuse BEFORE UPDATE ON bitmaps BEGIN SELECT RAISE(ABORT, 'no'); END")
        place.refuses()
        place.change_catalog("DROP TRIGGER refuse")
        assert is_inconsistent(place.start())


class TestUnsent:
    """Events that could not be stored before the end."""

    def test_a_line_that_is_cut_off(self, place: Place) -> None:
        assert place.start().terminate() == 0
        whole = b'{"seq": 50, "time_us": 1, "name": "STOP", "data": {}}'
        unsent = place.path / "unsent.jsonl"
        unsent.write_bytes(b'{"seq": 49}\n[]\n' + whole + b"\n" + whole[:20])
        server = place.start()
        assert [event["seq"] for event in replay(server.qmp, 0)] == [50]
        assert not unsent.exists()
