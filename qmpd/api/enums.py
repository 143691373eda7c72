"""The enums of the schema.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from qmpd.qapi.enums import QAPIEnum

__all__ = [
    "QapiErrorClass",
    "IoOperationType",
    "OnOffAuto",
    "NetworkAddressFamily",
    "SocketAddressType",
    "RunState",
    "ShutdownCause",
    "JobType",
    "JobStatus",
    "JobVerb",
    "Qcow2BitmapInfoFlags",
    "Qcow2CompressionType",
    "ImageInfoSpecificKind",
    "BlockDeviceIoStatus",
    "XDbgBlockGraphNodeType",
    "BlockPermission",
    "BlockdevOnError",
    "MirrorSyncMode",
    "BitmapSyncMode",
    "NewImageMode",
    "MirrorCopyMode",
    "PreallocMode",
    "BlockdevDiscardOptions",
    "BlockdevDetectZeroesOptions",
    "BlockdevAioOptions",
    "BlockdevDriver",
    "Qcow2OverlapCheckMode",
    "OnCbwError",
    "BlkdebugEvent",
    "BlkdebugIOType",
    "QuorumReadPattern",
    "BlockdevQcow2Version",
    "BlockErrorAction",
    "QuorumOpType",
    "BlockdevChangeReadOnlyMode",
    "BlockExportRemoveMode",
    "BlockExportType",
    "DumpGuestMemoryFormat",
    "DumpStatus",
    "RxState",
    "TpmModel",
    "TpmType",
    "VncPrimaryAuth",
    "VncVencryptSubAuth",
    "SpiceQueryMouseMode",
    "MigrationStatus",
    "MigrationCapability",
    "SysEmuTarget",
    "CpuS390State",
    "MemoryDeviceInfoKind",
    "HostMemPolicy",
    "SevState",
    "DataFormat",
    "ChardevBackendKind",
    "CommandLineParameterType",
    "QMPCapability",
    "MonitorMode",
    "SchemaMetaType",
    "JSONType",
    "ActionCompletionMode",
    "TransactionActionKind",
    "QAuthZListPolicy",
    "QAuthZListFormat",
    "QCryptoSecretFormat",
    "QCryptoTLSCredsEndpoint",
    "ObjectType",
    "CatalogOutcome",
    "CatalogOrigin",
    "CatalogResource",
    "CatalogScope",
    "StateItemKind",
]


class QapiErrorClass(QAPIEnum):
    """The class of a failed command's error. Clients may act on the class; the description is for people
    only.
    """

    GENERICERROR = "GenericError"
    """everything that has no class of its own"""

    COMMANDNOTFOUND = "CommandNotFound"
    """the command does not exist, or not in the session's present mode"""

    DEVICENOTACTIVE = "DeviceNotActive"
    """the device or job exists, but has nothing active that could be acted on"""

    DEVICENOTFOUND = "DeviceNotFound"
    """no device, node or job has that name"""

    KVMMISSINGCAP = "KVMMissingCap"
    """the host lacks a capability of KVM; qmpd never says so"""


class IoOperationType(QAPIEnum):
    """What a request does."""

    READ = "read"
    """reads"""

    WRITE = "write"
    """writes; writing zeroes, discarding and flushing count as writing"""


class OnOffAuto(QAPIEnum):
    """A switch that may also be left to the daemon."""

    AUTO = "auto"
    """the daemon decides"""

    ON = "on"
    """on"""

    OFF = "off"
    """off"""


class NetworkAddressFamily(QAPIEnum):
    """The family that an address belongs to."""

    IPV4 = "ipv4"
    """IPv4"""

    IPV6 = "ipv6"
    """IPv6"""

    UNIX = "unix"
    """Unix domain socket"""

    VSOCK = "vsock"
    """the family between a virtual machine and its host"""

    UNKNOWN = "unknown"
    """none of those"""


class SocketAddressType(QAPIEnum):
    """The kinds of socket addresses."""

    INET = "inet"
    """TCP"""

    UNIX = "unix"
    """Unix domain socket"""

    VSOCK = "vsock"
    """vsock"""

    FD = "fd"
    """a file descriptor that was passed earlier"""


class RunState(QAPIEnum):
    """The states of a virtual machine. Here they are those of the guests that write to devices: 'running',
    'paused', and 'io-error'; the others are here because clients know them.
    """

    DEBUG = "debug"
    """stopped by a debugger"""

    INMIGRATE = "inmigrate"
    """waits for an incoming migration"""

    INTERNAL_ERROR = "internal-error"
    """stopped by an error of the emulator"""

    IO_ERROR = "io-error"
    """stopped by an I/O error"""

    PAUSED = "paused"
    """stopped by a client"""

    POSTMIGRATE = "postmigrate"
    """stopped after an outgoing migration"""

    PRELAUNCH = "prelaunch"
    """not started yet"""

    FINISH_MIGRATE = "finish-migrate"
    """stopped for the last part of an outgoing migration"""

    RESTORE_VM = "restore-vm"
    """loads a snapshot"""

    RUNNING = "running"
    """runs"""

    SAVE_VM = "save-vm"
    """saves a snapshot"""

    SHUTDOWN = "shutdown"
    """shut down"""

    SUSPENDED = "suspended"
    """in a sleep state"""

    WATCHDOG = "watchdog"
    """stopped by the watchdog"""

    GUEST_PANICKED = "guest-panicked"
    """the guest's kernel has given up"""

    COLO = "colo"
    """stopped for a checkpoint of coarse-grained lock-stepping"""


