"""Each transcript of the corpus, played on both servers: nothing differs but what is meant to. And the tool itself."""

import random
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from iotests.differential.compare import compare, differences
from iotests.differential.corpus import corpus
from iotests.differential.mutations import with_mistakes
from iotests.differential.normal import Normalizer
from iotests.differential.pair import Pair, servers
from iotests.differential.player import Outcome, Recording
from iotests.differential.transcript import (
    Allowance,
    AwaitEvent,
    AwaitJob,
    Batch,
    Call,
    Raw,
    Transcript,
    TranscriptError,
    read_file,
)
from iotests.differential.walks import walk
from iotests.harness import Event, Scratch
from iotests.harness.compatibility import Compatibility
from tests.soak import count

CORPUS = corpus()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two servers for all tests of this file."""
    with servers(Scratch(tmp_path_factory.mktemp("pair"))) as made:
        yield made


@pytest.mark.parametrize("transcript", CORPUS, ids=lambda transcript: transcript.name)
def test_no_unexplained_difference(pair: Pair, transcript: Transcript) -> None:
    verdict = pair.play(transcript)
    assert not verdict.findings, str(verdict)


@pytest.mark.parametrize("transcript", CORPUS[:: count(20, 1)], ids=lambda transcript: transcript.name)
def test_mistakes_change_nothing(pair: Pair, transcript: Transcript) -> None:
    """Both refuse the same mistakes in the same way, and go on; up to one that both take, or that the peer dies of."""
    generator = random.Random(transcript.name)
    verdict = pair.play(with_mistakes(transcript, generator, count(3, 30)))
    counting = takewhile(lambda finding: finding.path not in {"qmpd", "died"}, verdict.findings)
    assert not list(counting), str(verdict)


@pytest.mark.parametrize("seed", range(count(6, 400)))
def test_walks(pair: Pair, seed: int) -> None:
    """Whatever commands come in whatever order; up to one that the peer dies of."""
    verdict = pair.play(walk(seed, 40))
    counting = takewhile(lambda finding: finding.path != "died", verdict.findings)
    assert not list(counting), str(verdict)


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 150
    assert len({transcript.name for transcript in CORPUS}) == len(CORPUS)


def test_every_command_is_played() -> None:
    """A new command that QEMU's daemon has as well needs a transcript."""
    actions = [step.action for transcript in CORPUS for step in transcript.steps]
    calls = [call for action in actions for call in (action.calls if isinstance(action, Batch) else (action,))]
    played = {call.name for call in calls if isinstance(call, Call)}
    assert Compatibility().names("commands", "works", "differs") <= played


def written(directory: Path, text: str) -> list[Transcript]:
    """The transcripts of a text."""
    path = directory / "made.txt"
    path.write_text(text)
    return read_file(path)


class TestText:
    """How transcripts are read."""

    def test_steps(self, tmp_path: Path) -> None:
        [found] = written(
            tmp_path,
            "# a comment\n== first: about it\nby-subject\n"
            '! block_resize {"size":\n  5}\n~ reply: so it is\n'
            "+ query-jobs\n+ query-block\n"
            "raw 2 \\xff{}\n"
            'event E {"id": "j"}\nwait j ready null\n? events: by chance\n',
        )
        assert (found.name, found.about, found.by_subject, found.peer) == ("made:first", "about it", True, "qsd")
        assert [step.action for step in found.steps] == [
            Call("block_resize", {"size": 5}, fails=True),
            Batch((Call("query-jobs", {}), Call("query-block", {}))),
            Raw(b"\xff{}", 2),
            AwaitEvent("E", {"id": "j"}),
            AwaitJob("j", ("ready", "null")),
        ]
        assert found.steps[0].allowances == [Allowance("reply", "so it is", certain=True)]
        assert found.steps[-1].allowances == [Allowance("events", "by chance", certain=False)]
        assert [step.line for step in found.steps] == [4, 7, 9, 10, 11]

    @pytest.mark.parametrize("line", ["fly me", "> query-jobs {", "~ reply", "raw x {}", "> query-jobs\n~ reply: "])
    def test_nonsense_is_refused_with_its_line(self, tmp_path: Path, line: str) -> None:
        with pytest.raises(TranscriptError, match=r"made\.txt:[23]"):
            written(tmp_path, f"== t: x\n{line}\n")


