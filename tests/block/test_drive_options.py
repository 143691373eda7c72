"""The text of --drive: what it asks for, under old names and new, and what is refused."""

import pytest

from qmpd.block.drive import MediumDefaults
from qmpd.block.drive_options import DriveRequest, parse_drive
from qmpd.errors import GenericError


def names(*texts: str) -> list[str]:
    """The names that drives without an id get, each where it says, or at the first place."""
    requests = [parse_drive(text) for text in texts]
    return [request.name_at(*(request.place or (0, 0))) for request in requests]


def test_nothing_is_an_empty_drive() -> None:
    request = parse_drive("if=none,id=d0")
    assert request.empty
    assert request == DriveRequest(name="d0", writeback=True)


def test_the_rest_is_about_nodes() -> None:
    request = parse_drive("file=a,,b,format=qcow2,node-name=n,file.locking=off,backing.driver=null-co,l2-cache-size=1M")
    assert request.file == "a,b"
    assert request.tree == {
        "driver": "qcow2",
        "node-name": "n",
        "file": {"locking": "off"},
        "backing": {"driver": "null-co"},
        "l2-cache-size": "1M",
    }


@pytest.mark.parametrize(
    ("mode", "direct", "no_flush", "writeback"),
    [
        ("none", True, False, True),
        ("off", True, False, True),
        ("writeback", False, False, True),
        ("writethrough", False, False, False),
        ("directsync", True, False, False),
        ("unsafe", False, True, True),
    ],
)
def test_cache_modes(mode: str, direct: bool, no_flush: bool, writeback: bool) -> None:
    request = parse_drive(f"if=none,cache={mode}")
    assert request.defaults == MediumDefaults(cache_direct=direct, cache_no_flush=no_flush)
    assert request.writeback is writeback
    # What is said about one of the three counts more.
    assert parse_drive(f"if=none,cache={mode},cache.direct=on").defaults.cache_direct
    assert parse_drive(f"if=none,cache={mode},cache.writeback=on").writeback


def test_a_bare_flag_is_on() -> None:
    assert parse_drive("x.raw,readonly").defaults.read_only
    assert parse_drive("x.raw,media=cdrom").defaults.read_only
    assert not parse_drive("x.raw,media=cdrom,read-only=off").defaults.read_only


def test_names_come_from_places() -> None:
    assert names("if=none", "if=virtio,index=3", "a", "a,media=cdrom", "if=floppy") == [
        "none0",
        "virtio3",
        "ide0-hd0",
        "ide0-cd0",
        "floppy0",
    ]
    assert names("if=ide,index=3", "if=ide,bus=1,unit=0", "if=scsi,index=8") == ["ide1-hd1", "ide1-hd0", "scsi1-hd1"]


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("if=foo", "'if'"),
        ("id=1a", "'id'"),
        ("media=tape", "'media'"),
        ("cache=foo", "'cache'"),
        ("discard=foo", "'discard'"),
        ("detect-zeroes=foo", "'detect-zeroes'"),
        ("readonly=perhaps", "'read-only'"),
        ("aio=foo", "'aio'"),
        ("format=raw,driver=raw", "'format'"),
        ("readonly=on,read-only=on", "'readonly'"),
        ("index=1,bus=0", "'index'"),
        ("if=ide,unit=2", "'unit'"),
        ("index=x", "'index'"),
        ("bps=1,throttling.bps-total=2", "'bps'"),
        ("bps=1K", "'throttling.bps-total'"),
        ("a..b=1", "a..b"),
    ],
)
def test_refusals_name_what_is_wrong(text: str, about: str) -> None:
    with pytest.raises(GenericError, match=about):
        parse_drive(text)