class ShutdownCause(QAPIEnum):
    """Why a machine was shut down or reset."""

    NONE = "none"
    """nothing has happened"""

    HOST_ERROR = "host-error"
    """an error of the host"""

    HOST_QMP_QUIT = "host-qmp-quit"
    """the command 'quit'"""

    HOST_QMP_SYSTEM_RESET = "host-qmp-system-reset"
    """the command 'system_reset'"""

    HOST_SIGNAL = "host-signal"
    """a signal"""

    HOST_UI = "host-ui"
    """the user interface"""

    GUEST_SHUTDOWN = "guest-shutdown"
    """the guest has shut down"""

    GUEST_RESET = "guest-reset"
    """the guest has reset the machine"""

    GUEST_PANIC = "guest-panic"
    """the guest's kernel has given up"""

    SUBSYSTEM_RESET = "subsystem-reset"
    """a part was reset for reasons of its own"""

    SNAPSHOT_LOAD = "snapshot-load"
    """a snapshot was loaded"""


class JobType(QAPIEnum):
    """What a job does."""

    COMMIT = "commit"
    """writes an overlay's data into an image below it"""

    STREAM = "stream"
    """copies data from the images below into an overlay"""

    MIRROR = "mirror"
    """keeps a second image equal to the first"""

    BACKUP = "backup"
    """copies an image as it stood at one point in time"""

    CREATE = "create"
    """makes an image"""

    AMEND = "amend"
    """changes the options of an image"""

    SNAPSHOT_LOAD = "snapshot-load"
    """loads a snapshot"""

    SNAPSHOT_SAVE = "snapshot-save"
    """saves a snapshot"""

    SNAPSHOT_DELETE = "snapshot-delete"
    """deletes a snapshot"""


class JobStatus(QAPIEnum):
    """The states of a job's life."""

    UNDEFINED = "undefined"
    """not yet made; nobody sees it"""

    CREATED = "created"
    """made but not started"""

    RUNNING = "running"
    """works"""

    PAUSED = "paused"
    """stands still until it is resumed"""

    READY = "ready"
    """is done in principle and keeps up with what changes, until it is completed"""

    STANDBY = "standby"
    """was paused while it was ready"""

    WAITING = "waiting"
    """has finished its own work and waits for the other jobs of its transaction"""

    PENDING = "pending"
    """waits for 'job-finalize'; so do all jobs of its transaction"""

    ABORTING = "aborting"
    """has failed or was cancelled, and cleans up"""

    CONCLUDED = "concluded"
    """is over, and is kept until 'job-dismiss' so that its outcome can be read"""

    NULL = "null"
    """is over and gone"""


class JobVerb(QAPIEnum):
    """What can be asked of a job."""

    CANCEL = "cancel"
    """give up"""

    PAUSE = "pause"
    """stand still"""

    RESUME = "resume"
    """go on"""

    SET_SPEED = "set-speed"
    """work at no more than some speed"""

    COMPLETE = "complete"
    """finish what is ready"""

    DISMISS = "dismiss"
    """forget what is over"""

    FINALIZE = "finalize"
    """make final what is pending"""

    CHANGE = "change"
    """go on in another way"""


class Qcow2BitmapInfoFlags(QAPIEnum):
    """What a stored bitmap says of itself."""

    IN_USE = "in-use"
    """it was not stored when the image was last written, and cannot be relied on"""

    AUTO = "auto"
    """it records all writes to the image"""


class Qcow2CompressionType(QAPIEnum):
    """How compressed clusters are compressed."""

    ZLIB = "zlib"
    """with zlib"""

    ZSTD = "zstd"
    """with Zstandard"""


class ImageInfoSpecificKind(QAPIEnum):
    """The formats that say more of themselves than others."""

    QCOW2 = "qcow2"
    """QEMU's own format"""


class BlockDeviceIoStatus(QAPIEnum):
    """How a device's or job's I/O goes."""

    OK = "ok"
    """well"""

    FAILED = "failed"
    """it stopped after an error"""

    NOSPACE = "nospace"
    """it stopped for lack of space"""


class XDbgBlockGraphNodeType(QAPIEnum):
    """What stands in the block graph."""

    BLOCK_BACKEND = "block-backend"
    """the root that a device, export or command holds"""

    BLOCK_JOB = "block-job"
    """a job"""

    BLOCK_DRIVER = "block-driver"
    """a node"""


class BlockPermission(QAPIEnum):
    """What a parent may do with a child, or lets others do."""

    CONSISTENT_READ = "consistent-read"
    """read, and rely on what is read making sense"""

    WRITE = "write"
    """write"""

    WRITE_UNCHANGED = "write-unchanged"
    """write what is there already"""

    RESIZE = "resize"
    """change the size"""


