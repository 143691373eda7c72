"""block-stream and block-commit: chains of images made shorter, judged by what the disk shows before and after."""

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from iotests.harness import Launcher, Scratch, Server
from iotests.harness.chains import SIZE, Chain, Load
from iotests.harness.images import MIB
from iotests.harness.tools import qemu_img, run

SLOW = 1024
GOOD_END = ("waiting", "pending", "BLOCK_JOB_COMPLETED", "concluded", "null")
CANCELLED = ("aborting", "BLOCK_JOB_CANCELLED", "concluded", "null")


def story(server: Server, job: str = "j") -> list[str]:
    """What a job has announced, without the moments in which other operations made it stand still."""
    words = []
    for event in server.qmp.events:
        if event.data.get("id") == job and event.name == "JOB_STATUS_CHANGE":
            words.append(event.data["status"])
        elif job in (event.data.get("device"), event.data.get("id")):
            words.append(event.name)
    return [word for word, after in zip(words, [*words[1:], ""], strict=True) if (word, after) != ("paused", "running")]


def run_job(server: Server, command: str, **arguments: Any) -> None:
    """Run a job of the name `j` to its end."""
    server.qmp.command(command, job_id="j", **arguments)
    server.qmp.wait_job("j", "null")


def read_only(server: Server) -> dict[str, bool]:
    """Which of the nodes with names are read-only."""
    nodes = server.qmp.command("query-named-block-nodes", flat=True)
    return {node["node-name"]: node["ro"] for node in nodes if not node["node-name"].startswith("#")}


def backing(server: Server) -> dict[str, str | None]:
    """Which node backs which, from the graph."""
    graph = server.qmp.command("x-debug-query-block-graph")
    names = {node["id"]: node["name"] for node in graph["nodes"]}
    edges = {names[edge["parent"]]: names[edge["child"]] for edge in graph["edges"] if edge["name"] == "backing"}
    return {name: edges.get(name) for name in names.values() if name.startswith("i") and name[1:].isdigit()}


def ended(server: Server) -> None:
    """End the server, so that all that it has in memory is in the images."""
    assert server.terminate() == 0


@pytest.fixture
def images(scratch: Scratch) -> Chain:
    """Four images of the same size."""
    return Chain(scratch, [SIZE] * 4)


