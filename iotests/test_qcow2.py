"""qcow2 images: what queries tell of them, backing chains, making them, bitmaps in them, backups of them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from iotests.harness import Launcher, QMPRefused, Scratch, Server
from iotests.harness.images import KIB, MIB
from iotests.harness.tools import nbdinfo, qemu_img, qemu_io_fails, refused_by_qemu_img, run
from iotests.harness.tools import qemu_io as qemu_io_on

SIZE = 16 * MIB


def add_qcow2(server: Server, path: Path, node: str = "disk", **options: Any) -> None:
    """blockdev-add of a qcow2 node on a file node named after it."""
    file = {"driver": "file", "filename": str(path), "node-name": f"{node}-file"}
    server.qmp.command(
        "blockdev-add", {"driver": "qcow2", "node-name": node, "file": file, "discard": "unmap", **options}
    )


def info_of(server: Server, node: str, **arguments: Any) -> dict[str, Any]:
    """A node's entry in query-named-block-nodes, without what differs from host to host and run to run."""
    nodes = server.qmp.command("query-named-block-nodes", **arguments)
    info: dict[str, Any] = without_sizes(next(entry for entry in nodes if entry["node-name"] == node))
    return info


def without_sizes(value: Any) -> Any:
    """`value` without space taken on the host."""
    if isinstance(value, dict):
        return {key: without_sizes(inner) for key, inner in value.items() if key != "actual-size"}
    return [without_sizes(inner) for inner in value] if isinstance(value, list) else value


def qemu_io(image: Path | str, *commands: str, image_format: str = "qcow2") -> None:
    """Have qemu-io carry out commands on an image."""
    qemu_io_on(image, *commands, image_format=image_format)


def checked(path: Path) -> None:
    """Fail if qemu-img check finds anything."""
    qemu_img("check", "-q", path)


def stored_bitmaps(path: Path) -> dict[str, list[str]]:
    """The bitmaps stored in an image, which may be in use, and their flags."""
    info = json.loads(qemu_img("info", "-U", "--output=json", path))
    return {one["name"]: one["flags"] for one in info["format-specific"]["data"].get("bitmaps", [])}


def write_through(server: Server, *commands: str) -> None:
    """Have qemu-io carry out commands on the node "disk" through an export of a moment."""
    uri = server.export("disk")
    qemu_io(uri, *commands, image_format="raw")
    server.qmp.command("block-export-del", id="export-disk")
    server.qmp.wait_event("BLOCK_EXPORT_DELETED")


def chain_of_two(scratch: Scratch) -> Path:
    """An overlay with a snapshot and bitmap on a qcow2 base on a raw one, by relative names."""
    raw = scratch.disk("bottom", SIZE, seed=5)
    raw.path.rename(scratch / "bottom.raw")
    qemu_img("create", "-q", "-f", "qcow2", "-b", "bottom.raw", "-F", "raw", scratch / "middle.qcow2")
    top = scratch / "top.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", top)
    qemu_img("snapshot", "-c", "before", top)
    qemu_img("bitmap", "--add", top, "b0")
    qemu_io(top, "write -P 7 1M 300k")
    return top