class BlockdevOnError(QAPIEnum):
    """What a job does about an I/O error."""

    REPORT = "report"
    """fails"""

    IGNORE = "ignore"
    """goes on; what could not be read or written is wrong in the copy"""

    ENOSPC = "enospc"
    """stops if there is no space, fails otherwise"""

    STOP = "stop"
    """stops until it is resumed, and then tries again"""

    AUTO = "auto"
    """whatever the device does; a job takes it as 'report'"""


class MirrorSyncMode(QAPIEnum):
    """What a job copies."""

    TOP = "top"
    """what is allocated in the topmost image"""

    FULL = "full"
    """everything"""

    NONE = "none"
    """only what is written from now on"""

    INCREMENTAL = "incremental"
    """what a dirty bitmap calls dirty; the bitmap is brought up to date when the job succeeds"""

    BITMAP = "bitmap"
    """what a dirty bitmap calls dirty; what becomes of the bitmap is chosen by a BitmapSyncMode"""


class BitmapSyncMode(QAPIEnum):
    """What becomes of the dirty bitmap that a job was given."""

    ON_SUCCESS = "on-success"
    """if the job succeeds, the bitmap tells what changed since the job began; otherwise it is as if the
    job had never been
    """

    NEVER = "never"
    """it is never changed by the job"""

    ALWAYS = "always"
    """it tells what a next attempt has to copy, whether the job succeeds or not"""


class NewImageMode(QAPIEnum):
    """Where a command that needs an image gets it from."""

    EXISTING = "existing"
    """the file is there and is used as it is"""

    ABSOLUTE_PATHS = "absolute-paths"
    """the file is made anew"""


class MirrorCopyMode(QAPIEnum):
    """How what guests write gets to the target of a mirror."""

    BACKGROUND = "background"
    """the job copies it some time later; guests do not wait for the target, until the job comes to its end"""

    WRITE_BLOCKING = "write-blocking"
    """each write goes to both sides before it is answered"""


class PreallocMode(QAPIEnum):
    """How much of an image is allocated when it is made."""

    OFF = "off"
    """nothing"""

    METADATA = "metadata"
    """the image's own structures"""

    FALLOC = "falloc"
    """the space, which need not be written"""

    FULL = "full"
    """everything, by writing it"""


class BlockdevDiscardOptions(QAPIEnum):
    """What happens to requests to discard data."""

    IGNORE = "ignore"
    """nothing"""

    UNMAP = "unmap"
    """they are passed on"""


class BlockdevDetectZeroesOptions(QAPIEnum):
    """What happens to writes that hold only zeroes."""

    OFF = "off"
    """they are written"""

    ON = "on"
    """they become requests to write zeroes, which some drivers do faster"""

    UNMAP = "unmap"
    """as 'on', and space may be given back where `BlockdevDiscardOptions` allow it"""


class BlockdevAioOptions(QAPIEnum):
    """How files are read and written."""

    THREADS = "threads"
    """by threads that may block"""

    NATIVE = "native"
    """by the kernel's older asynchronous interface"""

    IO_URING = "io_uring"
    """by the kernel's newer asynchronous interface"""


class BlockdevDriver(QAPIEnum):
    """The drivers."""

    BLKDEBUG = "blkdebug"
    """a filter that lets requests fail, for tests"""

    BLKVERIFY = "blkverify"
    """a filter that compares an image with a raw copy of the same disk"""

    COMPRESS = "compress"
    """a filter that compresses what is written"""

    COPY_BEFORE_WRITE = "copy-before-write"
    """a filter that copies what is about to be overwritten"""

    COPY_ON_READ = "copy-on-read"
    """a filter that stores in an image what is read from its backing files"""

    FILE = "file"
    """a regular file"""

    SNAPSHOT_ACCESS = "snapshot-access"
    """a frozen view of the disk under a 'copy-before-write' node"""

    HOST_DEVICE = "host_device"
    """a block device of the host"""

    NBD = "nbd"
    """a disk that an NBD server exports"""

    NULL_AIO = "null-aio"
    """reads zeroes, forgets what is written, answers later"""

    NULL_CO = "null-co"
    """reads zeroes, forgets what is written, answers at once"""

    PREALLOCATE = "preallocate"
    """a filter that lets a file grow in large steps"""

    QCOW2 = "qcow2"
    """QEMU's own format"""

    QUORUM = "quorum"
    """several images with the same contents, and a vote"""

    RAW = "raw"
    """the image is the data"""

    THROTTLE = "throttle"
    """a filter that slows requests down"""


class Qcow2OverlapCheckMode(QAPIEnum):
    """How much is looked at before a write, to be sure that it does not hit the image's own structures."""

    NONE = "none"
    """nothing"""

    CONSTANT = "constant"
    """what needs no table"""

    CACHED = "cached"
    """what is in memory anyway"""

    ALL = "all"
    """everything"""


class OnCbwError(QAPIEnum):
    """What happens when old data cannot be copied before it is overwritten."""

    BREAK_GUEST_WRITE = "break-guest-write"
    """the write fails, and the copy stays whole"""

    BREAK_SNAPSHOT = "break-snapshot"
    """the write succeeds, and the copy is broken for good"""


