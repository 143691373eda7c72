"""The order of things in a transaction, for every place where it can go wrong."""

from __future__ import annotations

import asyncio
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qmpd.errors import GenericError
from qmpd.monitor.context import RequestContext
from qmpd.transaction import kinds as kinds_package
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.engine import ActionRequest, TransactionEngine, discover_kinds
from qmpd.transaction.env import CompletionMode, TransactionEnv
from qmpd.transaction.kinds.abort import AbortAction
from qmpd.transaction.outcome import Demand
from tests.jobs.fakes import Node, Work, World

CONTEXT = RequestContext(request_id=1, session_id=1, peer=None, time=0.0)
INDIVIDUAL, GROUPED = CompletionMode.INDIVIDUAL, CompletionMode.GROUPED


class Stage(World):
    """A world with an engine, and a log of what the actions were told."""

    def __init__(self, recorder: Any = None) -> None:
        super().__init__()
        self.log: list[str] = []
        self.anticipated = ""
        self.gates: dict[str, asyncio.Event] = {}
        self.disks = {name: Node(name) for name in "abcd"}
        kinds = {cls.kind: cls for cls in (Step, AbortAction, StartJob, Lonely, Setting)}
        self.engine = TransactionEngine(
            self.graph,  # type: ignore[arg-type]
            self.jobs,
            self.events,
            self,
            recorder=recorder,
            kinds=kinds,
        )

    async def run(self, *names: str, mode: CompletionMode = INDIVIDUAL, kind: str = "step") -> Any:
        return await self.engine.run([ActionRequest(kind, name) for name in names], mode, CONTEXT)


class Step(TransactionAction):
    """Logs what it is told. Its data is its name, with an exclamation mark and the step that goes wrong."""

    kind = "step"

    def __init__(self, data: str, env: TransactionEnv) -> None:
        super().__init__(data, env)
        self.name, _, self.wrong = data.partition("!")
        self.stage: Stage = env.services

    def nodes(self) -> Sequence[Any]:
        node = self.stage.disks.get(self.name)
        return () if node is None else (node,)

    def demand(self) -> Demand:
        return Demand(jobs=1)

    def outcome(self) -> Sequence[Any]:
        return [self.data]

    def told(self, step: str) -> None:
        assert self.stage.graph.held
        assert all(node.drains for node in self.nodes())
        self.stage.log.append(f"{step} {self.name}")
        if self.wrong == step and step != "prepare":
            raise ZeroDivisionError(step)

    async def anticipate(self) -> None:
        assert self.stage.graph.held
        assert not any(node.drains for node in self.stage.disks.values())
        self.stage.anticipated += self.name

    async def prepare(self) -> None:
        self.told("prepare")
        gate = self.stage.gates.get(self.name)
        if gate is not None:
            await gate.wait()
        match self.wrong:
            case "prepare":
                raise GenericError(f"{self.name} cannot be prepared")
            case "disk":
                raise OSError(errno.ENOSPC, "full")
            case "bug":
                raise KeyError("oops")

    def commit(self) -> None:
        self.told("commit")

    def abort(self) -> None:
        self.told("abort")

    def clean(self) -> None:
        self.told("clean")


class Lonely(Step):
    kind = "lonely"
    ungroupable = "it cannot be undone once the disks are in use again"


class StartJob(Step):
    """Makes a job in `prepare` and starts it in `commit`."""

    kind = "start-job"

    async def prepare(self) -> None:
        await super().prepare()
        self.job = Work(self.name, self.stage.disks.get(self.name))
        self.job.hook_log = self.stage.hook_log
        self.env.jobs.add(self.job, self.env.group)

    def commit(self) -> None:
        super().commit()
        self.job.start()

    def abort(self) -> None:
        super().abort()
        if hasattr(self, "job"):
            self.job.abandon()


class Setting(Step):
    """Does something that is taken back when the group fails later."""

    kind = "setting"

    def commit(self) -> None:
        super().commit()
        if self.env.group is not None:
            self.env.group.on_settled(lambda success: self.stage.log.append(f"settled {self.name} {success}"))


def told(**steps: str) -> list[str]:
    """`told(prepare="ab", commit="ab")` is what the log should hold."""
    return [f"{step} {name}" for step, names in steps.items() for name in names]