def allocated(server: Server, node: str) -> list[tuple[int, int]]:
    """What the topmost image of a node stores or says to be zero, in KiB: (offset, length)."""
    uri = server.export(node, allocation_depth=True)
    found = nbdinfo(uri, "--map=qemu:allocation-depth")
    return [(one["offset"] // KIB, one["length"] // KIB) for one in found if one["type"] == 1]


class TestQueries:
    """What query-named-block-nodes tells must be what QEMU tells, member by member."""

    OPTIONS: tuple[tuple[str, ...], ...] = (
        (),
        ("-o", "compat=0.10"),
        ("-o", "cluster_size=512,refcount_bits=1"),
        ("-o", "lazy_refcounts=on,extended_l2=on"),
        ("-o", "compression_type=zstd,cluster_size=2M,refcount_bits=64"),
        ("-o", "data_file=DATA,data_file_raw=on"),
    )

    @pytest.mark.parametrize("flat", [False, True])
    @pytest.mark.qmpd_only("compares with the real daemon itself")
    def test_same_as_qemu(self, launch: Launcher, scratch: Scratch, flat: bool) -> None:
        top = chain_of_two(scratch)
        images = [top]
        for number, options in enumerate(self.OPTIONS):
            path = scratch / f"image{number}.qcow2"
            words = [word.replace("DATA", str(scratch / "data.raw")) for word in options]
            qemu_img("create", "-q", "-f", "qcow2", *words, path, "10M")
            images.append(path)
        answers = []
        for server in (launch(), launch.peer("qsd")):
            told = []
            for number, path in enumerate(images):
                add_qcow2(server, path, f"n{number}")
                told.append(info_of(server, f"n{number}", flat=flat))
            answers.append(told)
            server.terminate()
        for ours, theirs in zip(*answers, strict=True):
            for one in (ours, theirs):
                # The newest bitmap comes first or last; snapshots have equal ids anyway.
                one.get("dirty-bitmaps", []).sort(key=lambda bitmap: bitmap["name"])
            # Newer versions of QEMU tell this, too.
            assert ours.pop("active") is True
            assert ours == theirs


class TestChains:
    """Backing files."""

    def test_contents(self, server: Server, scratch: Scratch) -> None:
        top = chain_of_two(scratch)
        qemu_img("convert", "-O", "raw", top, scratch / "expected.raw")
        add_qcow2(server, top)
        uri = server.export("disk", writable=False)
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, scratch / "expected.raw")

    def test_json_name(self, server: Server, scratch: Scratch) -> None:
        bottom = scratch.disk("bottom", SIZE, seed=6)
        name = json.dumps({"driver": "raw", "file.driver": "file", "file.filename": str(bottom.path)})
        qemu_img("create", "-q", "-f", "qcow2", "-b", f"json:{name}", "-F", "raw", scratch / "top.qcow2")
        add_qcow2(server, scratch / "top.qcow2")
        uri = server.export("disk", writable=False)
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, bottom.path)

    def test_none_by_option(self, server: Server, scratch: Scratch) -> None:
        top = chain_of_two(scratch)
        add_qcow2(server, top, backing=None)
        assert "backing-image" not in info_of(server, "disk")["image"]

    def test_by_node_name(self, server: Server, scratch: Scratch) -> None:
        top = chain_of_two(scratch)
        other = scratch.full_disk("other", SIZE, seed=9)
        server.add_raw(other, "other", read_only=True)
        add_qcow2(server, top, backing="other")
        assert info_of(server, "disk")["image"]["backing-image"]["filename"] == str(other.path)
        with pytest.raises(QMPRefused):
            server.qmp.command("blockdev-del", node_name="other")

    @pytest.mark.parametrize("filtered", [False, True], ids=["plain", "filtered"])
    def test_depth_beyond_the_end_of_a_shorter_image(self, server: Server, scratch: Scratch, filtered: bool) -> None:
        """The zeroes there are told as stored by the shorter image, since nothing below it can show; filters count."""
        base, middle, top = (scratch / f"{name}.qcow2" for name in ("base", "middle", "top"))
        qemu_img("create", "-q", "-f", "qcow2", base, "128k")
        qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", middle, "256k")
        qemu_img("create", "-q", "-f", "qcow2", "-b", middle, "-F", "qcow2", top, "512k")
        qemu_io(base, "write -P 1 0 64k")
        qemu_io(top, "write -z 448k 64k")
        add_qcow2(server, top)
        if filtered:
            server.qmp.command("blockdev-add", {"driver": "copy-on-read", "node-name": "above", "file": "disk"})
        uri = server.export("above" if filtered else "disk", writable=False, allocation_depth=True)
        found = nbdinfo(uri, "--map=qemu:allocation-depth")
        above = int(filtered)
        expected = [(64, 3 + above), (64, 0), (128, 3 + above), (192, 2 + above), (64, 1)]
        assert [(extent["length"] // KIB, extent["type"]) for extent in found] == expected

    def test_a_loop_is_refused(self, server: Server, scratch: Scratch) -> None:
        for name in ("a", "b"):
            qemu_img("create", "-q", "-f", "qcow2", scratch / f"{name}.qcow2", "1M")
        for name, other in (("a", "b"), ("b", "a")):
            qemu_img("rebase", "-u", "-b", f"{other}.qcow2", "-F", "qcow2", scratch / f"{name}.qcow2")
        with pytest.raises(QMPRefused):
            add_qcow2(server, scratch / "a.qcow2")
        assert server.node_names() == set()

    def test_missing(self, server: Server, scratch: Scratch) -> None:
        top = chain_of_two(scratch)
        (scratch / "middle.qcow2").unlink()
        with pytest.raises(QMPRefused):
            add_qcow2(server, top)
        assert server.node_names() == set()


def create(server: Server, **options: Any) -> None:
    """blockdev-create, to its end."""
    server.qmp.command("blockdev-create", {"job-id": "create", "options": options})
    server.qmp.wait_job("create", "concluded")
    job = server.qmp.job("create")
    server.qmp.command("job-dismiss", id="create")
    assert job is not None
    assert "error" not in job, job


class TestCreate:
    """blockdev-create."""

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"version": "v2"},
            {"cluster-size": 512, "refcount-bits": 64},
            {"cluster-size": 2 * MIB, "refcount-bits": 1, "lazy-refcounts": True},
            {"extended-l2": True, "compression-type": "zstd"},
            {"preallocation": "metadata"},
            {"preallocation": "falloc"},
            {"preallocation": "full", "cluster-size": 4096},
        ],
        ids=str,
    )
    def test_as_asked(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        path = scratch / "new.qcow2"
        create(server, driver="file", filename=str(path), size=0)
        file = {"driver": "file", "filename": str(path)}
        create(server, driver="qcow2", file=file, size=3 * MIB + 512, **options)
        checked(path)
        info = json.loads(qemu_img("info", "--output=json", path))
        data = info["format-specific"]["data"]
        assert info["virtual-size"] == 3 * MIB + 512
        assert info["cluster-size"] == options.get("cluster-size", 64 * KIB)
        assert data["compat"] == ("0.10" if options.get("version") == "v2" else "1.1")
        assert data["refcount-bits"] == options.get("refcount-bits", 16)
        assert data.get("extended-l2", False) == options.get("extended-l2", False)
        assert data.get("compression-type", "zlib") == options.get("compression-type", "zlib")
        mapped = json.loads(qemu_img("map", "--output=json", path))
        stored = sum(extent["length"] for extent in mapped if "offset" in extent)
        assert bool(stored) == ("preallocation" in options)

    def test_with_backing(self, server: Server, scratch: Scratch) -> None:
        base = scratch.disk("base", SIZE, seed=3)
        path = scratch / "new.qcow2"
        create(server, driver="file", filename=str(path), size=0)
        server.qmp.command("blockdev-add", {"driver": "file", "node-name": "f", "filename": str(path)})
        backing = {"backing-file": str(base.path), "backing-fmt": "raw"}
        create(server, driver="qcow2", file="f", size=SIZE, **backing)
        server.qmp.command("blockdev-del", node_name="f")
        run("qemu-img", "compare", path, base.path)

    @pytest.mark.parametrize(
        "options",
        [
            {"cluster-size": 1000},
            {"refcount-bits": 3},
            {"version": "v2", "refcount-bits": 8},
            {"extended-l2": True, "cluster-size": 4096},
            {"backing-fmt": "raw"},
        ],
        ids=str,
    )
    def test_refused(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        path = scratch / "new.qcow2"
        path.touch()
        file = {"driver": "file", "filename": str(path)}
        arguments = {"job-id": "create", "options": {"driver": "qcow2", "file": file, "size": MIB, **options}}
        try:
            server.qmp.command("blockdev-create", arguments)
        except QMPRefused:
            return
        server.qmp.wait_job("create", "concluded")
        job = server.qmp.job("create")
        assert job is not None
        assert job["error"]


class TestAmend:
    """x-blockdev-amend and change-backing-file."""

    @pytest.mark.qmpd_only("QEMU changes encryption by this command, nothing else")
    @pytest.mark.parametrize(
        ("before", "changes"),
        [
            ("compat=1.1", {"refcount-bits": 64}),
            ("compat=1.1,cluster_size=512", {"refcount-bits": 1, "lazy-refcounts": True}),
            ("compat=0.10", {"version": "v3"}),
            ("compat=1.1", {"version": "v2"}),
            ("compat=1.1", {"backing-file": "other.raw", "backing-fmt": "raw"}),
        ],
    )
    def test_amend(self, server: Server, scratch: Scratch, before: str, changes: dict[str, Any]) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-o", before, path, "8M")
        qemu_io(path, "write -P 3 1M 300k", "write -z 3M 200k" if "1.1" in before else "read 0 1k")
        qemu_img("convert", "-O", "raw", path, scratch / "expected.raw")
        (scratch / "other.raw").write_bytes(bytes(8 * MIB))
        add_qcow2(server, path, backing=None)
        options = {"driver": "qcow2", **changes}
        server.qmp.command("x-blockdev-amend", {"job-id": "amend", "node-name": "disk", "options": options})
        server.qmp.wait_job("amend", "concluded")
        job = server.qmp.job("amend")
        assert job is not None
        assert "error" not in job, job
        server.qmp.command("job-dismiss", id="amend")
        server.qmp.command("blockdev-del", node_name="disk")
        checked(path)
        run("qemu-img", "compare", path, scratch / "expected.raw")
        info = json.loads(qemu_img("info", "--output=json", path))
        data = info["format-specific"]["data"]
        if "refcount-bits" in changes:
            assert data["refcount-bits"] == changes["refcount-bits"]
        if "version" in changes:
            assert data["compat"] == {"v2": "0.10", "v3": "1.1"}[changes["version"]]
        if "backing-file" in changes:
            assert info["backing-filename"] == "other.raw"

    @pytest.mark.qmpd_only("QEMU changes encryption by this command, nothing else")
    @pytest.mark.parametrize("opened", [True, False], ids=["with backing", "without"])
    def test_zeroes_over_a_backing_file(self, server: Server, scratch: Scratch, opened: bool) -> None:
        """Version 2 has to store them, also if the backing file is not open at that time."""
        base, path = scratch.full_disk("base", MIB, seed=9), scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", path)
        qemu_io(path, "write -z 0 128k", "write -P 3 128k 64k", "write -z -u 512k 128k")
        qemu_img("convert", "-O", "raw", path, scratch / "expected.raw")
        add_qcow2(server, path, "disk", **({} if opened else {"backing": None}))
        options = {"driver": "qcow2", "version": "v2"}
        server.qmp.command("x-blockdev-amend", {"job-id": "amend", "node-name": "disk", "options": options})
        server.qmp.wait_job("amend", "concluded")
        job = server.qmp.job("amend")
        assert job is not None
        assert "error" not in job, job
        server.terminate()
        checked(path)
        run("qemu-img", "compare", path, scratch / "expected.raw")

    @pytest.mark.qmpd_only("QEMU changes encryption by this command, nothing else")
    @pytest.mark.parametrize("backing", ["none", "open", "not open"])
    @pytest.mark.parametrize("seed", range(2))
    def test_down_with_snapshots(self, server: Server, scratch: Scratch, backing: str, seed: int) -> None:
        """Snapshots show in version 2 what they did, and share with the disk and each other what they shared."""
        base, path = scratch.full_disk("base", MIB, seed=9), scratch / "image.qcow2"
        below = ("-b", base.path, "-F", "raw") if backing != "none" else ()
        qemu_img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", *below, path, "1536k")
        chance = random.Random(seed)
        for name in ("one", "two", "three", ""):
            places = [(way, chance.randrange(360) * 4) for way in ("-P 1", "-P 2", "-z", "-z", "-z -u") * 6]
            qemu_io(path, *(f"write {way} {place}k {chance.choice([4, 20, 96])}k" for way, place in places))
            if name:
                qemu_img("snapshot", "-c", name, path)
        qemu_img("snapshot", "-d", "two", path)
        qemu_img("snapshot", "-c", "again", path)
        before = self.contents(scratch, path)
        options: dict[str, Any] = {"backing": None} if backing == "not open" else {}
        add_qcow2(server, path, **options)
        self.amend(server, version="v2")
        server.terminate()
        checked(path)
        info = json.loads(qemu_img("info", "--output=json", path))
        assert info["format-specific"]["data"]["compat"] == "0.10"
        assert self.contents(scratch, path) == before

    @pytest.mark.qmpd_only("QEMU changes encryption by this command, nothing else")
    def test_down_with_a_snapshot_of_another_size(self, server: Server, scratch: Scratch) -> None:
        """Version 2 does not say how large the disk of a snapshot is."""
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        qemu_img("snapshot", "-c", "one", path)
        qemu_img("resize", "-q", path, "2M")
        assert "prevent downgrade" in refused_by_qemu_img("amend", "-f", "qcow2", "-o", "compat=0.10", path)
        add_qcow2(server, path)
        with pytest.raises(AssertionError, match="snapshot of another size"):
            self.amend(server, version="v2")
        server.terminate()
        assert json.loads(qemu_img("info", "--output=json", path))["format-specific"]["data"]["compat"] == "1.1"

    @staticmethod
    def contents(scratch: Scratch, path: Path) -> list[bytes]:
        """What the disk and each of its snapshots shows."""
        snapshots = json.loads(qemu_img("info", "--output=json", path))["snapshots"]
        found = []
        for which in ((), *(("-l", f"snapshot.id={one['id']}") for one in snapshots)):
            qemu_img("convert", "-f", "qcow2", "-O", "raw", *which, path, scratch / "contents.raw")
            found.append((scratch / "contents.raw").read_bytes())
        return found

    @staticmethod
    def amend(server: Server, **options: Any) -> None:
        """x-blockdev-amend of the node "disk", to its end."""
        server.qmp.command(
            "x-blockdev-amend", {"job-id": "a", "node-name": "disk", "options": {"driver": "qcow2", **options}}
        )
        server.qmp.wait_job("a", "concluded")
        job = server.qmp.job("a")
        server.qmp.command("job-dismiss", id="a")
        assert job is not None
        assert "error" not in job, job["error"]

    @pytest.mark.qmpd_only("QEMU changes encryption by this command, nothing else")
    def test_a_damaged_image(self, server: Server, scratch: Scratch) -> None:
        """The job says what is wrong, and nobody changes the image any more."""
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        qemu_io(path, "write -P 1 0 64k")
        with path.open("r+b") as file:
            file.seek(40)
            file.seek(int.from_bytes(file.read(8), "big"))
            file.write((1 << 63 | 0x40200).to_bytes(8, "big"))
        add_qcow2(server, path)
        options = {"driver": "qcow2", "version": "v2"}
        server.qmp.command("x-blockdev-amend", {"job-id": "amend", "node-name": "disk", "options": options})
        server.qmp.wait_job("amend", "concluded")
        assert "0x40200" in server.qmp.command("query-jobs")[0]["error"]
        server.qmp.wait_event("BLOCK_IMAGE_CORRUPTED")
        assert info_of(server, "disk")["ro"] is True

    def test_change_backing_file(self, server: Server, scratch: Scratch) -> None:
        top = chain_of_two(scratch)
        add_qcow2(server, top)
        server.qmp.command("change-backing-file", device="disk", image_node_name="disk", backing_file="else.qcow2")
        server.terminate()
        assert json.loads(qemu_img("info", "--output=json", top))["backing-filename"] == "else.qcow2"


class TestResize:
    """block_resize."""

    def test_grow_and_shrink(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        qemu_io(path, f"write -P 5 0 {SIZE}")
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=SIZE // 2)
        server.qmp.command("block_resize", node_name="disk", size=SIZE * 3)
        server.qmp.command("blockdev-del", node_name="disk")
        checked(path)
        qemu_io(path, f"read -P 5 0 {SIZE // 2}", f"read -P 0 {SIZE // 2} {SIZE * 5 // 2}")

    @pytest.mark.qmpd_only("QEMU does not store the bitmap either, but leaves the one stored before in use")
    @pytest.mark.parametrize("grown_by", ["the same", "qemu-img"])
    def test_cut_off_over_a_backing_file(self, server: Server, scratch: Scratch, grown_by: str) -> None:
        """Nothing is stored for what the backing file shows there, and it does not show when the disk grows again."""
        path, base = scratch / "image.qcow2", scratch.full_disk("base", MIB, seed=8)
        qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", path)
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=700 * KIB)
        assert allocated(server, "disk") == []
        server.qmp.command("block-export-del", id="export-disk")
        server.qmp.wait_event("BLOCK_EXPORT_DELETED")
        if grown_by == "the same":
            server.qmp.command("block_resize", node_name="disk", size=2 * MIB)
        server.terminate()
        if grown_by == "qemu-img":
            qemu_img("resize", "-q", path, "2M")
        qemu_io(path, "read -P 0 700k 1348k")
        checked(path)

    def test_a_disk_without_bytes_stores_no_bitmap(self, server: Server, scratch: Scratch) -> None:
        """A table of no entries would be an image that nobody opens."""
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        add_qcow2(server, path)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
        server.qmp.command("block_resize", node_name="disk", size=0)
        server.qmp.command("blockdev-del", node_name="disk")
        checked(path)
        assert stored_bitmaps(path) == {}
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=MIB)

    def test_a_raw_data_file_shows_what_it_has(self, server: Server, scratch: Scratch) -> None:
        """It can be used by itself, so what it has beyond the old end is what the disk has there."""
        data, path = scratch.full_disk("data", 2 * MIB, seed=6), scratch / "image.qcow2"
        options = f"data_file={data.path},data_file_raw=on"
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "1M")
        longer = scratch.full_disk("longer", 2 * MIB, seed=6)
        data.path.write_bytes(longer.path.read_bytes())
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=2 * MIB)
        server.terminate()
        checked(path)
        run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, longer.path)

    @pytest.mark.qmpd_only("QEMU 7.2 leaves what was cut off in the last cluster")
    def test_what_was_cut_off_does_not_come_back(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        qemu_io(path, "write -P 5 0 1M")
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=512 * KIB + 512)
        server.terminate()
        qemu_img("resize", "-q", path, "1M")
        qemu_io(path, "read -P 5 0 524800", "read -P 0 524800 523776")

    @pytest.mark.parametrize("way", ["guest", "backup"])
    def test_nothing_old_beyond_the_end(self, server: Server, scratch: Scratch, way: str) -> None:
        """The last cluster takes a place that was used before; what is beyond the disk's end shows when it grows."""
        length = 3 * 64 * KIB + 512
        path, source = scratch / "image.qcow2", scratch.full_disk("source", length, seed=7)
        qemu_img("create", "-q", "-f", "qcow2", path, str(length))
        add_qcow2(server, path, "disk", **{"pass-discard-request": False})
        write_through(server, "write -P 7 0 192k", "flush", "discard 0 192k", "flush", "flush")
        if way == "guest":
            write_through(server, "write -P 1 192k 512")
        else:
            server.add_raw(source)
            server.qmp.command("blockdev-backup", job_id="j", device="source", target="disk", sync="full")
            server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
        server.terminate()
        qemu_img("resize", "-q", path, "1M")
        checked(path)
        qemu_io(path, f"read -P 0 {length} {MIB - length}")