class BlkdebugEvent(QAPIEnum):
    """What happens inside a driver, just before the request that does it."""

    L1_UPDATE = "l1_update"
    """entries of the L1 table are written"""

    L1_GROW_ALLOC_TABLE = "l1_grow_alloc_table"
    """room for a larger L1 table is looked for"""

    L1_GROW_WRITE_TABLE = "l1_grow_write_table"
    """the larger L1 table is written"""

    L1_GROW_ACTIVATE_TABLE = "l1_grow_activate_table"
    """the header is changed to the larger L1 table"""

    L2_LOAD = "l2_load"
    """an L2 table is read"""

    L2_UPDATE = "l2_update"
    """entries of an L2 table are written"""

    L2_UPDATE_COMPRESSED = "l2_update_compressed"
    """an L2 entry is changed to a compressed cluster"""

    L2_ALLOC_COW_READ = "l2_alloc_cow_read"
    """an L2 table is read that is to be copied"""

    L2_ALLOC_WRITE = "l2_alloc_write"
    """a new L2 table is written"""

    READ_AIO = "read_aio"
    """guest data is read from the image"""

    READ_BACKING_AIO = "read_backing_aio"
    """guest data is read from the backing file"""

    READ_COMPRESSED = "read_compressed"
    """a compressed cluster is read"""

    WRITE_AIO = "write_aio"
    """guest data is written"""

    WRITE_COMPRESSED = "write_compressed"
    """a compressed cluster is written"""

    VMSTATE_LOAD = "vmstate_load"
    """a machine's state is read"""

    VMSTATE_SAVE = "vmstate_save"
    """a machine's state is written"""

    COW_READ = "cow_read"
    """what surrounds a write into a new cluster is read"""

    COW_WRITE = "cow_write"
    """what surrounds a write into a new cluster is written"""

    REFTABLE_LOAD = "reftable_load"
    """the refcount table is read"""

    REFTABLE_GROW = "reftable_grow"
    """the refcount table becomes larger"""

    REFTABLE_UPDATE = "reftable_update"
    """the refcount table is written"""

    REFBLOCK_LOAD = "refblock_load"
    """a block of reference counts is read"""

    REFBLOCK_UPDATE = "refblock_update"
    """reference counts are written"""

    REFBLOCK_UPDATE_PART = "refblock_update_part"
    """a part of a block of reference counts is written"""

    REFBLOCK_ALLOC = "refblock_alloc"
    """a new block of reference counts is needed"""

    REFBLOCK_ALLOC_HOOKUP = "refblock_alloc_hookup"
    """the refcount table is changed to a new block"""

    REFBLOCK_ALLOC_WRITE = "refblock_alloc_write"
    """a new block of reference counts is written"""

    REFBLOCK_ALLOC_WRITE_BLOCKS = "refblock_alloc_write_blocks"
    """the blocks that cover a new refcount table are written"""

    REFBLOCK_ALLOC_WRITE_TABLE = "refblock_alloc_write_table"
    """a new refcount table is written"""

    REFBLOCK_ALLOC_SWITCH_TABLE = "refblock_alloc_switch_table"
    """the header is changed to a new refcount table"""

    CLUSTER_ALLOC = "cluster_alloc"
    """clusters are looked for"""

    CLUSTER_ALLOC_BYTES = "cluster_alloc_bytes"
    """room for compressed data is looked for"""

    CLUSTER_FREE = "cluster_free"
    """clusters are given back"""

    FLUSH_TO_OS = "flush_to_os"
    """what is kept in memory is written"""

    FLUSH_TO_DISK = "flush_to_disk"
    """what was written is brought to stable storage"""

    PWRITEV_RMW_HEAD = "pwritev_rmw_head"
    """the block is read of which a write covers only the end"""

    PWRITEV_RMW_AFTER_HEAD = "pwritev_rmw_after_head"
    """that block has been read"""

    PWRITEV_RMW_TAIL = "pwritev_rmw_tail"
    """the block is read of which a write covers only the beginning"""

    PWRITEV_RMW_AFTER_TAIL = "pwritev_rmw_after_tail"
    """that block has been read"""

    PWRITEV = "pwritev"
    """data is written"""

    PWRITEV_ZERO = "pwritev_zero"
    """zeroes are written"""

    PWRITEV_DONE = "pwritev_done"
    """a write is over"""

    EMPTY_IMAGE_PREPARE = "empty_image_prepare"
    """an image is about to be emptied"""

    L1_SHRINK_WRITE_TABLE = "l1_shrink_write_table"
    """the part of the L1 table that is cut off is overwritten"""

    L1_SHRINK_FREE_L2_CLUSTERS = "l1_shrink_free_l2_clusters"
    """the L2 tables of that part are given back"""

    COR_WRITE = "cor_write"
    """what was read is written to the image (copy on read)"""

    CLUSTER_ALLOC_SPACE = "cluster_alloc_space"
    """new clusters are filled with zeroes"""

    NONE = "none"
    """the image is opened"""


