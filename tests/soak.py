"""How long generated tests run: a sample by default, the full count under `QMPD_SOAK=1` (`make soak`)."""

from __future__ import annotations

import os


def count(sample: int, full: int) -> int:
    """`full` when a soak was asked for, `sample` otherwise."""
    return full if os.environ.get("QMPD_SOAK") else sample
