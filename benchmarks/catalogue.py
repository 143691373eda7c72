"""The list of all measures, in the order of the table, with the ratios that the project asks of itself."""

from benchmarks import block_load, qcow2_load, qmp_load
from benchmarks.measure import Better, Measure

_HIGHER, _LOWER = Better.HIGHER, Better.LOWER

MEASURES = (
    Measure("QMP round trips, query-version", "1/s", _HIGHER, qmp_load.query_version, 2.5),
    Measure("QMP round trips, query-jobs", "1/s", _HIGHER, qmp_load.query_jobs, 2.5),
    Measure("QMP round trips, 50 file nodes", "1/s", _HIGHER, qmp_load.query_file_nodes, 2.5),
    Measure("QMP round trips, 50 null nodes", "1/s", _HIGHER, qmp_load.query_null_nodes, 2.5),
    Measure("QMP pipelined commands", "1/s", _HIGHER, qmp_load.pipelined, 10.0),
    Measure("transaction of 200 bitmap actions", "ms", _LOWER, qmp_load.bitmap_transaction),
    Measure("full backup", "s", _LOWER, block_load.full_backup, 1.5, rounds=3),
    Measure("incremental backup of 1 %", "s", _LOWER, block_load.incremental_backup, 1.5),
    Measure("NBD 4 KiB reads, depth 1", "1/s", _HIGHER, block_load.read_4k_1, 0.7),
    Measure("NBD 4 KiB reads, depth 16", "1/s", _HIGHER, block_load.read_4k_16, 1.0),
    Measure("NBD 4 KiB writes, depth 1", "1/s", _HIGHER, block_load.write_4k_1, 0.7),
    Measure("NBD 4 KiB writes, depth 16", "1/s", _HIGHER, block_load.write_4k_16, 1.0),
    Measure("NBD 256 KiB reads, depth 4", "1/s", _HIGHER, block_load.read_256k),
    Measure("nbdcopy of the image", "s", _LOWER, block_load.nbdcopy_image),
    Measure("qcow2 to qcow2 full backup", "s", _LOWER, qcow2_load.full_backup, 1.5, rounds=3),
    Measure("qcow2 to qcow2 incremental", "s", _LOWER, qcow2_load.incremental_backup, 1.5),
    Measure("qcow2 4 KiB reads, depth 16", "1/s", _HIGHER, qcow2_load.read_4k_16, 0.8),
    Measure("qcow2 4 KiB writes when empty", "1/s", _HIGHER, qcow2_load.write_empty, 0.5),
    Measure("start to greeting", "ms", _LOWER, qmp_load.start_to_greeting, rounds=9),
    Measure("resident memory when idle", "MiB", _LOWER, qmp_load.idle_memory),
)