class BlkdebugIOType(QAPIEnum):
    """Kinds of request."""

    READ = "read"
    """data is read"""

    WRITE = "write"
    """data is written"""

    WRITE_ZEROES = "write-zeroes"
    """a range is zeroed"""

    DISCARD = "discard"
    """a range is given back"""

    FLUSH = "flush"
    """data is brought to stable storage"""

    BLOCK_STATUS = "block-status"
    """how a range is stored"""


class QuorumReadPattern(QAPIEnum):
    """How a quorum reads."""

    QUORUM = "quorum"
    """all children are read, and vote"""

    FIFO = "fifo"
    """the first child that can be read is believed"""


class BlockdevQcow2Version(QAPIEnum):
    """The versions of qcow2."""

    V2 = "v2"
    """the old one ('0.10')"""

    V3 = "v3"
    """the newer one ('1.1')"""


class BlockErrorAction(QAPIEnum):
    """What was done about an I/O error."""

    IGNORE = "ignore"
    """nothing"""

    REPORT = "report"
    """it was handed on"""

    STOP = "stop"
    """whatever did the I/O has stopped"""


class QuorumOpType(QAPIEnum):
    """What a child of a quorum was asked for."""

    READ = "read"
    """to read"""

    WRITE = "write"
    """to write"""

    FLUSH = "flush"
    """to make what was written durable"""


class BlockdevChangeReadOnlyMode(QAPIEnum):
    """Whether a new medium is read-only."""

    RETAIN = "retain"
    """if the one before was"""

    READ_ONLY = "read-only"
    """yes"""

    READ_WRITE = "read-write"
    """no"""


class BlockExportRemoveMode(QAPIEnum):
    """What happens to connected clients when an export is removed."""

    SAFE = "safe"
    """as long as there are any, the export is not removed"""

    HARD = "hard"
    """they are disconnected"""


class BlockExportType(QAPIEnum):
    """The kinds of exports."""

    NBD = "nbd"
    """over NBD"""


class DumpGuestMemoryFormat(QAPIEnum):
    """The formats of dumps."""

    ELF = "elf"
    """ELF"""

    KDUMP_ZLIB = "kdump-zlib"
    """compressed with zlib"""

    KDUMP_LZO = "kdump-lzo"
    """compressed with LZO"""

    KDUMP_SNAPPY = "kdump-snappy"
    """compressed with snappy"""

    WIN_DMP = "win-dmp"
    """that of Windows"""


class DumpStatus(QAPIEnum):
    """What becomes of a dump."""

    NONE = "none"
    """there is none"""

    ACTIVE = "active"
    """it is being made"""

    COMPLETED = "completed"
    """it has been made"""

    FAILED = "failed"
    """it could not be made"""


class RxState(QAPIEnum):
    """Which packets a network card takes."""

    NORMAL = "normal"
    """those that it is told to"""

    NONE = "none"
    """none"""

    ALL = "all"
    """all"""


class TpmModel(QAPIEnum):
    """The models of modules."""

    TPM_TIS = "tpm-tis"
    """one with the interface TIS"""

    TPM_CRB = "tpm-crb"
    """one with the interface CRB"""

    TPM_SPAPR = "tpm-spapr"
    """one of a POWER machine"""


class TpmType(QAPIEnum):
    """Where a module comes from."""

    PASSTHROUGH = "passthrough"
    """from the host"""

    EMULATOR = "emulator"
    """from another program"""


class VncPrimaryAuth(QAPIEnum):
    """How clients log in."""

    NONE = "none"
    """not at all"""

    VNC = "vnc"
    """with a password"""

    RA2 = "ra2"
    """by RSA-AES"""

    RA2NE = "ra2ne"
    """by RSA-AES, not encrypted afterwards"""

    TIGHT = "tight"
    """as TightVNC does"""

    ULTRA = "ultra"
    """as UltraVNC does"""

    TLS = "tls"
    """by TLS"""

    VENCRYPT = "vencrypt"
    """by VeNCrypt"""

    SASL = "sasl"
    """by SASL"""


class VncVencryptSubAuth(QAPIEnum):
    """How clients log in with the method VeNCrypt."""

    PLAIN = "plain"
    """with name and password, not encrypted"""

    TLS_NONE = "tls-none"
    """not at all, encrypted"""

    X509_NONE = "x509-none"
    """with certificates"""

    TLS_VNC = "tls-vnc"
    """with a password, encrypted"""

    X509_VNC = "x509-vnc"
    """with a password and certificates"""

    TLS_PLAIN = "tls-plain"
    """with name and password, encrypted"""

    X509_PLAIN = "x509-plain"
    """with name, password and certificates"""

    TLS_SASL = "tls-sasl"
    """by SASL, encrypted"""

    X509_SASL = "x509-sasl"
    """by SASL, with certificates"""


class SpiceQueryMouseMode(QAPIEnum):
    """Who moves the mouse of a screen that is served by SPICE."""

    CLIENT = "client"
    """the client"""

    SERVER = "server"
    """the server"""

    UNKNOWN = "unknown"
    """nobody knows"""


