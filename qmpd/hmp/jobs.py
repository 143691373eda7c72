"""What shortens chains of images, and what may be done to jobs that run."""

from __future__ import annotations

from typing import Any

from qmpd.hmp.command import Human, HumanCommand, Run
from qmpd.hmp.disks import DEVICE
from qmpd.hmp.line import Arguments, Kind, Parameter


async def commit(human: Human, arguments: Arguments) -> None:
    """Commit a disk into its backing image, or all drives that have one; guests stand still meanwhile."""
    from qmpd.block.chain import backing_node, skip_filters
    from qmpd.block.commit_at_once import commit_at_once

    name = arguments.text("device")
    graph = human.graph
    async with graph.exclusive():
        if name != "all":
            await commit_at_once(graph, graph.lookup_either(name, name))
            return
        for drive in list(graph.drives):
            if drive.medium is not None and backing_node(skip_filters(drive.medium)) is not None:
                await commit_at_once(graph, drive.medium)


async def stream(human: Human, arguments: Arguments) -> None:
    """Begin to let a disk take over what is below it."""
    device = arguments.text("device")
    options: dict[str, Any] = {"job-id": device, "device": device, "on-error": "report"}
    speed, base = arguments.maybe_number("speed"), arguments.maybe("base")
    if speed is not None:
        options["speed"] = speed
    if base is not None:
        options["base"] = base
    await human.execute("block-stream", options)


async def cancel(human: Human, arguments: Arguments) -> None:
    """End a job."""
    job = {"device": arguments.text("device"), "force": arguments.flag("force")}
    await human.execute("block-job-cancel", job)


async def set_speed(human: Human, arguments: Arguments) -> None:
    """Limit the speed of a job."""
    job = {"device": arguments.text("device"), "speed": arguments.number("speed")}
    await human.execute("block-job-set-speed", job)


def _verb(command: str) -> Run:
    async def carry_out(human: Human, arguments: Arguments) -> None:
        await human.execute(command, {"device": arguments.text("device")})

    return carry_out


JOBS = (
    HumanCommand(
        ("commit",),
        "device|all",
        "puts what a disk stores into its backing image; guests stand still meanwhile",
        commit,
        (DEVICE,),
    ),
    HumanCommand(
        ("block_stream",),
        "device [speed [base]]",
        "begins to let a disk take over what is below it",
        stream,
        (DEVICE, Parameter("speed", Kind.SIZE, optional=True), Parameter("base", Kind.FILE, optional=True)),
    ),
    HumanCommand(
        ("block_job_cancel",),
        "[-f] device",
        "ends a job (-f: a mirror that is ready, too, loses what it has done)",
        cancel,
        (Parameter("force", Kind.FLAG, letter="f"), DEVICE),
    ),
    HumanCommand(
        ("block_job_set_speed",),
        "device speed",
        "limits a job's speed (in MiB per second, or with a suffix)",
        set_speed,
        (DEVICE, Parameter("speed", Kind.SIZE)),
    ),
    HumanCommand(
        ("block_job_complete",), "device", "lets a job that is ready end", _verb("block-job-complete"), (DEVICE,)
    ),
    HumanCommand(("block_job_pause",), "device", "pauses a job", _verb("block-job-pause"), (DEVICE,)),
    HumanCommand(("block_job_resume",), "device", "resumes a job", _verb("block-job-resume"), (DEVICE,)),
)
