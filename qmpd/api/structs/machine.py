"""The object types of `machine.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import CpuS390State, HostMemPolicy, MemoryDeviceInfoKind, SysEmuTarget
from qmpd.qapi.model import Int64, UInt16, UInt64, Array, Maybe, Model, by_member

__all__ = [
    "TargetInfo",
    "UuidInfo",
    "KvmInfo",
    "MachineInfo",
    "CurrentMachineParams",
    "CpuInstanceProperties",
    "CpuInfoS390",
    "QObjCpuInfoFastBase",
    "CpuInfoFast",
    "CpuInfoFastAarch64",
    "CpuInfoFastAlpha",
    "CpuInfoFastArm",
    "CpuInfoFastAvr",
    "CpuInfoFastCris",
    "CpuInfoFastHppa",
    "CpuInfoFastI386",
    "CpuInfoFastLoongarch64",
    "CpuInfoFastM68k",
    "CpuInfoFastMicroblaze",
    "CpuInfoFastMicroblazeel",
    "CpuInfoFastMips",
    "CpuInfoFastMips64",
    "CpuInfoFastMips64el",
    "CpuInfoFastMipsel",
    "CpuInfoFastNios2",
    "CpuInfoFastOr1k",
    "CpuInfoFastPpc",
    "CpuInfoFastPpc64",
    "CpuInfoFastRiscv32",
    "CpuInfoFastRiscv64",
    "CpuInfoFastRx",
    "CpuInfoFastS390x",
    "CpuInfoFastSh4",
    "CpuInfoFastSh4eb",
    "CpuInfoFastSparc",
    "CpuInfoFastSparc64",
    "CpuInfoFastTricore",
    "CpuInfoFastX8664",
    "CpuInfoFastXtensa",
    "CpuInfoFastXtensaeb",
    "HotpluggableCPU",
    "BalloonInfo",
    "MemoryInfo",
    "PCDIMMDeviceInfo",
    "VirtioPMEMDeviceInfo",
    "VirtioMEMDeviceInfo",
    "SgxEPCDeviceInfo",
    "PCDIMMDeviceInfoWrapper",
    "VirtioPMEMDeviceInfoWrapper",
    "VirtioMEMDeviceInfoWrapper",
    "SgxEPCDeviceInfoWrapper",
    "QObjMemoryDeviceInfoBase",
    "MemoryDeviceInfo",
    "MemoryDeviceInfoDimm",
    "MemoryDeviceInfoNvdimm",
    "MemoryDeviceInfoVirtioPmem",
    "MemoryDeviceInfoVirtioMem",
    "MemoryDeviceInfoSgxEpc",
    "Memdev",
]


class TargetInfo(Model):
    """What 'query-target' answers."""

    arch: SysEmuTarget
    """the architecture"""


class UuidInfo(Model):
    """What 'query-uuid' answers."""

    UUID: str
    """the UUID, all zeroes for none"""


class KvmInfo(Model):
    """What 'query-kvm' answers."""

    enabled: bool
    """whether it is in use"""

    present: bool
    """whether the program can use it"""


class MachineInfo(Model):
    """A kind of machine."""

    name: str
    """its name"""

    alias: Maybe[str] = None
    """another name"""

    is_default: Maybe[bool] = Field(default=None, alias="is-default")
    """whether it is the one that is taken if nobody says which; present only if so"""

    cpu_max: Int64 = Field(alias="cpu-max")
    """how many processors it may have"""

    hotpluggable_cpus: bool = Field(alias="hotpluggable-cpus")
    """whether processors can be added while it runs"""

    numa_mem_supported: bool = Field(alias="numa-mem-supported")
    """whether memory can be divided among processors in the older way"""

    deprecated: bool
    """whether it is going to go"""

    default_cpu_type: Maybe[str] = Field(default=None, alias="default-cpu-type")
    """the type of its processors if nobody says which"""

    default_ram_id: Maybe[str] = Field(default=None, alias="default-ram-id")
    """the id of its memory if nobody says which"""


class CurrentMachineParams(Model):
    """What holds for the present machine."""

    wakeup_suspend_support: bool = Field(alias="wakeup-suspend-support")
    """whether its guest can be woken up from sleep"""


class CpuInstanceProperties(Model):
    """Where a processor is."""

    node_id: Maybe[Int64] = Field(default=None, alias="node-id")
    """the NUMA node"""

    socket_id: Maybe[Int64] = Field(default=None, alias="socket-id")
    """the socket"""

    die_id: Maybe[Int64] = Field(default=None, alias="die-id")
    """the die in the socket"""

    cluster_id: Maybe[Int64] = Field(default=None, alias="cluster-id")
    """the cluster in the die"""

    core_id: Maybe[Int64] = Field(default=None, alias="core-id")
    """the core in the cluster"""

    thread_id: Maybe[Int64] = Field(default=None, alias="thread-id")
    """the thread of the core"""


class CpuInfoS390(Model):
    """What is particular about a processor of an S/390."""

    cpu_state: CpuS390State = Field(alias="cpu-state")
    """what it does"""


class QObjCpuInfoFastBase(Model):
    """The members all branches of `CpuInfoFast` have."""

    cpu_index: Int64 = Field(alias="cpu-index")
    """its number"""

    qom_path: str = Field(alias="qom-path")
    """where it is in the tree of objects"""

    thread_id: Int64 = Field(alias="thread-id")
    """the thread of the host that runs it"""

    props: Maybe[CpuInstanceProperties] = None
    """where it is"""

    target: SysEmuTarget
    """its architecture"""


class HotpluggableCPU(Model):
    """A processor that can be added."""

    type: str
    """its type"""

    vcpus_count: Int64 = Field(alias="vcpus-count")
    """how many processors one of it is"""

    props: CpuInstanceProperties
    """where it goes"""

    qom_path: Maybe[str] = Field(default=None, alias="qom-path")
    """where it is in the tree of objects; absent while it is not there"""


class BalloonInfo(Model):
    """What 'query-balloon' answers."""

    actual: Int64
    """the memory that the guest has, in bytes"""


class MemoryInfo(Model):
    """The memory of a machine."""

    base_memory: UInt64 = Field(alias="base-memory")
    """what it was started with, in bytes"""

    plugged_memory: Maybe[UInt64] = Field(default=None, alias="plugged-memory")
    """what was added since, in bytes; absent if it takes none"""


class PCDIMMDeviceInfo(Model):
    """A memory module."""

    id: Maybe[str] = None
    """the id of the device"""

    addr: Int64
    """its address"""

    size: Int64
    """its size in bytes"""

    slot: Int64
    """its slot"""

    node: Int64
    """its NUMA node"""

    memdev: str
    """where its memory is"""

    hotplugged: bool
    """whether it was added later"""

    hotpluggable: bool
    """whether it can be added later"""


class VirtioPMEMDeviceInfo(Model):
    """Memory that keeps what is in it, by virtio."""

    id: Maybe[str] = None
    """the id of the device"""

    memaddr: UInt64
    """its address"""

    size: UInt64
    """its size in bytes"""

    memdev: str
    """where its memory is"""


class VirtioMEMDeviceInfo(Model):
    """Memory that can grow, by virtio."""

    id: Maybe[str] = None
    """the id of the device"""

    memaddr: UInt64
    """its address"""

    requested_size: UInt64 = Field(alias="requested-size")
    """how much of it the guest was asked to use, in bytes"""

    size: UInt64
    """how much of it the guest uses, in bytes"""

    max_size: UInt64 = Field(alias="max-size")
    """how much of it there can be, in bytes"""

    block_size: UInt64 = Field(alias="block-size")
    """the unit in which it grows, in bytes"""

    node: Int64
    """its NUMA node"""

    memdev: str
    """where its memory is"""


class SgxEPCDeviceInfo(Model):
    """Memory for enclaves."""

    id: Maybe[str] = None
    """the id of the device"""

    memaddr: UInt64
    """its address"""

    size: UInt64
    """its size in bytes"""

    node: Int64
    """its NUMA node"""

    memdev: str
    """where its memory is"""


class PCDIMMDeviceInfoWrapper(Model):
    """A memory module."""

    data: PCDIMMDeviceInfo
    """the module"""


class VirtioPMEMDeviceInfoWrapper(Model):
    """Memory that keeps what is in it, by virtio."""

    data: VirtioPMEMDeviceInfo
    """the memory"""


class VirtioMEMDeviceInfoWrapper(Model):
    """Memory that can grow, by virtio."""

    data: VirtioMEMDeviceInfo
    """the memory"""


class SgxEPCDeviceInfoWrapper(Model):
    """Memory for enclaves."""

    data: SgxEPCDeviceInfo
    """the memory"""


class QObjMemoryDeviceInfoBase(Model):
    """The members all branches of `MemoryDeviceInfo` have."""

    type: MemoryDeviceInfoKind
    """its kind"""


class Memdev(Model):
    """A memory that devices can be made of."""

    id: Maybe[str] = None
    """its id"""

    size: UInt64
    """its size in bytes"""

    merge: bool
    """whether the host may merge equal pages"""

    dump: bool
    """whether it is part of dumps"""

    prealloc: bool
    """whether it is there from the beginning"""

    share: bool
    """whether other processes can share it"""

    reserve: Maybe[bool] = None
    """whether swap space is reserved for it"""

    host_nodes: Array[UInt16] = Field(alias="host-nodes")
    """the host's nodes"""

    policy: HostMemPolicy
    """how the nodes are chosen"""


