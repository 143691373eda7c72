"""The transcripts that come with the tests."""

from pathlib import Path

from iotests.differential.transcript import Transcript, read_file

CORPUS = Path(__file__).with_name("transcripts")


def corpus() -> list[Transcript]:
    """All of them, file by file."""
    return [transcript for path in sorted(CORPUS.glob("*.txt")) for transcript in read_file(path)]