class TestComparison:
    """What counts as a difference, on made-up recordings."""

    def verdict(self, tmp_path: Path, text: str, ours: Any, theirs: Any, **options: Any) -> list[str]:
        """The findings when both sides answered the steps of `text` so."""
        [transcript] = written(tmp_path, f"== t: x\n{text}")
        one, other = (
            Recording([Outcome(step, [reply]) for step, reply in zip(transcript.steps, replies, strict=True)])
            for replies in (ours, theirs)
        )
        our_events, their_events = options.get("events", ([], []))
        one.events, other.events = {"a": our_events}, {"a": their_events}
        other.outcomes[-1].trouble = options.get("trouble", "")
        verdict = compare(transcript, one, other, Normalizer(Path("/one")), Normalizer(Path("/other")))
        return [f"{found.path}: {found.detail}" for found in verdict.findings]

    def test_wording_paths_and_generated_names_do_not_count(self, tmp_path: Path) -> None:
        ours = [{"error": {"class": "GenericError", "desc": "no"}}, {"return": ["#block7", "/one/a", "#block9"]}]
        theirs = [{"error": {"class": "GenericError", "desc": "No!"}}, {"return": ["#block8", "/other/a", "#block1"]}]
        assert self.verdict(tmp_path, "! x\n> y\n", ours, theirs) == []

    def test_a_generated_name_stays_the_same(self, tmp_path: Path) -> None:
        ours, theirs = [{"return": ["#block7", "#block7"]}], [{"return": ["#block7", "#block8"]}]
        assert self.verdict(tmp_path, "> y\n", ours, theirs) == ['reply.return[]: qmpd "#block<0>", QEMU "#block<1>"']

    def test_classes_count(self, tmp_path: Path) -> None:
        ours, theirs = [{"error": {"class": "GenericError"}}], [{"error": {"class": "DeviceNotFound"}}]
        found = ['reply.error.class: qmpd "GenericError", QEMU "DeviceNotFound"']
        assert self.verdict(tmp_path, "! x\n", ours, theirs) == found
        assert self.verdict(tmp_path, "! x\n~ reply.error.class: meant\n", ours, theirs) == []
        assert self.verdict(tmp_path, "! x\n~ reply.err: meant\n", ours, theirs) == [
            *found,
            "reply.err: does not differ: meant",
        ]

    def test_a_broken_promise(self, tmp_path: Path) -> None:
        """A transcript that no longer does what it says is of no use, even if both servers agree."""
        reply: Any = [{"return": {}}]
        assert self.verdict(tmp_path, "! x\n", reply, reply) == ['qmpd: x: {"return": {}}']

    def test_events(self, tmp_path: Path) -> None:
        one, other = Event("ONE", {"id": "a"}, 1.0), Event("OTHER", {"id": "b"}, 2.0)
        events = [one, other], [other, one]
        reply: Any = [{"return": {}}]
        assert len(self.verdict(tmp_path, "> x\n", reply, reply, events=events)) == 1
        assert self.verdict(tmp_path, "by-subject\n> x\n", reply, reply, events=events) == []
        assert self.verdict(tmp_path, "> x\n~ events: meant\n", reply, reply, events=events) == []
        assert len(self.verdict(tmp_path, "by-subject\n> x\n", reply, reply, events=([one], [one, one]))) == 1

    def test_death(self, tmp_path: Path) -> None:
        reply: Any = [{"return": {}}]
        assert self.verdict(tmp_path, "> x\n", reply, reply, trouble="gone") == ["died: gone"]
        assert self.verdict(tmp_path, "> x\n~ died: it does\n", reply, reply, trouble="gone") == []
        assert self.verdict(tmp_path, "> x\n~ died: it does\n", reply, reply) == ["died: does not differ: it does"]

    def test_json(self) -> None:
        ours = {"a": [1, {"b": True}], "c": 1}
        theirs = {"a": [1, {"b": 1}], "d": 1}
        assert [path for path, _ in differences("x", ours, theirs)] == ["x.a[].b", "x.c", "x.d"]
        assert list(differences("x", ours, ours)) == []


class TestPair:
    """The servers under the player."""

    def test_a_peer_that_dies_is_told_and_replaced(self, pair: Pair, tmp_path: Path) -> None:
        dies, lives = written(
            tmp_path,
            '== dies: in QEMU 7.2\n> blockdev-reopen {"options": []}\n> query-jobs\n== lives: again\n> query-jobs\n',
        )
        [found] = pair.play(dies).findings
        assert (found.path, found.line) == ("died", 2)
        assert not pair.play(lives).findings

    def test_nothing_is_left_for_the_next(self, pair: Pair, tmp_path: Path) -> None:
        """Nodes on nodes, a job in the middle, an export, an object and files are all gone."""
        leaves, finds_nothing = written(
            tmp_path,
            "== leaves: all sorts of things\n"
            "$ truncate -s 1M a.img\n"
            '> object-add {"qom-type": "throttle-group", "id": "g"}\n'
            '> blockdev-add {"driver": "throttle", "node-name": "t", "throttle-group": "g",\n'
            '  "file": {"driver": "raw", "node-name": "r", "file": {"driver": "file", "filename": "a.img"}}}\n'
            '> blockdev-add {"driver": "null-co", "node-name": "n", "size": 1048576}\n'
            '> nbd-server-start {"addr": {"type": "unix", "data": {"path": "nbd.sock"}}}\n'
            '> block-export-add {"type": "nbd", "id": "e", "node-name": "n", "writable": true}\n'
            '> blockdev-backup {"job-id": "j", "device": "t", "target": "n", "sync": "none", "auto-dismiss": false}\n'
            "== finds-nothing: of it\n"
            '> query-named-block-nodes\n> query-jobs\n> query-block-exports\n! object-del {"id": "g"}\n'
            '! nbd-server-stop\n$ test "$(ls)" = ""\n',
        )
        assert not pair.play(leaves).findings
        assert not pair.play(finds_nothing).findings
