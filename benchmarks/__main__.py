"""`python -m benchmarks`: run all measures on both servers, alternating, and report.

Options: `--quick` for small images and few samples, `--only WORDS` for the measures whose name contains them,
`--rounds N`, `--directory DIR` for the images (10 GiB with a target; where they lie decides what is measured),
`--output FILE`.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.catalogue import MEASURES
from benchmarks.measure import Measure, Result
from benchmarks.memory import Reserve
from benchmarks.report import OURS, PEER, as_json, print_table, write_json
from benchmarks.stage import FULL, QUICK, Stage
from iotests.harness.tools import missing_packages


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="qmpd beside qemu-storage-daemon")
    parser.add_argument("--quick", action="store_true", help="small images, few samples: a smoke test of the benchmark")
    parser.add_argument("--only", metavar="PATTERN", default="", help="measures whose name matches this expression")
    parser.add_argument("--rounds", type=int, help="samples of each server")
    parser.add_argument("--directory", type=Path, help="where to make the images (default: the temporary directory)")
    parser.add_argument("--output", type=Path, help="the JSON file (default: benchmarks/results/TIME.json)")
    return parser.parse_args(arguments)


def run(measure: Measure, stage: Stage, rounds: int) -> Result:
    """Take all samples of one measure; who goes first alternates, so that neither profits from the order."""
    result = Result(measure)
    for number in range(rounds):
        for kind in (OURS, PEER) if number % 2 == 0 else (PEER, OURS):
            stage.kind = kind
            value = measure.take(stage)
            result.add(kind, value)
            print(f"{measure.name}: {kind} {value:.4g} {measure.unit}", file=sys.stderr, flush=True)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; the status is 0 unless something could not be measured."""
    options = parse(arguments)
    missing = missing_packages()
    if missing:
        print(f"the benchmarks need tools; run: apt-get install -y {' '.join(missing)}", file=sys.stderr)
        return 1
    sizes = QUICK if options.quick else FULL
    chosen = [measure for measure in MEASURES if re.search(options.only, measure.name)]
    output = options.output or Path(__file__).parent / "results" / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    with (
        tempfile.TemporaryDirectory(prefix="qmpd-bench-", dir=options.directory) as directory,
        Reserve(wanted=not options.quick) as reserve,
    ):
        stage = Stage(Path(directory), sizes, reserve)
        rounds = options.rounds
        results = [run(measure, stage, rounds or measure.rounds or sizes.rounds) for measure in chosen]
    print_table(results, "quick run: do not quote" if options.quick else "qmpd beside qemu-storage-daemon")
    write_json(as_json(results, quick=options.quick), output)
    print(f"all samples: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