class TestStream:
    """An image takes over the data of those below it."""

    def test_down_to_a_base(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        run_job(server, "block-stream", device="i3", base_node="i1")
        assert story(server) == ["created", "running", *GOOD_END]
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i1"}
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i1.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_the_whole_chain(self, server: Server, images: Chain) -> None:
        images.add_top_to(server)
        run_job(server, "block-stream", device="i3")
        assert backing(server) == {"i3": None}
        assert sorted(name[0] for name in server.node_names()) == ["#", "i"]
        ended(server)
        for path in images.paths[:3]:
            path.unlink()
        assert images.backing_names(images.paths[3]) == ["i3.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_by_bottom(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        run_job(server, "block-stream", device="i3", bottom="i2")
        assert backing(server)["i3"] == "i1"
        ended(server)
        images.assert_shows_model(images.paths[3])

    def test_by_file_name_with_another_backing_name(self, server: Server, images: Chain, scratch: Scratch) -> None:
        (scratch / "link.qcow2").symlink_to(images.paths[0])
        images.add_top_to(server)
        run_job(server, "block-stream", device="i3", base=str(images.paths[0]), backing_file="link.qcow2")
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "link.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_an_image_in_the_middle(self, server: Server, images: Chain) -> None:
        """It is made writable for as long as the job works."""
        images.add_to(server)
        server.qmp.command("block-stream", job_id="j", device="i2", base_node="i0", speed=SLOW)
        assert read_only(server) == {"i0": True, "i1": True, "i2": False, "i3": False}
        server.qmp.command("block-job-set-speed", device="j", speed=0)
        server.qmp.wait_job("j", "null")
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False}
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i0", "i3": "i2"}
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i2.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_nothing_to_do(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        for device, arguments in (("i0", {}), ("i3", {"bottom": "i3"}), ("i2", {"base_node": "i1"})):
            server.qmp.forget_events()
            run_job(server, "block-stream", device=device, **arguments)
            assert server.qmp.seen("BLOCK_JOB_COMPLETED")[0].data["len"] == 0
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}

    @pytest.mark.parametrize("option", ["cluster_size=4k", "extended_l2=on", "compat=0.10"])
    def test_under_load(self, server: Server, scratch: Scratch, option: str) -> None:
        if server.kind == "qsd" and option == "extended_l2=on":
            pytest.skip("QEMU 7.2 may fall over an assertion of its own")
        images = Chain(scratch, [SIZE] * 3, options=("-o", option))
        images.add_to(server)
        server.export("i2")
        with Load(server, images, "i2") as load:
            load.go_on(20)
            server.qmp.command("block-stream", job_id="j", device="i2", base_node="i0", speed=SLOW)
            load.go_on(50)
            server.qmp.command("block-job-pause", device="j")
            load.go_on(20)
            server.qmp.command("block-job-set-speed", device="j", speed=0)
            server.qmp.command("block-job-resume", device="j")
            server.qmp.wait_job("j", "null")
            load.go_on(20)
        ended(server)
        assert images.backing_names(images.paths[2]) == ["i2.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[2])

    def test_cancelled(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        nodes = server.node_names()
        server.qmp.command("block-stream", job_id="j", device="i3", speed=SLOW)
        assert len(server.node_names()) == len(nodes) + 1
        server.qmp.command("block-job-cancel", device="j")
        server.qmp.wait_job("j", "null")
        assert story(server) == ["created", "running", *CANCELLED]
        assert server.node_names() == nodes
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}
        ended(server)
        images.assert_shows_model(images.paths[3])

    def test_cancelled_when_pending(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.qmp.command("block-stream", job_id="j", device="i3", auto_finalize=False, filter_node_name="filter")
        server.qmp.wait_job("j", "pending")
        assert "filter" in server.node_names()
        server.qmp.command("job-cancel", id="j")
        server.qmp.wait_job("j", "null")
        assert backing(server)["i3"] == "i2" and "filter" not in server.node_names()
        ended(server)
        assert images.backing_names(images.paths[3])[1] == "i2.qcow2"
        images.assert_shows_model(images.paths[3])

    def test_disjoint_pieces_of_one_chain(self, server: Server, scratch: Scratch) -> None:
        images = Chain(scratch, [SIZE] * 6)
        images.add_to(server)
        server.qmp.command("block-stream", job_id="upper", device="i5", base_node="i3", speed=SLOW)
        server.qmp.command("block-stream", job_id="lower", device="i2", base_node="i0", speed=SLOW)
        for device, base in (("i5", "i4"), ("i4", "i0"), ("i2", "i1"), ("i1", "i0")):
            server.qmp.refused("block-stream", job_id="j", device=device, base_node=base)
        for job in ("upper", "lower"):
            server.qmp.command("block-job-set-speed", device=job, speed=0)
            server.qmp.wait_job(job, "null")
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i0", "i3": "i2", "i4": "i3", "i5": "i3"}
        ended(server)
        assert images.backing_names(images.paths[5]) == ["i5.qcow2", "i3.qcow2", "i2.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[5])

    @pytest.mark.parametrize("sizes", [(2, 4, 4), (4, 2, 4), (4, 4, 2)])
    def test_images_of_different_sizes(self, server: Server, scratch: Scratch, sizes: tuple[int, ...]) -> None:
        if server.kind == "qsd" and sizes == (4, 2, 4):
            pytest.skip("QEMU 7.2 lets the base show where the image between is too short")
        images = Chain(scratch, [size * MIB for size in sizes])
        images.add_to(server)
        run_job(server, "block-stream", device="i2", base_node="i0")
        ended(server)
        images.assert_shows_model(images.paths[2])

    def test_refusals(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.add_null("null", SIZE)
        for arguments in (
            {"job-id": "j", "device": "none"},
            {"device": "i3"},
            {"job-id": "1x", "device": "i3"},
            {"job-id": "j", "device": "i3", "base-node": "none"},
            {"job-id": "j", "device": "i3", "base-node": "null"},
            {"job-id": "j", "device": "i3", "base-node": "i3"},
            {"job-id": "j", "device": "i1", "base-node": "i2"},
            {"job-id": "j", "device": "i3", "base": "none"},
            {"job-id": "j", "device": "i3", "base": "i1", "base-node": "i1"},
            {"job-id": "j", "device": "i3", "base": "i1", "bottom": "i1"},
            {"job-id": "j", "device": "i3", "base-node": "i1", "bottom": "i1"},
            {"job-id": "j", "device": "i3", "bottom": "none"},
            {"job-id": "j", "device": "i3", "bottom": "null"},
            {"job-id": "j", "device": "i3", "backing-file": "name"},
            {"job-id": "j", "device": "i3", "speed": -1},
            {"job-id": "j", "device": "i3", "filter-node-name": "i1"},
            {"job-id": "j", "device": "i3", "filter-node-name": "1x"},
            {"job-id": "j", "device": "i3", "on-error": "perhaps"},
        ):
            server.qmp.refused("block-stream", arguments)
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}
        assert not server.qmp.command("query-jobs")

    def test_what_is_in_use_is_refused(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.qmp.command("block-stream", job_id="j", device="i3", base_node="i1", speed=SLOW)
        for node in ("i3", "i2", "i1"):
            server.qmp.refused("blockdev-del", node_name=node)
        server.qmp.refused("block_resize", node_name="i3", size=SIZE)
        server.qmp.refused("change-backing-file", device="i3", image_node_name="i3", backing_file="x")
        server.qmp.refused("block-commit", job_id="k", device="i3", base_node="i0", top_node="i1")
        server.qmp.command("job-cancel", id="j")
        server.qmp.wait_job("j", "null")


class TestCommit:
    """The data of images goes into one below them."""

    def test_intermediate(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        run_job(server, "block-commit", device="i3", top_node="i2", base_node="i0")
        assert story(server) == ["created", "running", *GOOD_END]
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i0"}
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False}
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_by_file_names(self, server: Server, images: Chain) -> None:
        images.add_top_to(server)
        top, base = str(images.paths[2]), str(images.paths[1])
        run_job(server, "block-commit", device="i3", top=top, base=base, backing_file="i1.qcow2")
        assert len([node for node in server.node_names() if node.startswith("#")]) == 5
        ended(server)
        images.paths[2].unlink()
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i1.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_below_a_read_only_image(self, server: Server, images: Chain) -> None:
        """Its header has to be written all the same."""
        images.add_to(server)
        run_job(server, "block-commit", device="i3", top_node="i1", base_node="i0")
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False}
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i2.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_intermediate_under_load(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.export("i3")
        with Load(server, images, "i3") as load:
            load.go_on(20)
            server.qmp.command("block-commit", job_id="j", device="i3", top_node="i2", speed=SLOW)
            load.go_on(50)
            server.qmp.command("block-job-set-speed", device="j", speed=0)
            server.qmp.wait_job("j", "null")
            load.go_on(20)
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_a_reader_of_the_top_goes_on(self, server: Server, images: Chain) -> None:
        """An export of an image that leaves the chain shows the base, with the same contents, from then on."""
        images.add_to(server)
        uri = server.export("i2", writable=False)
        shown = Path(images.scratch / "shown.raw")
        qemu_img("convert", "-f", "raw", "-O", "raw", uri, shown)
        server.qmp.refused("block-commit", job_id="k", device="i3", top_node="i1", base_node="i2")
        run_job(server, "block-commit", device="i3", top_node="i2", base_node="i0")
        assert "identical" in qemu_img("compare", "-f", "raw", "-F", "raw", shown, uri)
        server.qmp.command("block-export-del", id="export-i2")

    def test_a_reader_in_between_is_refused(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.export("i1", writable=False)
        server.qmp.refused("block-commit", job_id="j", device="i3", top_node="i2", base_node="i0")
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False}
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}

    @pytest.mark.parametrize("sizes", [(2, 4, 4, 4), (4, 2, 4, 4), (4, 4, 2, 4)])
    def test_images_of_different_sizes(self, server: Server, scratch: Scratch, sizes: tuple[int, ...]) -> None:
        if server.kind == "qsd" and sizes[2] < sizes[3]:
            pytest.skip("QEMU 7.2 lets the base show beyond the end of a shorter top")
        images = Chain(scratch, [size * MIB for size in sizes])
        images.add_to(server)
        run_job(server, "block-commit", device="i3", top_node="i2", base_node="i0")
        ended(server)
        images.assert_shows_model(images.paths[3])

    def test_cancelled(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        nodes = server.node_names()
        server.qmp.command("block-commit", job_id="j", device="i3", top_node="i2", speed=SLOW)
        assert read_only(server) == {"i0": False, "i1": True, "i2": True, "i3": False}
        server.qmp.command("block-job-cancel", device="j")
        server.qmp.wait_job("j", "null")
        assert story(server) == ["created", "running", *CANCELLED]
        assert server.node_names() == nodes
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False}
        ended(server)
        assert images.backing_names(images.paths[3])[1] == "i2.qcow2"
        images.assert_shows_model(images.paths[3])

    def test_what_is_in_use_is_refused(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.qmp.command("block-commit", job_id="j", device="i3", top_node="i2", base_node="i1", speed=SLOW)
        for node in ("i3", "i2", "i1", "i0"):
            server.qmp.refused("blockdev-del", node_name=node)
        for arguments in ({"top-node": "i2"}, {"top-node": "i2", "base-node": "i1"}, {}):
            server.qmp.refused("block-commit", {"job-id": "k", "device": "i3", **arguments})
        for device in ("i3", "i2", "i1"):
            server.qmp.refused("block-stream", job_id="k", device=device)
        server.qmp.refused("block_resize", node_name="i1", size=SIZE)
        server.qmp.refused("change-backing-file", device="i3", image_node_name="i3", backing_file="x")
        server.qmp.refused("block-job-complete", device="j")
        server.qmp.command("job-cancel", id="j")
        server.qmp.wait_job("j", "null")
        run_job(server, "block-stream", device="i3")

    def test_refusals(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.add_null("null", SIZE)
        server.qmp.refused("block-commit", job_id="j", device="none", error_class="DeviceNotFound")
        for arguments in (
            {"device": "i3", "top-node": "i2"},
            {"job-id": "1x", "device": "i3", "top-node": "i2"},
            {"job-id": "j", "device": "null"},
            {"job-id": "j", "device": "i1"},
            {"job-id": "j", "device": "i3", "base-node": "none"},
            {"job-id": "j", "device": "i3", "base-node": "null"},
            {"job-id": "j", "device": "i3", "base-node": "i3"},
            {"job-id": "j", "device": "i3", "base": "none"},
            {"job-id": "j", "device": "i3", "base": "i1", "base-node": "i1"},
            {"job-id": "j", "device": "i3", "top-node": "none"},
            {"job-id": "j", "device": "i3", "top-node": "null"},
            {"job-id": "j", "device": "i3", "top-node": "i1", "base-node": "i2"},
            {"job-id": "j", "device": "i3", "top-node": "i1", "base-node": "i1"},
            {"job-id": "j", "device": "i3", "top": "none"},
            {"job-id": "j", "device": "i3", "top": "i1", "top-node": "i1"},
            {"job-id": "j", "device": "i3", "backing-file": "name"},
            {"job-id": "j", "device": "i3", "top-node": "i2", "speed": -1},
            {"job-id": "j", "device": "i3", "top-node": "i2", "filter-node-name": "i1"},
            {"job-id": "j", "device": "i3", "top-node": "i2", "on-error": "perhaps"},
        ):
            server.qmp.refused("block-commit", arguments)
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}
        assert read_only(server) == {"i0": True, "i1": True, "i2": True, "i3": False, "null": False}
        assert not server.qmp.command("query-jobs")

    def test_a_base_that_cannot_be_written(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        base = subprocess.Popen(
            ["qemu-io", "-r", "-f", "qcow2", images.paths[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert base.stdin is not None and base.stdout is not None
        base.stdin.write(b"length\n")
        base.stdin.flush()
        base.stdout.readline()
        server.qmp.refused("block-commit", job_id="j", device="i3", top_node="i2", base_node="i0")
        base.communicate(b"quit\n")
        run_job(server, "block-commit", device="i3", top_node="i2", base_node="i0")


class TestActiveCommit:
    """The layer that is written to goes into one below it, and its users follow."""

    def test_completed(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.qmp.command("block-commit", job_id="j", device="i3", base_node="i1")
        server.qmp.wait_event("BLOCK_JOB_READY", device="j")
        server.qmp.command("block-job-complete", device="j")
        server.qmp.wait_job("j", "null")
        assert story(server) == ["created", "running", "ready", "BLOCK_JOB_READY", *GOOD_END]
        ended(server)
        images.assert_shows_model(images.paths[1])

    def test_the_whole_chain_under_load(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.export("i3")
        with Load(server, images, "i3") as load:
            load.go_on(20)
            server.qmp.command("block-commit", job_id="j", device="i3")
            load.go_on(50)
            server.qmp.wait_event("BLOCK_JOB_READY", device="j")
            load.go_on(50)
            server.qmp.command("block-job-complete", device="j")
            server.qmp.wait_job("j", "null")
            load.go_on(50)
        for node in ("i3", "i2", "i1"):
            server.qmp.command("blockdev-del", node_name=node)
        server.qmp.refused("blockdev-del", node_name="i0")
        ended(server)
        for path in images.paths[1:]:
            path.unlink()
        images.assert_shows_model(images.paths[0])

    @pytest.mark.parametrize("force", [False, True])
    def test_cancelled(self, server: Server, images: Chain, force: bool) -> None:
        images.add_to(server)
        server.export("i3")
        server.qmp.command("block-commit", job_id="j", device="i3", base_node="i1")
        server.qmp.wait_event("BLOCK_JOB_READY", device="j")
        server.qmp.command("block-job-cancel", device="j", force=force)
        server.qmp.wait_job("j", "null")
        end = CANCELLED if force else GOOD_END
        assert story(server) == ["created", "running", "ready", "BLOCK_JOB_READY", *end]
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}
        with Load(server, images, "i3") as load:
            load.go_on(50)
        ended(server)
        images.assert_shows_model(images.paths[3])

    @pytest.mark.qmpd_only("QEMU 7.2 leaves the base writable")
    def test_the_base_is_read_only_again(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        for force in (False, True):
            server.qmp.forget_events()
            server.qmp.command("block-commit", job_id="j", device="i3", base_node="i1")
            server.qmp.wait_event("BLOCK_JOB_READY", device="j")
            assert not read_only(server)["i1"]
            server.qmp.command("block-job-cancel", device="j", force=force)
            server.qmp.wait_job("j", "null")
            assert read_only(server)["i1"]

    @pytest.mark.parametrize("sizes", [(2, 4, 4), (4, 2, 4)])
    def test_images_of_different_sizes(self, server: Server, scratch: Scratch, sizes: tuple[int, ...]) -> None:
        if server.kind == "qsd" and sizes == (4, 2, 4):
            pytest.skip("QEMU 7.2 lets the base show where the image between is too short")
        images = Chain(scratch, [size * MIB for size in sizes])
        images.add_to(server)
        server.qmp.command("block-commit", job_id="j", device="i2")
        server.qmp.wait_event("BLOCK_JOB_READY", device="j")
        server.qmp.command("block-job-complete", device="j")
        server.qmp.wait_job("j", "null")
        ended(server)
        images.assert_shows_model(images.paths[0])

    @pytest.mark.qmpd_only("QEMU 7.2 lets the image on top name the one that nobody uses any more")
    def test_an_image_in_the_middle_that_is_written_to(self, server: Server, images: Chain) -> None:
        images.add_to(server, **{"read-only": False})
        server.export("i2")
        server.qmp.command("block-commit", job_id="j", device="i3", top_node="i2", base_node="i0")
        server.qmp.wait_event("BLOCK_JOB_READY", device="j")
        server.qmp.command("block-job-complete", device="j")
        server.qmp.wait_job("j", "null")
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i0"}
        ended(server)
        assert images.backing_names(images.paths[3]) == ["i3.qcow2", "i0.qcow2"]
        images.assert_shows_model(images.paths[3])

    def test_a_reader_in_between_is_refused(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.export("i2", writable=False)
        server.qmp.refused("block-commit", job_id="j", device="i3", base_node="i1")
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1", "i3": "i2"}


class TestCopyOnRead:
    """The filter as a node of its own."""

    @pytest.mark.parametrize("bottom", [None, "i2"])
    def test_what_is_read_is_stored(self, server: Server, images: Chain, bottom: str | None) -> None:
        images.add_to(server)
        extra = {} if bottom is None else {"bottom": bottom}
        server.qmp.command("blockdev-add", {"driver": "copy-on-read", "node-name": "filter", "file": "i3", **extra})
        uri = server.export("filter")
        raw = images.scratch / "shown.raw"
        qemu_img("convert", "-f", "raw", "-O", "raw", uri, raw)
        assert raw.read_bytes() == bytes(images.model)
        ended(server)
        images.assert_shows_model(images.paths[3])
        # What was read needs no backing file any more: all of it, or none but the one below the bottom.
        below = images.paths[1] if bottom else ""
        qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", below, images.paths[3])
        images.assert_shows_model(images.paths[3])

    def test_refusals(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.add_null("null", SIZE)
        add = {"driver": "copy-on-read", "node-name": "filter", "file": "i3"}
        # A bottom that is not in the chain has QEMU 7.2 look for it for ever.
        for bottom in ("none",) if server.kind == "qsd" else ("none", "null"):
            server.qmp.refused("blockdev-add", {**add, "bottom": bottom})
        server.qmp.refused("blockdev-add", {**add, "file": "i1"})
        server.qmp.command("blockdev-add", {**add, "bottom": "i1"})
        server.qmp.refused("block-stream", job_id="j", device="i2")
        server.qmp.refused("block-commit", job_id="j", device="filter", top_node="i2", base_node="i0")
        server.qmp.command("blockdev-del", node_name="filter")
        run_job(server, "block-stream", device="i2")

    def test_a_job_may_go_through_it(self, server: Server, images: Chain) -> None:
        images.add_to(server)
        server.qmp.command("blockdev-add", {"driver": "copy-on-read", "node-name": "filter", "file": "i3"})
        run_job(server, "block-stream", device="filter", base_node="i0", speed=0)
        assert backing(server)["i3"] == "i0"
        ended(server)
        images.assert_shows_model(images.paths[3])


class TestKilled:
    """A server that is killed while a job works leaves a disk that shows what it did, and the job can be done again."""

    JOBS: ClassVar[dict[str, tuple[str, dict[str, Any]]]] = {
        "stream": ("block-stream", {"device": "i3", "base_node": "i0"}),
        "commit": ("block-commit", {"device": "i3", "top_node": "i2", "base_node": "i0"}),
        "active": ("block-commit", {"device": "i3", "base_node": "i0"}),
    }

    @pytest.mark.parametrize("kind", list(JOBS))
    def test_killed(self, launch: Launcher, images: Chain, kind: str) -> None:
        command, arguments = self.JOBS[kind]
        server = launch()
        images.add_to(server)
        server.qmp.command(command, job_id="j", speed=2 * MIB, **arguments)
        while (job := server.qmp.block_job("j")) is not None and job["offset"] < job["len"] // 2:
            pass
        server.kill()
        # Clusters that nothing refers to are all that may be left.
        for path in images.paths:
            run("qemu-img", "check", "-q", path, ok=(0, 3))
            run("qemu-img", "check", "-q", "-r", "leaks", path)
        images.assert_shows_model(images.paths[3])
        again = launch()
        images.add_to(again)
        if kind == "active":
            again.qmp.command(command, job_id="j", **arguments)
            again.qmp.wait_event("BLOCK_JOB_READY", device="j")
            again.qmp.command("job-complete", id="j")
            again.qmp.wait_job("j", "null")
        else:
            run_job(again, command, **arguments)
        ended(again)
        images.assert_shows_model(images.paths[0 if kind == "active" else 3])


EIO, ENOSPC = 5, 28


class TestErrors:
    """What happens when one request fails, by policy."""

    def chain(self, server: Server, scratch: Scratch, broken: str, *rules: dict[str, Any]) -> Chain:
        """Three images as nodes of their own; `broken` has the rules. Read-only are those below the top."""
        images = Chain(scratch, [SIZE] * 3)
        for number, path in enumerate(images.paths):
            file: dict[str, Any] = {"driver": "file", "filename": str(path)}
            if broken == f"i{number}":
                file = {"driver": "blkdebug", "image": file, "inject-error": list(rules)}
            backing = f"i{number - 1}" if number else None
            node = {"driver": "qcow2", "node-name": f"i{number}", "file": file, "read-only": number < 2}
            server.qmp.command("blockdev-add", {**node, "backing": backing})
        return images

    def start(self, server: Server, kind: str, policy: str) -> None:
        nodes = {"base_node": "i0"} if kind == "stream" else {"base_node": "i0", "top_node": "i1"}
        server.qmp.command(f"block-{kind}", job_id="j", device="i2", on_error=policy, **nodes)

    def errors(self, server: Server) -> list[tuple[str, str]]:
        return [(event.data["operation"], event.data["action"]) for event in server.qmp.seen("BLOCK_JOB_ERROR")]

    CASES = (
        ("stream", "i1", "read_aio", "read"),
        ("stream", "i2", "write_aio", "read"),
        ("commit", "i1", "read_aio", "read"),
        ("commit", "i0", "write_aio", "write"),
    )

    @pytest.mark.parametrize(("kind", "broken", "event", "operation"), CASES)
    def test_reported(
        self, server: Server, scratch: Scratch, kind: str, broken: str, event: str, operation: str
    ) -> None:
        images = self.chain(server, scratch, broken, {"event": event, "errno": EIO, "once": True})
        nodes, states = server.node_names(), read_only(server)
        self.start(server, kind, "enospc" if kind == "stream" else "report")
        server.qmp.wait_job("j", "null")
        assert self.errors(server) == [(operation, "report")]
        end = ["BLOCK_JOB_ERROR", "aborting", "BLOCK_JOB_COMPLETED", "concluded", "null"]
        assert story(server) == ["created", "running", *end]
        assert "error" in server.qmp.seen("BLOCK_JOB_COMPLETED")[0].data
        assert (server.node_names(), read_only(server)) == (nodes, states)
        assert backing(server) == {"i0": None, "i1": "i0", "i2": "i1"}
        ended(server)
        images.assert_shows_model(images.paths[2])

    @pytest.mark.parametrize(("kind", "broken", "event", "operation"), CASES)
    def test_stopped(
        self, server: Server, scratch: Scratch, kind: str, broken: str, event: str, operation: str
    ) -> None:
        reading = event == "read_aio"
        policy, error, status = ("stop", EIO, "failed") if reading else ("enospc", ENOSPC, "nospace")
        images = self.chain(server, scratch, broken, {"event": event, "errno": error, "once": True})
        self.start(server, kind, policy)
        server.qmp.wait_job("j", "paused")
        assert self.errors(server) == [(operation, "stop")]
        job = server.qmp.block_job("j")
        assert job is not None and job["io-status"] == status and job["paused"]
        server.qmp.command("block-job-resume", device="j")
        server.qmp.wait_job("j", "null")
        assert len(self.errors(server)) == 1
        assert backing(server)["i2"] == "i0"
        ended(server)
        images.assert_shows_model(images.paths[2])

    @pytest.mark.parametrize(("kind", "broken", "event", "operation"), CASES)
    def test_ignored(
        self, server: Server, scratch: Scratch, kind: str, broken: str, event: str, operation: str
    ) -> None:
        """A commit tries again until it succeeds; a stream goes on with the rest, and fails at its end."""
        images = self.chain(server, scratch, broken, {"event": event, "errno": EIO, "once": True})
        self.start(server, kind, "ignore")
        server.qmp.wait_job("j", "null")
        assert self.errors(server) == [(operation, "ignore")]
        completed = server.qmp.seen("BLOCK_JOB_COMPLETED")[0].data
        assert ("error" in completed) is (kind == "stream")
        assert backing(server)["i2"] == ("i1" if kind == "stream" else "i0")
        ended(server)
        images.assert_shows_model(images.paths[2])
