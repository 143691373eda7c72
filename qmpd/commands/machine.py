"""The questions that tools ask a QEMU before they work with it, answered for a machine that has disks and nothing else.

Most answers never change: that there is none. `ANSWERS` has them. What would be untrue of such a machine is refused
with the error class that QEMU has for it.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qmpd.errors import DeviceNotActive, GenericError
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjQueryCommandLineOptionsArg, QObjQueryRxFilterArg
    from qmpd.objects.tree import ObjectTree

MACHINE = "none"
"""The name that QEMU has for a machine without processors."""

ANSWERS: Mapping[str, object] = {
    "query-uuid": {"UUID": "00000000-0000-0000-0000-000000000000"},
    "query-kvm": {"enabled": False, "present": False},
    "query-machines": [
        {
            "name": MACHINE,
            "is-default": True,
            "cpu-max": 0,
            "hotpluggable-cpus": False,
            "numa-mem-supported": False,
            "deprecated": False,
        }
    ],
    "query-current-machine": {"wakeup-suspend-support": False},
    "query-cpus-fast": [],
    "query-cpu-definitions": [],
    "query-memory-size-summary": {"base-memory": 0, "plugged-memory": 0},
    "query-memory-devices": [],
    "query-memdev": [],
    "query-sev": {
        "enabled": False,
        "api-major": 0,
        "api-minor": 0,
        "build-id": 0,
        "policy": 0,
        "state": "uninit",
        "handle": 0,
    },
    "query-tpm": [],
    "query-tpm-models": [],
    "query-tpm-types": [],
    "query-vnc": {"enabled": False},
    "query-vnc-servers": [],
    "query-spice": {"enabled": False, "migrated": False, "mouse-mode": "unknown"},
    "query-mice": [],
    "query-pci": [],
    "query-dump": {"status": "none", "completed": 0, "total": 0},
    "query-dump-guest-memory-capability": {"formats": []},
    "query-migrate": {},
    "query-migrate-capabilities": [],
    "query-pr-managers": [],
    "query-fdsets": [],
}
"""What a command always answers."""

_ARCHITECTURES = {"armv7l": "arm", "i486": "i386", "i586": "i386", "i686": "i386", "ppc64le": "ppc64"}


class MachineCommands:
    """query-target, query-iothreads, query-command-line-options, and what is refused.

    :param options: gives the options of the command line with their parameters; called when first asked for.
    """

    def __init__(self, objects: ObjectTree, options: Callable[[], Sequence[dict[str, Any]]]) -> None:
        self._objects = objects
        self._options = options

    @command("query-target")
    def target(self, ctx: RequestContext, args: None) -> dict[str, str]:
        """The architecture of the host, which guests may be expected to have."""
        from qmpd.api.models import SysEmuTarget

        machine = platform.machine()
        name = _ARCHITECTURES.get(machine, machine)
        return {"arch": name if name in {target.value for target in SysEmuTarget} else SysEmuTarget.X86_64.value}

    @command("query-iothreads")
    def iothreads(self, ctx: RequestContext, args: None) -> list[dict[str, Any]]:
        """The `iothread` objects."""
        from qmpd.objects.iothread import IOThread

        return [
            {
                "id": found.object_id,
                "thread-id": threading.main_thread().native_id,
                "poll-max-ns": found.poll_max_ns,
                "poll-grow": found.poll_grow,
                "poll-shrink": found.poll_shrink,
                "aio-max-batch": found.aio_max_batch,
            }
            for found in self._objects
            if isinstance(found, IOThread)
        ]

    @command("query-command-line-options")
    def command_line_options(self, ctx: RequestContext, args: QObjQueryCommandLineOptionsArg) -> list[dict[str, Any]]:
        """The options of the command line.

        :raises GenericError: there is none of that name.
        """
        found = [entry for entry in self._options() if args.option in (None, entry["option"])]
        if not found:
            raise GenericError(f"There is no option '--{args.option}'")
        return found

    @command("query-rx-filter")
    def rx_filter(self, ctx: RequestContext, args: QObjQueryRxFilterArg) -> list[Any]:
        """No network cards.

        :raises GenericError: one is asked for by name.
        """
        if args.name is not None:
            raise GenericError(f"There is no network card '{args.name}', nor any other")
        return []

    @command("query-balloon")
    def balloon(self, ctx: RequestContext, args: None) -> None:
        """Refuse.

        :raises DeviceNotActive: always.
        """
        raise DeviceNotActive("There is no guest whose memory could be asked for")

    @command("query-hotpluggable-cpus")
    def hotpluggable_cpus(self, ctx: RequestContext, args: None) -> None:
        """Refuse.

        :raises GenericError: always.
        """
        raise GenericError("The machine takes no processors")