class MigrationStatus(QAPIEnum):
    """What becomes of a migration."""

    NONE = "none"
    """there never was one"""

    SETUP = "setup"
    """it is about to begin"""

    CANCELLING = "cancelling"
    """it is being cancelled"""

    CANCELLED = "cancelled"
    """it was cancelled"""

    ACTIVE = "active"
    """it is under way"""

    POSTCOPY_ACTIVE = "postcopy-active"
    """the guest runs on the other host, and its memory follows"""

    POSTCOPY_PAUSED = "postcopy-paused"
    """the same, and the connection is lost"""

    POSTCOPY_RECOVER = "postcopy-recover"
    """the same, and there is a new connection"""

    COMPLETED = "completed"
    """it is over"""

    FAILED = "failed"
    """it has failed"""

    COLO = "colo"
    """it never ends: both hosts are kept alike"""

    PRE_SWITCHOVER = "pre-switchover"
    """the guest is about to stand still"""

    DEVICE = "device"
    """the state of its devices is being sent"""

    WAIT_UNPLUG = "wait-unplug"
    """a device has to go first"""


class MigrationCapability(QAPIEnum):
    """Ways to migrate a guest."""

    XBZRLE = "xbzrle"
    """send differences of pages"""

    RDMA_PIN_ALL = "rdma-pin-all"
    """keep all memory in place for RDMA"""

    AUTO_CONVERGE = "auto-converge"
    """slow the guest down if there is no end to it"""

    ZERO_BLOCKS = "zero-blocks"
    """leave out zeroes of disks"""

    COMPRESS = "compress"
    """compress pages"""

    EVENTS = "events"
    """send events"""

    POSTCOPY_RAM = "postcopy-ram"
    """let memory follow the guest"""

    X_COLO = "x-colo"
    """keep both hosts alike"""

    RELEASE_RAM = "release-ram"
    """give memory back that was sent"""

    BLOCK = "block"
    """send disks, too"""

    RETURN_PATH = "return-path"
    """let the other host answer"""

    PAUSE_BEFORE_SWITCHOVER = "pause-before-switchover"
    """wait before the guest stands still"""

    MULTIFD = "multifd"
    """use several connections"""

    DIRTY_BITMAPS = "dirty-bitmaps"
    """send dirty bitmaps"""

    POSTCOPY_BLOCKTIME = "postcopy-blocktime"
    """measure how long processors wait for memory that follows"""

    LATE_BLOCK_ACTIVATE = "late-block-activate"
    """leave disks alone until the guest runs"""

    X_IGNORE_SHARED = "x-ignore-shared"
    """leave out memory that is shared"""

    VALIDATE_UUID = "validate-uuid"
    """see that both hosts mean the same guest"""

    BACKGROUND_SNAPSHOT = "background-snapshot"
    """save a snapshot while the guest runs"""

    ZERO_COPY_SEND = "zero-copy-send"
    """send without copying"""

    POSTCOPY_PREEMPT = "postcopy-preempt"
    """send pages first that the guest waits for"""


class SysEmuTarget(QAPIEnum):
    """The architectures of processors that QEMU emulates."""

    AARCH64 = "aarch64"
    """Arm, 64 bits"""

    ALPHA = "alpha"
    """Alpha"""

    ARM = "arm"
    """Arm, 32 bits"""

    AVR = "avr"
    """AVR"""

    CRIS = "cris"
    """ETRAX CRIS"""

    HPPA = "hppa"
    """PA-RISC"""

    I386 = "i386"
    """x86, 32 bits"""

    LOONGARCH64 = "loongarch64"
    """LoongArch, 64 bits"""

    M68K = "m68k"
    """Motorola 68000"""

    MICROBLAZE = "microblaze"
    """MicroBlaze, big-endian"""

    MICROBLAZEEL = "microblazeel"
    """MicroBlaze, little-endian"""

    MIPS = "mips"
    """MIPS, 32 bits, big-endian"""

    MIPS64 = "mips64"
    """MIPS, 64 bits, big-endian"""

    MIPS64EL = "mips64el"
    """MIPS, 64 bits, little-endian"""

    MIPSEL = "mipsel"
    """MIPS, 32 bits, little-endian"""

    NIOS2 = "nios2"
    """Nios II"""

    OR1K = "or1k"
    """OpenRISC"""

    PPC = "ppc"
    """POWER, 32 bits"""

    PPC64 = "ppc64"
    """POWER, 64 bits"""

    RISCV32 = "riscv32"
    """RISC-V, 32 bits"""

    RISCV64 = "riscv64"
    """RISC-V, 64 bits"""

    RX = "rx"
    """Renesas RX"""

    S390X = "s390x"
    """S/390"""

    SH4 = "sh4"
    """SuperH, little-endian"""

    SH4EB = "sh4eb"
    """SuperH, big-endian"""

    SPARC = "sparc"
    """SPARC, 32 bits"""

    SPARC64 = "sparc64"
    """SPARC, 64 bits"""

    TRICORE = "tricore"
    """TriCore"""

    X86_64 = "x86_64"
    """x86, 64 bits"""

    XTENSA = "xtensa"
    """Xtensa, little-endian"""

    XTENSAEB = "xtensaeb"
    """Xtensa, big-endian"""