async def test_all_goes_well() -> None:
    stage = Stage()
    actions = await stage.run("a", "b", "c")
    assert stage.anticipated == "abc"
    assert stage.log == told(prepare="abc", commit="abc", clean="abc")
    assert [action.data for action in actions] == ["a", "b", "c"]
    assert not stage.graph.held and all(node.drains == 0 for node in stage.disks.values())


@pytest.mark.parametrize("mode", list(CompletionMode))
async def test_nothing_to_do(mode: CompletionMode) -> None:
    stage = Stage()
    assert await stage.run(mode=mode) == []


@pytest.mark.parametrize("mode", list(CompletionMode))
@pytest.mark.parametrize("wrong", ["prepare", "disk", "bug"])
@pytest.mark.parametrize("position", range(4))
async def test_a_failing_prepare(position: int, wrong: str, mode: CompletionMode) -> None:
    """Those after it are not touched; it and those before it are aborted backwards; the first error counts."""
    stage = Stage()
    names = [*"abcd"]
    names[position] += "!" + wrong
    with pytest.raises((GenericError, KeyError)) as caught:
        await stage.run(*names, mode=mode)
    begun = "abcd"[: position + 1]
    assert stage.log == told(prepare=begun, abort=begun[::-1], clean=begun)
    expected = {"prepare": f"{begun[-1]} cannot be prepared", "disk": "'step' failed: No space left", "bug": "oops"}
    assert expected[wrong] in str(caught.value)
    assert all(node.drains == 0 for node in stage.disks.values()) and not stage.graph.held


async def test_the_first_error_is_the_answer() -> None:
    stage = Stage()
    with pytest.raises(GenericError, match="b cannot"):
        await stage.run("a", "b!prepare", "c!prepare")


@pytest.mark.parametrize("position", range(4))
async def test_the_client_leaves_during_prepare(position: int) -> None:
    stage = Stage()
    stage.gates["abcd"[position]] = asyncio.Event()
    running = asyncio.ensure_future(stage.run(*"abcd"))
    begun = "abcd"[: position + 1]
    await stage.until(lambda: len(stage.log) == len(begun))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.log == told(prepare=begun, abort=begun[::-1], clean=begun)