class TestZeroes:
    """What is written as zeroes is stored as such, for an image may get another backing file one day."""

    @pytest.mark.parametrize("extended", ["off", "on"])
    def test_where_nothing_was_stored(self, server: Server, scratch: Scratch, extended: str) -> None:
        path, base = scratch / "image.qcow2", scratch.full_disk("base", MIB, seed=8)
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"extended_l2={extended}", path, "1M")
        add_qcow2(server, path)
        write_through(server, "write -z 64k 128k", "write -z -u 512k 64k", "write -z 768k 1k")
        server.terminate()
        qemu_img("rebase", "-u", "-b", base.path, "-F", "raw", path)
        qemu_io(path, "read -P 0 64k 128k", "read -P 0 512k 64k", "read -P 0 768k 1k")
        checked(path)

    @pytest.mark.parametrize("extended", ["off", "on"])
    def test_a_part_of_a_cluster_takes_no_space(self, server: Server, scratch: Scratch, extended: str) -> None:
        """The whole cluster says that it is zero where the rest of it reads as zeroes, in whatever image."""
        path, base = scratch / "image.qcow2", scratch.disk("base", MIB)
        base.write(0, b"1" * 64 * KIB)
        base.write(192 * KIB, b"1" * 16 * KIB)
        options = f"extended_l2={extended},cluster_size=64k"
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, "-b", base.path, "-F", "raw", path, "2M")
        add_qcow2(server, path)
        write_through(server, "write -z 65k 8k", "write -z 500k 30k", "write -z 1022k 1k", "write -z 1500k 3k")
        write_through(server, "write -P 2 128k 64k", "write -z 128k 4k", "write -z 192k 16k", "write -z 2k 2k")
        server.terminate()
        mapped = json.loads(qemu_img("map", "--output=json", path))
        shown = sum(extent["length"] for extent in mapped if extent["data"])
        assert shown == (122 * KIB if extended == "on" else 128 * KIB)
        checked(path)

    @pytest.mark.parametrize("extended", ["off", "on"])
    def test_discarded_over_a_backing_file(self, server: Server, scratch: Scratch, extended: str) -> None:
        """It reads as zeroes, and not as the backing file, also where nothing had been written."""
        path, base = scratch / "image.qcow2", scratch.full_disk("base", MIB, seed=8)
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"extended_l2={extended}", "-b", base.path, "-F", "raw", path)
        add_qcow2(server, path)
        write_through(server, "write -P 1 0 64k", "discard 0 128k", "read -P 0 0 128k")
        server.terminate()
        qemu_io(path, "read -P 0 0 128k")
        checked(path)

    def test_beyond_the_end_of_a_shorter_backing_file(self, server: Server, scratch: Scratch) -> None:
        """What is discarded there says so, and what a disk grows by does not."""
        path, base = scratch / "image.qcow2", scratch.full_disk("base", MIB, seed=8)
        options = "extended_l2=on,cluster_size=64k"
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, "-b", base.path, "-F", "raw", path, "1600k")
        add_qcow2(server, path)
        server.qmp.command("block_resize", node_name="disk", size=2 * MIB)
        write_through(server, "discard 1152k 128k")
        assert allocated(server, "disk") == [(1152, 128)]

    def test_up_to_the_end_of_the_last_subcluster(self, server: Server, scratch: Scratch) -> None:
        """It counts as a whole one, of which nothing has to be stored."""
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=64k", path, "1041k")
        add_qcow2(server, path)
        write_through(server, "write -P 1 1024k 17k", "write -z 1028k 13k", "read -P 0 1028k 13k")
        server.terminate()
        mapped = json.loads(qemu_img("map", "--output=json", path))
        assert sum(extent["length"] for extent in mapped if extent["data"]) == 4 * KIB
        checked(path)

    def test_subclusters_that_a_snapshot_shares(self, server: Server, scratch: Scratch) -> None:
        """Only those that are stored are copied for a write, and what lies between."""
        path, base = scratch / "image.qcow2", scratch.full_disk("base", MIB, seed=8)
        options = "extended_l2=on,cluster_size=64k"
        qemu_img("create", "-q", "-f", "qcow2", "-o", options, "-b", base.path, "-F", "raw", path)
        add_qcow2(server, path)
        write_through(server, "write -P 1 8k 4k", "write -P 2 74k 2k", "write -z 78k 2k", "write -z 128k 4k")
        server.qmp.command("blockdev-snapshot-internal-sync", device="disk", name="s")
        write_through(server, "write -P 3 20k 1k", "write -P 4 68k 2k", "write -P 5 134k 2k")
        write_through(server, "read -P 1 8k 4k", "read -P 3 20k 1k", "read -P 2 74k 2k", "read -P 0 78k 2k")
        assert allocated(server, "disk") == [(8, 14), (68, 8), (78, 2), (128, 4), (134, 2)]
        server.terminate()
        checked(path)

    @pytest.mark.parametrize("extended", ["off", "on"])
    def test_discarded_from_a_data_file(self, server: Server, scratch: Scratch, extended: str) -> None:
        """It reads as zeroes, whatever the data file makes of it, also if only the end of a cluster was stored."""
        path, data = scratch / "image.qcow2", scratch / "data.raw"
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"extended_l2={extended},data_file={data}", path, "1M")
        options: dict[str, Any] = {"data-file": {"driver": "file", "filename": str(data), "discard": "ignore"}}
        add_qcow2(server, path, **options)
        write_through(server, "write -P 1 56k 8k", "write -P 2 64k 64k", "discard 0 128k", "read -P 0 0 128k")
        server.terminate()
        qemu_io(path, "read -P 0 0 128k")
        checked(path)

    @pytest.mark.parametrize("job", ["incremental", "bitmap", "top", "mirror"])
    def test_a_part_of_a_disk_over_what_was_copied_before(self, server: Server, scratch: Scratch, job: str) -> None:
        """An image that holds what has changed is put on top of the last full copy."""
        path, full, target = scratch / "image.qcow2", scratch / "full.raw", scratch / "target.qcow2"
        scratch.full_disk("full", MIB, seed=8).path.rename(full)
        qemu_img("create", "-q", "-f", "qcow2", "-b", full, "-F", "raw", path)
        qemu_img("create", "-q", "-f", "qcow2", target, "1M")
        add_qcow2(server, path)
        add_qcow2(server, target, "target")
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="b")
        write_through(server, "write -P 1 0 64k", "write -z -u 128k 128k", "write -P 0 512k 64k")
        self.copy(server, job)
        if job == "mirror":
            server.qmp.wait_event("BLOCK_JOB_READY")
            server.qmp.command("block-job-cancel", device="j")
        server.qmp.wait_job("j", "null")
        server.terminate()
        qemu_img("rebase", "-u", "-b", full, "-F", "raw", target)
        run("qemu-img", "compare", path, target)

    def copy(self, server: Server, job: str) -> None:
        """Begin to copy a part of the node "disk" to the node "target"."""
        arguments = {"job-id": "j", "device": "disk", "target": "target"}
        if job == "mirror":
            server.qmp.command("blockdev-mirror", {**arguments, "sync": "top"})
            return
        if job in ("incremental", "bitmap"):
            arguments["bitmap"] = "b"
        if job == "bitmap":
            arguments["bitmap-mode"] = "never"
        server.qmp.command("blockdev-backup", {**arguments, "sync": job})