class CpuInfoFastAarch64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `aarch64`."""

    target: Literal[SysEmuTarget.AARCH64]


class CpuInfoFastAlpha(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `alpha`."""

    target: Literal[SysEmuTarget.ALPHA]


class CpuInfoFastArm(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `arm`."""

    target: Literal[SysEmuTarget.ARM]


class CpuInfoFastAvr(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `avr`."""

    target: Literal[SysEmuTarget.AVR]


class CpuInfoFastCris(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `cris`."""

    target: Literal[SysEmuTarget.CRIS]


class CpuInfoFastHppa(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `hppa`."""

    target: Literal[SysEmuTarget.HPPA]


class CpuInfoFastI386(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `i386`."""

    target: Literal[SysEmuTarget.I386]


class CpuInfoFastLoongarch64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `loongarch64`."""

    target: Literal[SysEmuTarget.LOONGARCH64]


class CpuInfoFastM68k(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `m68k`."""

    target: Literal[SysEmuTarget.M68K]


class CpuInfoFastMicroblaze(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `microblaze`."""

    target: Literal[SysEmuTarget.MICROBLAZE]


class CpuInfoFastMicroblazeel(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `microblazeel`."""

    target: Literal[SysEmuTarget.MICROBLAZEEL]


class CpuInfoFastMips(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `mips`."""

    target: Literal[SysEmuTarget.MIPS]


class CpuInfoFastMips64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `mips64`."""

    target: Literal[SysEmuTarget.MIPS64]


class CpuInfoFastMips64el(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `mips64el`."""

    target: Literal[SysEmuTarget.MIPS64EL]


class CpuInfoFastMipsel(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `mipsel`."""

    target: Literal[SysEmuTarget.MIPSEL]


class CpuInfoFastNios2(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `nios2`."""

    target: Literal[SysEmuTarget.NIOS2]


class CpuInfoFastOr1k(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `or1k`."""

    target: Literal[SysEmuTarget.OR1K]


class CpuInfoFastPpc(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `ppc`."""

    target: Literal[SysEmuTarget.PPC]


class CpuInfoFastPpc64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `ppc64`."""

    target: Literal[SysEmuTarget.PPC64]


class CpuInfoFastRiscv32(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `riscv32`."""

    target: Literal[SysEmuTarget.RISCV32]


class CpuInfoFastRiscv64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `riscv64`."""

    target: Literal[SysEmuTarget.RISCV64]


class CpuInfoFastRx(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `rx`."""

    target: Literal[SysEmuTarget.RX]


class CpuInfoFastS390x(CpuInfoS390, QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `s390x`."""

    target: Literal[SysEmuTarget.S390X]


class CpuInfoFastSh4(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `sh4`."""

    target: Literal[SysEmuTarget.SH4]


class CpuInfoFastSh4eb(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `sh4eb`."""

    target: Literal[SysEmuTarget.SH4EB]


class CpuInfoFastSparc(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `sparc`."""

    target: Literal[SysEmuTarget.SPARC]


class CpuInfoFastSparc64(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `sparc64`."""

    target: Literal[SysEmuTarget.SPARC64]


class CpuInfoFastTricore(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `tricore`."""

    target: Literal[SysEmuTarget.TRICORE]


class CpuInfoFastX8664(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `x86_64`."""

    target: Literal[SysEmuTarget.X86_64]


class CpuInfoFastXtensa(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `xtensa`."""

    target: Literal[SysEmuTarget.XTENSA]


class CpuInfoFastXtensaeb(QObjCpuInfoFastBase):
    """`CpuInfoFast` with `target` `xtensaeb`."""

    target: Literal[SysEmuTarget.XTENSAEB]


class MemoryDeviceInfoDimm(PCDIMMDeviceInfoWrapper, QObjMemoryDeviceInfoBase):
    """`MemoryDeviceInfo` with `type` `dimm`."""

    type: Literal[MemoryDeviceInfoKind.DIMM]


class MemoryDeviceInfoNvdimm(PCDIMMDeviceInfoWrapper, QObjMemoryDeviceInfoBase):
    """`MemoryDeviceInfo` with `type` `nvdimm`."""

    type: Literal[MemoryDeviceInfoKind.NVDIMM]


class MemoryDeviceInfoVirtioPmem(VirtioPMEMDeviceInfoWrapper, QObjMemoryDeviceInfoBase):
    """`MemoryDeviceInfo` with `type` `virtio-pmem`."""

    type: Literal[MemoryDeviceInfoKind.VIRTIO_PMEM]


class MemoryDeviceInfoVirtioMem(VirtioMEMDeviceInfoWrapper, QObjMemoryDeviceInfoBase):
    """`MemoryDeviceInfo` with `type` `virtio-mem`."""

    type: Literal[MemoryDeviceInfoKind.VIRTIO_MEM]


class MemoryDeviceInfoSgxEpc(SgxEPCDeviceInfoWrapper, QObjMemoryDeviceInfoBase):
    """`MemoryDeviceInfo` with `type` `sgx-epc`."""

    type: Literal[MemoryDeviceInfoKind.SGX_EPC]

CpuInfoFast = TypeAliasType(
    "CpuInfoFast",
    Annotated[
        Union[
            Annotated[CpuInfoFastAarch64, Tag("target=aarch64")],
            Annotated[CpuInfoFastAlpha, Tag("target=alpha")],
            Annotated[CpuInfoFastArm, Tag("target=arm")],
            Annotated[CpuInfoFastAvr, Tag("target=avr")],
            Annotated[CpuInfoFastCris, Tag("target=cris")],
            Annotated[CpuInfoFastHppa, Tag("target=hppa")],
            Annotated[CpuInfoFastI386, Tag("target=i386")],
            Annotated[CpuInfoFastLoongarch64, Tag("target=loongarch64")],
            Annotated[CpuInfoFastM68k, Tag("target=m68k")],
            Annotated[CpuInfoFastMicroblaze, Tag("target=microblaze")],
            Annotated[CpuInfoFastMicroblazeel, Tag("target=microblazeel")],
            Annotated[CpuInfoFastMips, Tag("target=mips")],
            Annotated[CpuInfoFastMips64, Tag("target=mips64")],
            Annotated[CpuInfoFastMips64el, Tag("target=mips64el")],
            Annotated[CpuInfoFastMipsel, Tag("target=mipsel")],
            Annotated[CpuInfoFastNios2, Tag("target=nios2")],
            Annotated[CpuInfoFastOr1k, Tag("target=or1k")],
            Annotated[CpuInfoFastPpc, Tag("target=ppc")],
            Annotated[CpuInfoFastPpc64, Tag("target=ppc64")],
            Annotated[CpuInfoFastRiscv32, Tag("target=riscv32")],
            Annotated[CpuInfoFastRiscv64, Tag("target=riscv64")],
            Annotated[CpuInfoFastRx, Tag("target=rx")],
            Annotated[CpuInfoFastS390x, Tag("target=s390x")],
            Annotated[CpuInfoFastSh4, Tag("target=sh4")],
            Annotated[CpuInfoFastSh4eb, Tag("target=sh4eb")],
            Annotated[CpuInfoFastSparc, Tag("target=sparc")],
            Annotated[CpuInfoFastSparc64, Tag("target=sparc64")],
            Annotated[CpuInfoFastTricore, Tag("target=tricore")],
            Annotated[CpuInfoFastX8664, Tag("target=x86_64")],
            Annotated[CpuInfoFastXtensa, Tag("target=xtensa")],
            Annotated[CpuInfoFastXtensaeb, Tag("target=xtensaeb")],
        ],
        Discriminator(by_member("target")),
    ],
)
"""A processor."""

MemoryDeviceInfo = TypeAliasType(
    "MemoryDeviceInfo",
    Annotated[
        Union[
            Annotated[MemoryDeviceInfoDimm, Tag("type=dimm")],
            Annotated[MemoryDeviceInfoNvdimm, Tag("type=nvdimm")],
            Annotated[MemoryDeviceInfoVirtioPmem, Tag("type=virtio-pmem")],
            Annotated[MemoryDeviceInfoVirtioMem, Tag("type=virtio-mem")],
            Annotated[MemoryDeviceInfoSgxEpc, Tag("type=sgx-epc")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""A device that is memory."""
