"""Questions about a machine, which tools ask of any QEMU: there is none but its disks and I/O threads."""

from __future__ import annotations

from qmpd.hmp.command import Human, HumanCommand
from qmpd.hmp.line import Arguments


async def uuid(human: Human, arguments: Arguments) -> None:
    """Tell the UUID of the machine."""
    human.say((await human.execute("query-uuid", {}))["UUID"])


async def kvm(human: Human, arguments: Arguments) -> None:
    """Tell whether KVM is in use."""
    answer = await human.execute("query-kvm", {})
    human.say(f"kvm support: {'enabled' if answer['enabled'] else 'disabled'}")


async def iothreads(human: Human, arguments: Arguments) -> None:
    """Tell of I/O threads."""
    for thread in await human.execute("query-iothreads", {}):
        human.say(f"{thread['id']}:")
        for name in ("thread-id", "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch"):
            human.say(f"  {'thread_id' if name == 'thread-id' else name}={thread[name]}")


async def balloon(human: Human, arguments: Arguments) -> None:
    """Tell how much memory the guest has; fails, as there is no balloon."""
    human.say(f"balloon: actual={(await human.execute('query-balloon', {}))['actual'] >> 20}")


async def memory(human: Human, arguments: Arguments) -> None:
    """Tell how much memory the machine has."""
    answer = await human.execute("query-memory-size-summary", {})
    human.say(f"base memory: {answer['base-memory']}")
    if "plugged-memory" in answer:
        human.say(f"plugged memory: {answer['plugged-memory']}")


async def mice(human: Human, arguments: Arguments) -> None:
    """Tell of mice."""
    human.say("No mouse devices connected")


async def nothing(human: Human, arguments: Arguments) -> None:
    """Have nothing to tell: the machine has none of these."""


MACHINE_INFO = (
    HumanCommand(("balloon",), "", "tells of the memory balloon, which there is not", balloon),
    HumanCommand(("cpus",), "", "tells of processors: there are none", nothing),
    HumanCommand(("iothreads",), "", "tells of I/O threads", iothreads),
    HumanCommand(("kvm",), "", "tells whether KVM is in use: it is not", kvm),
    HumanCommand(("memory_size_summary",), "", "tells how much memory the machine has: none", memory),
    HumanCommand(("mice",), "", "tells of mice: there are none", mice),
    HumanCommand(("network",), "", "tells of network devices: there are none", nothing),
    HumanCommand(("pci",), "", "tells of PCI devices: there are none", nothing),
    HumanCommand(("tpm",), "", "tells of TPMs: there are none", nothing),
    HumanCommand(("uuid",), "", "tells the UUID of the machine", uuid),
)
