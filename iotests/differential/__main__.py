"""`python -m iotests.differential [TRANSCRIPT]...`: play transcripts on qmpd and on QEMU and tell what differs.

TRANSCRIPT is a file, or FILE:NAME for one of those in it; all of the corpus by default. Exit status 1 if there is a
difference that is not meant.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from iotests.differential.compare import Verdict
from iotests.differential.corpus import CORPUS
from iotests.differential.pair import servers
from iotests.differential.transcript import Transcript, read_file
from iotests.harness import Scratch


def main() -> int:
    """Play and report."""
    parser = argparse.ArgumentParser(prog="python -m iotests.differential", description=__doc__)
    parser.add_argument("transcripts", nargs="*", default=sorted(map(str, CORPUS.glob("*.txt"))), metavar="TRANSCRIPT")
    parser.add_argument("-v", "--verbose", action="store_true", help="print also the differences that are meant")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, servers(Scratch(Path(directory))) as pair:
        verdicts = [pair.play(item) for word in options.transcripts for item in _chosen(word)]
    return _report(verdicts, verbose=options.verbose)


def _chosen(word: str) -> list[Transcript]:
    """The transcripts that a word of the command line names."""
    file, _, name = word.partition(":")
    found = read_file(Path(file))
    return [item for item in found if not name or item.name.endswith(f":{name}")]


def _report(verdicts: list[Verdict], *, verbose: bool) -> int:
    for verdict in verdicts:
        if verdict.findings:
            print(verdict)
        for finding, allowance in verdict.allowed if verbose else ():
            print(f"{verdict.transcript.name}: {finding}\n    meant: {allowance.reason}")
    reasons = Counter(allowance.reason for verdict in verdicts for _, allowance in verdict.allowed)
    for reason, times in reasons.most_common():
        print(f"{times:4} {reason}")
    bad = sum(bool(verdict.findings) for verdict in verdicts)
    steps = sum(len(verdict.transcript.steps) for verdict in verdicts)
    print(f"{len(verdicts)} transcripts of {steps} steps: {bad} differ, {reasons.total()} differences are meant")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
