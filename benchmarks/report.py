"""What a run leaves behind: a table on the terminal and a JSON file with every sample."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Result
from iotests.harness import SERVER_KINDS

OURS, PEER = "qmpd", "qsd"


def figure(value: float) -> str:
    """Three significant digits, thousands grouped."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def print_table(results: Sequence[Result], title: str) -> None:
    """Medians of both servers and the ratio; above 1 qmpd is the better one."""
    table = Table(title=title, caption="medians; a ratio above 1 means that qmpd is the better one")
    table.add_column("measure", no_wrap=True)
    table.add_column("unit")
    for heading in ("qmpd", "qemu-storage-daemon", "ratio", "goal", "spread"):
        table.add_column(heading, justify="right")
    for result in results:
        ratio, goal = result.ratio(OURS, PEER), result.measure.goal
        style = "" if goal is None else "green" if ratio >= goal else "red"
        table.add_row(
            result.measure.name,
            result.measure.unit,
            figure(result.median(OURS)),
            figure(result.median(PEER)),
            f"[{style}]{ratio:.2f}[/]" if style else f"{ratio:.2f}",
            "" if goal is None else f"{goal:g}",
            f"{result.spread(OURS):.0%}/{result.spread(PEER):.0%}",
        )
    Console(width=max(Console().width, 112)).print(table)


def as_json(results: Sequence[Result], *, quick: bool) -> dict[str, Any]:
    """Everything that was measured, and on what."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": quick,
        "machine": {
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        },
        "servers": {kind: _version(kind) for kind in (OURS, PEER)},
        "results": [
            {
                "measure": result.measure.name,
                "unit": result.measure.unit,
                "better": result.measure.better.value,
                "goal": result.measure.goal,
                "ratio": result.ratio(OURS, PEER),
                "medians": {kind: result.median(kind) for kind in result.samples},
                "samples": result.samples,
            }
            for result in results
        ],
    }


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write the report, making its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _version(kind: str) -> str:
    argv = [*SERVER_KINDS[kind].program(), "--version"]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
