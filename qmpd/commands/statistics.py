"""Commands that tell what disks have done, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qmpd.block.accounting import BackendStats, LatencyHistogram
from qmpd.block.drive_info import drive_stats, listed
from qmpd.block.info import backend_stats, node_stats
from qmpd.errors import DeviceNotFound
from qmpd.monitor.context import RequestContext
from qmpd.monitor.dispatcher import command

if TYPE_CHECKING:
    from qmpd.api.models import QObjBlockLatencyHistogramSetArg, QObjQueryBlockstatsArg
    from qmpd.block.graph import BlockGraph
    from qmpd.devices.manager import DeviceManager
    from qmpd.export.manager import ExportManager


class StatisticsCommands:
    """query-blockstats and block-latency-histogram-set."""

    def __init__(self, graph: BlockGraph, devices: DeviceManager, exports: ExportManager) -> None:
        self._graph = graph
        self._devices = devices
        self._exports = exports

    @command("query-blockstats")
    def query_blockstats(self, ctx: RequestContext, args: QObjQueryBlockstatsArg) -> list[dict[str, Any]]:
        """What went through the devices, or with query-nodes through all nodes.

        An export counts as a device once somebody has asked for its histograms; QEMU knows no way to ask.
        """
        if args.query_nodes:
            return [node_stats(node) for node in self._graph.nodes.values()]
        devices = [drive_stats(drive) for drive in listed(self._graph)]
        return devices + [
            backend_stats(export.backend, export.export_id)
            for export in self._exports.all()
            if export.backend.drive is None and export.backend.stats.has_histograms
        ]

    @command("block-latency-histogram-set")
    def set_histograms(self, ctx: RequestContext, args: QObjBlockLatencyHistogramSetArg) -> None:
        """Begin to count requests by how long they take, afresh; without any boundaries stop it.

        :raises DeviceNotFound: there is no such export or device.
        :raises GenericError: boundaries that make no histogram; nothing has changed then.
        """
        stats = self._stats_of(args.id)
        common = args.boundaries
        chosen = {
            "read": common if args.boundaries_read is None else args.boundaries_read,
            "write": common if args.boundaries_write is None else args.boundaries_write,
            "flush": common if args.boundaries_flush is None else args.boundaries_flush,
        }
        given = {name: LatencyHistogram.checked(limits) for name, limits in chosen.items() if limits is not None}
        for name in chosen:
            if name in given or not given:
                getattr(stats, name).latencies = given.get(name)

    def _stats_of(self, name: str) -> BackendStats:
        export = self._exports.find(name)
        if export is not None:
            return export.backend.stats
        drive = self._graph.backends.get(name)
        if drive is None and self._devices.find(name) is None:
            raise DeviceNotFound(f"There is no export, no drive and no device '{name}'")
        return (drive or self._devices.drive_of(name)).stats