class CpuS390State(QAPIEnum):
    """What a processor of an S/390 does."""

    UNINITIALIZED = "uninitialized"
    """nothing yet"""

    STOPPED = "stopped"
    """nothing"""

    CHECK_STOP = "check-stop"
    """nothing, after an error"""

    OPERATING = "operating"
    """it runs"""

    LOAD = "load"
    """it loads a program"""


class MemoryDeviceInfoKind(QAPIEnum):
    """The kinds of devices that are memory."""

    DIMM = "dimm"
    """a memory module"""

    NVDIMM = "nvdimm"
    """one that keeps what is in it"""

    VIRTIO_PMEM = "virtio-pmem"
    """memory that keeps what is in it, by virtio"""

    VIRTIO_MEM = "virtio-mem"
    """memory that can grow, by virtio"""

    SGX_EPC = "sgx-epc"
    """memory for enclaves"""


class HostMemPolicy(QAPIEnum):
    """How a memory's place among the host's nodes is chosen."""

    DEFAULT = "default"
    """as the host does"""

    PREFERRED = "preferred"
    """from a node if there is room"""

    BIND = "bind"
    """from certain nodes only"""

    INTERLEAVE = "interleave"
    """from several nodes by turns"""


class SevState(QAPIEnum):
    """What becomes of an encrypted guest."""

    UNINIT = "uninit"
    """there is none"""

    LAUNCH_UPDATE = "launch-update"
    """it is being loaded"""

    LAUNCH_SECRET = "launch-secret"
    """it is being given a secret"""

    RUNNING = "running"
    """it runs"""

    SEND_UPDATE = "send-update"
    """it is being sent away"""

    RECEIVE_UPDATE = "receive-update"
    """it is being received"""


class DataFormat(QAPIEnum):
    """How bytes are written in a string."""

    UTF8 = "utf8"
    """as UTF-8"""

    BASE64 = "base64"
    """in base64"""


class ChardevBackendKind(QAPIEnum):
    """The kinds of character devices. qmpd has those that 'query-chardev-backends' lists, and refuses the
    others with the reason.
    """

    FILE = "file"
    """a file"""

    SERIAL = "serial"
    """a serial line of the host"""

    PARALLEL = "parallel"
    """a parallel port of the host"""

    PIPE = "pipe"
    """named pipes"""

    SOCKET = "socket"
    """a socket"""

    UDP = "udp"
    """datagrams"""

    PTY = "pty"
    """a pseudo terminal"""

    NULL = "null"
    """nothing"""

    MUX = "mux"
    """a device that several users share"""

    MSMOUSE = "msmouse"
    """an old mouse"""

    WCTABLET = "wctablet"
    """an old tablet"""

    BRAILLE = "braille"
    """a braille display"""

    TESTDEV = "testdev"
    """for tests of virtual machines"""

    STDIO = "stdio"
    """standard input and output"""

    CONSOLE = "console"
    """a console of Windows"""

    SPICEVMC = "spicevmc"
    """a channel of a SPICE display"""

    SPICEPORT = "spiceport"
    """a port of a SPICE display"""

    QEMU_VDAGENT = "qemu-vdagent"
    """the agent of a virtual machine's display"""

    DBUS = "dbus"
    """a channel of a display on D-Bus"""

    VC = "vc"
    """a text console on a display"""

    RINGBUF = "ringbuf"
    """memory that keeps the last bytes"""

    MEMORY = "memory"
    """another name of 'ringbuf'"""


class CommandLineParameterType(QAPIEnum):
    """The types of parameters."""

    STRING = "string"
    """text"""

    BOOLEAN = "boolean"
    """'on' or 'off'"""

    NUMBER = "number"
    """a number"""

    SIZE = "size"
    """a size in bytes, with a suffix such as K or M"""


class QMPCapability(QAPIEnum):
    """What a session may ask for when it begins."""

    OOB = "oob"
    """commands that overtake others, sent as 'exec-oob'"""

    EVENT_REPLAY = "event-replay"
    """events come with their sequence numbers; offered by a daemon that keeps them ('--state-dir')"""


class MonitorMode(QAPIEnum):
    """What a monitor speaks."""

    READLINE = "readline"
    """a language for people; qmpd does not have it"""

    CONTROL = "control"
    """QMP"""


class SchemaMetaType(QAPIEnum):
    """What is described."""

    BUILTIN = "builtin"
    """a type of the schema language"""

    ENUM = "enum"
    """an enum"""

    ARRAY = "array"
    """an array"""

    OBJECT = "object"
    """an object, with or without variants"""

    ALTERNATE = "alternate"
    """a choice of types"""

    COMMAND = "command"
    """a command"""

    EVENT = "event"
    """an event"""


class JSONType(QAPIEnum):
    """The JSON types, and two more that JSON does not tell apart."""

    STRING = "string"
    """a string"""

    NUMBER = "number"
    """a number"""

    INT = "int"
    """a number without fraction"""

    BOOLEAN = "boolean"
    """true or false"""

    NULL = "null"
    """null"""

    OBJECT = "object"
    """an object"""

    ARRAY = "array"
    """an array"""

    VALUE = "value"
    """any of them"""