@pytest.mark.parametrize("step", ["commit", "clean"])
@pytest.mark.parametrize("position", range(3))
async def test_a_commit_or_clean_that_raises(
    position: int, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a bug and logged as one; what was decided goes on."""
    stage = Stage()
    names = [*"abc"]
    names[position] += "!" + step
    await stage.run(*names)
    assert stage.log == told(prepare="abc", commit="abc", clean="abc")
    (record,) = caplog.records
    assert record.levelname == "ERROR" and f"'{step}'" in record.getMessage()


async def test_an_abort_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    with pytest.raises(GenericError, match="c cannot"):
        await stage.run("a", "b!abort", "c!prepare")
    assert stage.log == told(prepare="abc", abort="cba", clean="abc")
    assert len(caplog.records) == 1


async def test_an_unknown_kind_touches_nothing() -> None:
    stage = Stage()
    requests = [ActionRequest("step", "a"), ActionRequest("nope", "b")]
    with pytest.raises(GenericError, match="'nope'"):
        await stage.engine.run(requests, INDIVIDUAL, CONTEXT)
    assert stage.log == []


async def test_what_cannot_be_grouped_touches_nothing() -> None:
    stage = Stage()
    requests = [ActionRequest("start-job", "a"), ActionRequest("lonely", "b")]
    with pytest.raises(GenericError, match=r"'lonely'.*'grouped'.*cannot be undone"):
        await stage.engine.run(requests, GROUPED, CONTEXT)
    assert stage.log == [] and stage.events.all == []
    await stage.engine.run([requests[1]], INDIVIDUAL, CONTEXT)
    assert stage.log == told(prepare="b", commit="b", clean="b")


async def test_single_commands_are_transactions_of_one() -> None:
    stage = Stage()
    action = await stage.engine.run_single("step", "a", CONTEXT)
    assert action.data == "a" and action.env.group is None and action.env.context is CONTEXT
    with pytest.raises(GenericError):
        await stage.engine.run_single("abort", None, CONTEXT)


async def test_transactions_come_one_at_a_time() -> None:
    stage = Stage()
    gate = stage.gates["a"] = asyncio.Event()
    first = asyncio.ensure_future(stage.run("a"))
    await stage.until(lambda: stage.log == ["prepare a"])
    second = asyncio.ensure_future(stage.run("b"))
    await stage.settle()
    assert stage.log == ["prepare a"]
    gate.set()
    await asyncio.gather(first, second)
    assert stage.log == told(prepare="a", commit="a", clean="a") + told(prepare="b", commit="b", clean="b")


class Recorder:
    """Records when the test lets it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.gate = asyncio.Event()
        self.begun = asyncio.Event()
        self.failure = failure
        self.recorded: list[Any] = []
        self.demand = Demand()
        self.abandoned = 0

    async def begin(self, env: TransactionEnv, demand: Demand) -> Recorder:
        self.demand = demand
        return self

    async def store(self, facts: Sequence[Any]) -> None:
        self.begun.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.recorded = list(facts)

    def abandon(self) -> None:
        self.abandoned += 1


async def test_the_outcome_is_recorded_before_it_is_final() -> None:
    recorder = Recorder()
    stage = Stage(recorder)
    running = asyncio.ensure_future(stage.run("a", "b"))
    await recorder.begun.wait()
    assert stage.log == told(prepare="ab")
    recorder.gate.set()
    await running
    assert recorder.recorded == ["a", "b"]
    assert recorder.demand == Demand(jobs=2) and recorder.abandoned == 0
    assert stage.log == told(prepare="ab", commit="ab", clean="ab")


async def test_what_is_refused_before_anything_stands_still_does_not_begin() -> None:
    recorder = Recorder()

    async def refuse(env: TransactionEnv, demand: Demand) -> Recorder:
        raise GenericError("over quota")

    recorder.begin = refuse  # type: ignore[method-assign]
    stage = Stage(recorder)
    with pytest.raises(GenericError, match="over quota"):
        await stage.run("a", "b")
    assert stage.log == []


@pytest.mark.parametrize(
    ("failure", "text"),
    [(GenericError("no quorum"), "no quorum"), (OSError(errno.ENOSPC, "full"), "recorded: No space left")],
)
async def test_what_cannot_be_recorded_does_not_happen(failure: Exception, text: str) -> None:
    recorder = Recorder(failure)
    recorder.gate.set()
    stage = Stage(recorder)
    with pytest.raises(GenericError, match=text):
        await stage.run("a", "b")
    assert stage.log == told(prepare="ab", abort="ba", clean="ab")
    assert recorder.abandoned == 1
    with pytest.raises(GenericError, match=text):
        await stage.run()


async def test_the_client_leaves_while_the_outcome_is_recorded() -> None:
    """It is in the balance until recording ends: what was recorded is committed."""
    recorder = Recorder()
    stage = Stage(recorder)
    running = asyncio.ensure_future(stage.run("a", "b"))
    await recorder.begun.wait()
    for _ in range(2):
        running.cancel()
        await stage.settle()
        assert not running.done() and stage.log == told(prepare="ab")
    recorder.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.log == told(prepare="ab", commit="ab", clean="ab")


async def test_the_client_leaves_and_recording_fails() -> None:
    recorder = Recorder(GenericError("no quorum"))
    stage = Stage(recorder)
    running = asyncio.ensure_future(stage.run("a", "b"))
    await recorder.begun.wait()
    running.cancel()
    await stage.settle()
    recorder.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.log == told(prepare="ab", abort="ba", clean="ab")


# -- with jobs


async def test_jobs_of_an_individual_transaction_end_for_themselves() -> None:
    stage = Stage()
    a, b = [action.job for action in await stage.run("a", "b", kind="start-job")]
    assert ", ".join(stage.events.lines) == (
        "a created, b created, a running, a paused, b running, b paused, a running, b running"
    )
    a.finish(OSError(errno.EIO, "broken"))
    b.finish()
    await stage.settle()
    assert "COMPLETED (Input/output error)" in stage.events.of("a") and "COMPLETED" in stage.events.of("b")


async def test_jobs_of_a_grouped_transaction_share_one_fate() -> None:
    stage = Stage()
    a, b = [action.job for action in await stage.run("a", "b", mode=GROUPED, kind="start-job")]
    assert a.txn is b.txn
    await stage.settle()
    a.finish(OSError(errno.EIO, "broken"))
    await stage.settle()
    assert "COMPLETED (Input/output error)" in stage.events.of("a") and "CANCELLED" in stage.events.of("b")


@pytest.mark.parametrize("mode", list(CompletionMode))
async def test_jobs_of_a_failing_transaction_never_start(mode: CompletionMode) -> None:
    """qemu-storage-daemon hangs here if the transaction is grouped and has two jobs."""
    stage = Stage()
    requests = [ActionRequest("start-job", name) for name in "ab"] + [ActionRequest("abort", None)]
    with pytest.raises(GenericError, match="abort"):
        await stage.engine.run(requests, mode, CONTEXT)
    assert ", ".join(stage.events.lines) == (
        "a created, b created, b aborting, b concluded, b null, a aborting, a concluded, a null"
    )
    assert stage.jobs.jobs == [] and asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_id_that_is_taken_takes_the_transaction_down() -> None:
    stage = Stage()
    with pytest.raises(GenericError, match="'a'"):
        await stage.run("a", "a", mode=GROUPED, kind="start-job")
    assert stage.jobs.jobs == [] and stage.log == told(prepare="aa", abort="aa", clean="aa")


@pytest.mark.parametrize("fails", [False, True])
async def test_other_actions_follow_the_group(fails: bool) -> None:
    stage = Stage()
    requests = [ActionRequest("setting", "a"), ActionRequest("start-job", "b"), ActionRequest("setting", "c")]
    actions: Any = await stage.engine.run(requests, GROUPED, CONTEXT)
    await stage.settle()
    assert not any(line.startswith("settled") for line in stage.log)
    stage.log.clear()
    actions[1].job.finish(OSError(errno.EIO, "broken") if fails else None)
    await stage.settle()
    assert stage.log == (["settled c False", "settled a False"] if fails else ["settled a True", "settled c True"])


async def test_a_group_without_jobs_is_over_at_once() -> None:
    stage = Stage()
    await stage.run("a", "b", mode=GROUPED, kind="setting")
    settled = ["settled a True", "settled b True"]
    assert stage.log == [*told(prepare="ab", commit="ab"), *settled, *told(clean="ab")]


async def test_a_failing_transaction_calls_nobody_back() -> None:
    stage = Stage()
    requests = [ActionRequest("setting", "a"), ActionRequest("abort", None)]
    with pytest.raises(GenericError):
        await stage.engine.run(requests, GROUPED, CONTEXT)
    assert stage.log == told(prepare="a", abort="a", clean="a")


# -- finding the kinds


def test_the_kinds_of_the_package() -> None:
    found = discover_kinds(kinds_package)
    assert found["abort"] is AbortAction
    assert all(cls.kind == kind and issubclass(cls, TransactionAction) for kind, cls in found.items())


MODULE = """
from qmpd.transaction.action import TransactionAction
from qmpd.transaction.kinds.abort import AbortAction

class Helper(TransactionAction):
    pass

class Mine(Helper):
    kind = "{kind}"

    async def prepare(self):
        pass
"""


def make_package(path: Path, name: str, **modules: str) -> ModuleType:
    """A package of action kinds made for the test."""
    package = ModuleType(name)
    package.__path__ = [str(path)]
    sys.modules[name] = package
    for module, kind in modules.items():
        (path / f"{module}.py").write_text(MODULE.format(kind=kind))
    return package


def test_a_new_kind_is_a_new_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    package = make_package(tmp_path, "kinds_one", first="x-first", second="x-second")
    assert sorted(discover_kinds(package)) == ["x-first", "x-second"]


def test_two_claims_on_one_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    package = make_package(tmp_path, "kinds_two", first="x-same", second="x-same")
    with pytest.raises(RuntimeError, match=r"'x-same'.*kinds_two.first.*kinds_two.second"):
        discover_kinds(package)
