"""`qmpctl check`: the consistency check of an image file, in this process.

The one command of qmpctl that needs no server, and the one module of it that uses the block layer.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from qmpd.ctl.failure import CommandFailed, ExitStatus


async def check(image: Path, repair: str, *, as_json: bool) -> ExitStatus:
    """Check `image`, print what was found; OK only if nothing is wrong (any more)."""
    from qmpd.block.drivers.qcow2.checking import Repair, Report
    from qmpd.block.drivers.qcow2.standalone import check_file
    from qmpd.errors import GenericError

    try:
        report: Report = await check_file(image, Repair(repair))
    except GenericError as error:
        raise CommandFailed("GenericError", error.desc) from error
    leaks = report.leaks - report.leaks_fixed
    corruptions = max(report.corruptions - report.corruptions_fixed, 0)
    if as_json:
        found = {
            "filename": str(image),
            "format": "qcow2",
            "leaks": leaks,
            "corruptions": corruptions,
            "leaks-fixed": report.leaks_fixed,
            "corruptions-fixed": report.corruptions_fixed,
            "check-errors": report.check_errors,
            "image-end-offset": report.image_end,
        }
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for note in report.notes:
            sys.stdout.write(note + "\n")
        if report.leaks_fixed or report.corruptions_fixed:
            sys.stdout.write(f"Repaired: {report.leaks_fixed} leaks, {report.corruptions_fixed} corruptions\n")
        sys.stdout.write(f"{corruptions} corruptions, {leaks} leaked clusters\n")
    clean = not (leaks or corruptions or report.check_errors)
    return ExitStatus.OK if clean else ExitStatus.FAILED