class ActionCompletionMode(QAPIEnum):
    """What binds the jobs of a transaction after it has begun them."""

    INDIVIDUAL = "individual"
    """nothing; each job succeeds or fails alone"""

    GROUPED = "grouped"
    """a shared fate; if one fails or is cancelled, so are the others, and none takes its last step before
    all are ready for it
    """


class TransactionActionKind(QAPIEnum):
    """What an action of a transaction does."""

    ABORT = "abort"
    """fails, and the whole transaction with it; for tests"""

    BLOCK_DIRTY_BITMAP_ADD = "block-dirty-bitmap-add"
    """as the command of that name"""

    BLOCK_DIRTY_BITMAP_REMOVE = "block-dirty-bitmap-remove"
    """as the command of that name"""

    BLOCK_DIRTY_BITMAP_CLEAR = "block-dirty-bitmap-clear"
    """as the command of that name"""

    BLOCK_DIRTY_BITMAP_ENABLE = "block-dirty-bitmap-enable"
    """as the command of that name"""

    BLOCK_DIRTY_BITMAP_DISABLE = "block-dirty-bitmap-disable"
    """as the command of that name"""

    BLOCK_DIRTY_BITMAP_MERGE = "block-dirty-bitmap-merge"
    """as the command of that name"""

    BLOCKDEV_BACKUP = "blockdev-backup"
    """as the command of that name"""

    BLOCKDEV_SNAPSHOT = "blockdev-snapshot"
    """as the command of that name"""

    BLOCKDEV_SNAPSHOT_INTERNAL_SYNC = "blockdev-snapshot-internal-sync"
    """as the command of that name"""

    BLOCKDEV_SNAPSHOT_SYNC = "blockdev-snapshot-sync"
    """as the command of that name"""

    DRIVE_BACKUP = "drive-backup"
    """as the command of that name"""


class QAuthZListPolicy(QAPIEnum):
    """What is decided about a user."""

    DENY = "deny"
    """the user is refused"""

    ALLOW = "allow"
    """the user is let in"""


class QAuthZListFormat(QAPIEnum):
    """How a rule's text is compared with a user's name."""

    EXACT = "exact"
    """they are the same"""

    GLOB = "glob"
    """the text is a pattern in which '*' and '?' stand for any characters"""


class QCryptoSecretFormat(QAPIEnum):
    """How a secret is written down."""

    RAW = "raw"
    """as it is"""

    BASE64 = "base64"
    """as base64 text, for what is not text itself"""


class QCryptoTLSCredsEndpoint(QAPIEnum):
    """Which end of a connection credentials are for."""

    CLIENT = "client"
    """the one that connects"""

    SERVER = "server"
    """the one that is connected to"""


class ObjectType(QAPIEnum):
    """The types of objects that can be made."""

    AUTHZ_LIST = "authz-list"
    """rules on who is let in"""

    AUTHZ_SIMPLE = "authz-simple"
    """one user who is let in"""

    IOTHREAD = "iothread"
    """a thread that does I/O"""

    SECRET = "secret"
    """a password or key"""

    THROTTLE_GROUP = "throttle-group"
    """limits on the speed of disks"""

    TLS_CREDS_ANON = "tls-creds-anon"
    """TLS without proof of identity"""

    TLS_CREDS_PSK = "tls-creds-psk"
    """TLS with keys that both ends have"""

    TLS_CREDS_X509 = "tls-creds-x509"
    """TLS with certificates"""


class CatalogOutcome(QAPIEnum):
    """How something ended."""

    RUNNING = "running"
    """it has not"""

    COMPLETED = "completed"
    """as it should"""

    FAILED = "failed"
    """with an error"""

    CANCELLED = "cancelled"
    """by a client, or with the group that it belonged to"""

    LOST = "lost"
    """with the daemon that ran it"""


class CatalogOrigin(QAPIEnum):
    """Who made something."""

    CLIENT = "client"
    """a client did; the daemon makes it again when it starts"""

    COMMAND_LINE = "command-line"
    """the command line did"""


class CatalogResource(QAPIEnum):
    """What can be limited."""

    JOBS = "jobs"
    """jobs that run at the same time"""

    BACKUP_BYTES = "backup-bytes"
    """bytes of disks that are backed up, within 24 hours"""

    BITMAPS = "bitmaps"
    """dirty bitmaps"""


class CatalogScope(QAPIEnum):
    """For whom a limit is."""

    DAEMON = "daemon"
    """this daemon"""

    ALL = "all"
    """all daemons of the database together"""


class StateItemKind(QAPIEnum):
    """What a daemon makes again when it starts."""

    OBJECT = "object"
    """an object of 'object-add'"""

    NODE = "node"
    """a node of 'blockdev-add'"""

    NBD_SERVER = "nbd-server"
    """the NBD server"""

    EXPORT = "export"
    """an export of 'block-export-add'"""

    BITMAP = "bitmap"
    """a persistent dirty bitmap"""