class TestBitmaps:
    """Persistent bitmaps over clean restarts."""

    def test_incremental_chain(self, launch: Launcher, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        chance = random.Random(4)
        backing: Path | None = None
        for generation in range(4):
            server = launch()
            add_qcow2(server, path)
            target = scratch / f"backup{generation}.qcow2"
            words: list[str | Path] = [] if backing is None else ["-b", backing, "-F", "qcow2"]
            qemu_img("create", "-q", "-f", "qcow2", *words, target, str(SIZE))
            add_qcow2(server, target, "target")
            uri = server.export("disk")
            for _ in range(5):
                offset = chance.randrange(SIZE // 4096) * 4096
                qemu_io(uri, f"write -P {generation + 1} {offset} 4096", image_format="raw")
            server.qmp.command("block-export-del", id="export-disk")
            server.qmp.wait_event("BLOCK_EXPORT_DELETED")
            if generation == 0:
                server.transaction(
                    ("block-dirty-bitmap-add", {"node": "disk", "name": "b", "persistent": True}),
                    ("blockdev-backup", {"job-id": "j", "device": "disk", "target": "target", "sync": "full"}),
                )
            else:
                assert server.bitmaps("disk")["b"]["count"] > 0
                server.qmp.command(
                    "blockdev-backup", job_id="j", device="disk", target="target", sync="incremental", bitmap="b"
                )
            event = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
            assert "error" not in event.data
            server.terminate()
            checked(path)
            checked(target)
            run("qemu-img", "compare", path, target)
            backing = target

    def test_inconsistent_after_a_kill(self, launch: Launcher, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        qemu_img("bitmap", "--add", path, "b")
        server = launch()
        add_qcow2(server, path)
        server.kill()
        server = launch()
        add_qcow2(server, path)
        assert server.bitmaps("disk")["b"]["inconsistent"] is True
        with pytest.raises(QMPRefused):
            server.qmp.command("block-dirty-bitmap-clear", node="disk", name="b")
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="b")
        server.terminate()
        assert "bitmaps" not in json.loads(qemu_img("info", "--output=json", path))["format-specific"]["data"]

    def test_with_qemu_img_in_between(self, launch: Launcher, scratch: Scratch) -> None:
        """The server records, qemu-img lists and merges; qemu-img adds, the server records."""
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        server = launch()
        add_qcow2(server, path)
        server.qmp.command("block-dirty-bitmap-add", node="disk", name="ours", persistent=True)
        write_through(server, f"write -P 1 {MIB} 64k", f"write -P 2 {3 * MIB} 1")
        server.terminate()
        assert stored_bitmaps(path) == {"ours": ["auto"]}
        qemu_img("bitmap", "--add", path, "theirs")
        qemu_img("bitmap", "--add", "--disable", path, "merged")
        qemu_img("bitmap", "--merge", "ours", path, "merged")
        checked(path)
        server = launch()
        add_qcow2(server, path)
        found = server.bitmaps("disk")
        assert {name: (one["count"], one["recording"]) for name, one in found.items()} == {
            "ours": (2 * 64 * KIB, True),
            "theirs": (0, True),
            "merged": (2 * 64 * KIB, False),
        }
        write_through(server, f"write -P 3 {5 * MIB} 64k")
        assert {name: one["count"] // (64 * KIB) for name, one in server.bitmaps("disk").items()} == {
            "ours": 3,
            "theirs": 1,
            "merged": 2,
        }
        server.qmp.command("block-dirty-bitmap-merge", node="disk", target="merged", bitmaps=["theirs"])
        assert server.bitmap_sha256("disk", "merged") == server.bitmap_sha256("disk", "ours")
        server.terminate()
        checked(path)
        assert stored_bitmaps(path) == {"ours": ["auto"], "theirs": ["auto"], "merged": []}

    def test_removed_from_the_image_at_once(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        for name in ("a", "b", "c"):
            qemu_img("bitmap", "--add", path, name)
        add_qcow2(server, path)
        in_use = ["in-use", "auto"]
        assert stored_bitmaps(path) == {"a": in_use, "b": in_use, "c": in_use}
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="a")
        assert stored_bitmaps(path) == {"b": in_use, "c": in_use}
        server.transaction(("block-dirty-bitmap-remove", {"node": "disk", "name": "b"}))
        assert stored_bitmaps(path) == {"c": in_use}
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="c")
        assert stored_bitmaps(path) == {}
        assert server.bitmaps("disk") == {}
        server.terminate()
        checked(path)

    def test_a_removal_that_is_undone(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        for name in ("a", "b"):
            qemu_img("bitmap", "--add", path, name)
        qemu_io(path, f"write {MIB} 64k")
        add_qcow2(server, path)
        with pytest.raises(QMPRefused):
            server.transaction(("block-dirty-bitmap-remove", {"node": "disk", "name": "a"}), ("abort", {}))
        assert server.bitmaps("disk")["a"]["count"] == 64 * KIB
        write_through(server, f"write -P 1 {2 * MIB} 64k")
        assert server.bitmaps("disk")["a"]["count"] == 2 * 64 * KIB
        server.terminate()
        checked(path)
        assert stored_bitmaps(path) == {"a": ["auto"], "b": ["auto"]}

    @pytest.mark.qmpd_only("QEMU refuses bitmap actions in a grouped transaction")
    def test_a_removal_in_a_group_that_fails(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        qemu_img("bitmap", "--add", path, "a")
        qemu_io(path, f"write {MIB} 64k")
        add_qcow2(server, path)
        target = server.add_null("target", SIZE)
        uri = server.export("disk")
        server.transaction(
            ("block-dirty-bitmap-remove", {"node": "disk", "name": "a"}),
            ("blockdev-backup", {"job-id": "j", "device": "disk", "target": target, "sync": "none"}),
            grouped=True,
        )
        assert "a" not in server.bitmaps("disk")
        qemu_io(uri, f"write -P 1 {2 * MIB} 64k", image_format="raw")
        server.qmp.command("block-job-cancel", device="j")
        server.qmp.wait_event("BLOCK_JOB_CANCELLED", device="j")
        server.qmp.wait_until(lambda: "a" in server.bitmaps("disk"), "the bitmap is back")
        assert server.bitmaps("disk")["a"]["count"] == 2 * 64 * KIB
        server.terminate()
        checked(path)
        assert stored_bitmaps(path) == {"a": ["auto"]}

    @pytest.mark.parametrize("passed_on", [True, False, None])
    def test_what_it_took_is_discarded(self, server: Server, scratch: Scratch, passed_on: bool | None) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        qemu_img("bitmap", "--add", path, "a")
        options: dict[str, Any] = {} if passed_on is None else {"pass-discard-other": passed_on}
        add_qcow2(server, path, **options)
        server.qmp.command("block-dirty-bitmap-remove", node="disk", name="a")
        stats = server.qmp.command("query-blockstats", {"query-nodes": True})
        told = next(one["driver-specific"] for one in stats if one["node-name"] == "disk-file")
        assert bool(told["discard-nb-ok"]) is bool(passed_on)

    def test_version_2_cannot(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-o", "compat=0.10", path, "1M")
        add_qcow2(server, path)
        with pytest.raises(QMPRefused):
            server.qmp.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)


class TestBackup:
    """Backups of and to qcow2."""

    @pytest.mark.parametrize("options", [{}, {"compress": True}], ids=str)
    def test_full(self, server: Server, scratch: Scratch, options: dict[str, Any]) -> None:
        top, target = chain_of_two(scratch), scratch / "target.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", target, str(SIZE))
        add_qcow2(server, top)
        add_qcow2(server, target, "target")
        server.qmp.command("blockdev-backup", job_id="j", device="disk", target="target", sync="full", **options)
        event = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
        assert "error" not in event.data
        server.terminate()
        checked(target)
        run("qemu-img", "compare", top, target)

    def test_top(self, server: Server, scratch: Scratch) -> None:
        top, target = chain_of_two(scratch), scratch / "target.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", "-b", "middle.qcow2", "-F", "qcow2", target)
        add_qcow2(server, top)
        add_qcow2(server, target, "target", backing=None)
        server.qmp.command("blockdev-backup", job_id="j", device="disk", target="target", sync="top")
        event = server.qmp.wait_event("BLOCK_JOB_COMPLETED", device="j")
        assert "error" not in event.data
        server.terminate()
        checked(target)
        run("qemu-img", "compare", top, target)
        mapped = json.loads(qemu_img("map", "--output=json", target))
        assert sum(one["length"] for one in mapped if one["depth"] == 0) < MIB

    @pytest.mark.qmpd_only("QEMU refuses bitmap actions in a grouped transaction only; the rest is the same")
    def test_group_of_two(self, launch: Launcher, scratch: Scratch) -> None:
        server = launch()
        pairs = []
        for name in ("a", "b"):
            base = scratch.disk(f"{name}-base", SIZE, seed=ord(name))
            image, target = scratch / f"{name}.qcow2", scratch / f"{name}-target.qcow2"
            qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", image)
            qemu_img("bitmap", "--add", image, "b")
            qemu_io(image, "write -P 9 2M 200k")
            qemu_img("create", "-q", "-f", "qcow2", "-b", base.path, "-F", "raw", target)
            add_qcow2(server, image, name)
            add_qcow2(server, target, f"{name}-target")
            pairs.append((image, target))
        server.transaction(
            *(
                (
                    "blockdev-backup",
                    {"job-id": name, "device": name, "target": f"{name}-target", "sync": "incremental", "bitmap": "b"},
                )
                for name in ("a", "b")
            ),
            grouped=True,
        )
        for name in ("a", "b"):
            assert "error" not in server.qmp.wait_event("BLOCK_JOB_COMPLETED", device=name).data
        server.terminate()
        for image, target in pairs:
            checked(image)
            checked(target)
            run("qemu-img", "compare", image, target)


class TestRefused:
    """Images that are not opened."""

    def test_encrypted(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        with path.open("r+b") as image:
            # The header's field that says how the image is encrypted.
            image.seek(32)
            image.write((1).to_bytes(4, "big"))
        with pytest.raises(QMPRefused):
            add_qcow2(server, path)

    def test_in_use(self, launch: Launcher, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "1M")
        first, second = launch(), launch()
        add_qcow2(first, path)
        with pytest.raises(QMPRefused):
            add_qcow2(second, path)


class TestInternalSnapshots:
    """blockdev-snapshot-internal-sync, alone and in transactions."""

    def test_make_and_delete(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "8M")
        qemu_io(path, "write -P 1 0 4M")
        add_qcow2(server, path)
        for name in ("one", "two"):
            server.qmp.command("blockdev-snapshot-internal-sync", device="disk", name=name)
        told = info_of(server, "disk")["image"]["snapshots"]
        assert [one["name"] for one in told] == ["one", "two"]
        gone = server.qmp.command("blockdev-snapshot-delete-internal-sync", device="disk", name="one")
        assert gone["name"] == "one"
        with pytest.raises(QMPRefused):
            server.qmp.command("blockdev-snapshot-delete-internal-sync", device="disk", name="one")
        uri = server.export("disk")
        qemu_io(uri, "write -P 2 0 1M", image_format="raw")
        server.terminate()
        checked(path)
        qemu_io(path, "read -P 2 0 1M")
        qemu_img("snapshot", "-a", "two", path)
        qemu_io(path, "read -P 1 0 4M")

    @pytest.mark.parametrize(
        "second",
        [("abort", {}), ("blockdev-snapshot-internal-sync", {"device": "disk", "name": "one"})],
        ids=["abort", "twice"],
    )
    def test_all_or_nothing(self, server: Server, scratch: Scratch, second: tuple[str, dict[str, Any]]) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, "8M")
        qemu_io(path, "write -P 1 0 4M")
        add_qcow2(server, path)
        with pytest.raises(QMPRefused):
            server.transaction(("blockdev-snapshot-internal-sync", {"device": "disk", "name": "one"}), second)
        assert "snapshots" not in info_of(server, "disk")["image"]
        uri = server.export("disk")
        qemu_io(uri, "write -P 2 1M 1M", image_format="raw")
        server.terminate()
        checked(path)
        qemu_io(path, "read -P 2 1M 1M", "read -P 1 2M 1M")


class TestCorruption:
    """Structures that contradict each other, found by a request."""

    def test_a_write_that_would_hit_a_table(self, server: Server, scratch: Scratch) -> None:
        path = scratch / "image.qcow2"
        qemu_img("create", "-q", "-f", "qcow2", path, str(SIZE))
        qemu_io(path, "write -P 1 0 128k")
        data = bytearray(path.read_bytes())
        table = int.from_bytes(data[40:48], "big")
        entries = int.from_bytes(data[table : table + 8], "big") & 0x00FF_FFFF_FFFF_FE00
        data[entries : entries + 8] = (table | 1 << 63).to_bytes(8, "big")
        path.write_bytes(data)
        add_qcow2(server, path)
        uri = server.export("disk")
        qemu_io(uri, "read -P 1 64k 64k", image_format="raw")
        qemu_io_fails(uri, "write 1k 512")
        event = server.qmp.wait_event("BLOCK_IMAGE_CORRUPTED", **{"node-name": "disk"})
        assert event.data["fatal"] is True
        assert event.data["device"] == ""
        assert event.data["offset"] in range(table, table + 64 * KIB)
        qemu_io_fails(uri, "write 64k 512")
        server.terminate()
        assert "corrupt: true" in qemu_img("info", path)
        assert path.read_bytes()[table : table + 64 * KIB] == data[table : table + 64 * KIB]
