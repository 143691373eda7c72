"""What qemu-io's commands print: sizes, times, results of transfers, dumps. Sans-I/O."""

from __future__ import annotations

_SHOWN = bytes(byte if byte < 128 and chr(byte).isalnum() else ord(".") for byte in range(256))
_UNITS = ((1 << 60, "EiB"), (1 << 50, "PiB"), (1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def human_size(value: float) -> str:
    """`64 KiB`, `1.500 GiB`, `12 bytes`, `0.250000 bytes`: a fraction has three digits, one of bytes has six."""
    for unit, name in _UNITS:
        if value >= unit:
            return f"{value / unit:.3f}".split(".000")[0] + f" {name}"
    return f"{value:f}".split(".000")[0] + " bytes"


def human_time(seconds: float) -> str:
    """`00.25 sec`, or with hours and minutes if it took a minute."""
    return f"{seconds:05.2f} sec" if seconds < 60 else clock_time(seconds)


def clock_time(seconds: float) -> str:
    """Hours, minutes, seconds: `0:00:00.25`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:05.2f}"


def transfer(verb: str, offset: int, length: int, seconds: float) -> str:
    """The two lines about a request that has succeeded.

    :param verb: `read`, `wrote` or `discard`.
    """
    seconds = max(seconds, 1e-9)
    return (
        f"{verb} {length}/{length} bytes at offset {offset}\n"
        f"{human_size(length)}, 1 ops; {human_time(seconds)} "
        f"({human_size(length / seconds)}/sec and {1 / seconds:.4f} ops/sec)\n"
    )


def transfer_for_machines(length: int, seconds: float) -> str:
    """The same in one line: bytes, operations, time, bytes and operations per second."""
    seconds = max(seconds, 1e-9)
    return f"{length},1,{clock_time(seconds)},{length / seconds:.3f},{1 / seconds:.3f}\n"


def dump(data: memoryview, offset: int) -> str:
    """Bytes as hexadecimal digits and as text, sixteen a line; all but letters and digits is a dot there."""
    text = bytes(data).translate(_SHOWN).decode()
    rows = range(0, len(data), 16)
    return "".join(f"{offset + at:08x}:  {data[at : at + 16].hex(' ')}  {text[at : at + 16]}\n" for at in rows)
