"""The object types of `qom.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import ObjectType
from qmpd.api.structs.authz import AuthZListProperties, AuthZSimpleProperties
from qmpd.api.structs.block_core import ThrottleGroupProperties
from qmpd.api.structs.crypto import (
    SecretProperties,
    TlsCredsAnonProperties,
    TlsCredsPskProperties,
    TlsCredsX509Properties,
)
from qmpd.qapi.model import Int64, Maybe, Model, by_member

__all__ = [
    "ObjectPropertyInfo",
    "QObjQomListArg",
    "QObjQomGetArg",
    "QObjQomSetArg",
    "ObjectTypeInfo",
    "QObjQomListTypesArg",
    "QObjQomListPropertiesArg",
    "EventLoopBaseProperties",
    "IothreadProperties",
    "QObjObjectOptionsBase",
    "ObjectOptions",
    "ObjectOptionsAuthzList",
    "ObjectOptionsAuthzSimple",
    "ObjectOptionsIothread",
    "ObjectOptionsSecret",
    "ObjectOptionsThrottleGroup",
    "ObjectOptionsTlsCredsAnon",
    "ObjectOptionsTlsCredsPsk",
    "ObjectOptionsTlsCredsX509",
    "QObjObjectDelArg",
]


class ObjectPropertyInfo(Model):
    """A property of an object."""

    name: str
    """its name"""

    type: str
    """the type of its value, or 'child<TYPE>' for an object below"""

    description: Maybe[str] = None
    """what it is for"""

    default_value: Any = Field(default=None, alias="default-value")
    """what it is if nobody sets it"""


class QObjQomListArg(Model):
    """The arguments of `qom-list`."""

    path: str
    """the object: '/objects/ID', or the end of such a path if there is only one that ends so"""


class QObjQomGetArg(Model):
    """The arguments of `qom-get`."""

    path: str
    """the object, as for 'qom-list'"""

    property: str
    """the property"""


class QObjQomSetArg(Model):
    """The arguments of `qom-set`."""

    path: str
    """the object, as for 'qom-list'"""

    property: str
    """the property"""

    value: Any
    """the new value"""


class ObjectTypeInfo(Model):
    """A type of objects."""

    name: str
    """its name"""

    abstract: Maybe[bool] = None
    """no object is of this type itself, only of types that are derived from it (default: false)"""

    parent: Maybe[str] = None
    """the type it is derived from"""


class QObjQomListTypesArg(Model):
    """The arguments of `qom-list-types`."""

    implements: Maybe[str] = None
    """only those that are this type or derived from it, or offer this interface"""

    abstract: Maybe[bool] = None
    """abstract ones too (default: false)"""


class QObjQomListPropertiesArg(Model):
    """The arguments of `qom-list-properties`."""

    typename: str
    """the type"""


class EventLoopBaseProperties(Model):
    """What can be said about a loop that does I/O."""

    aio_max_batch: Maybe[Int64] = Field(default=None, alias="aio-max-batch")
    """how many requests may be handed to the kernel at once; 0 to leave it to the daemon (default: 0)"""

    thread_pool_min: Maybe[Int64] = Field(default=None, alias="thread-pool-min")
    """how many threads are kept for blocking calls (default: 0)"""

    thread_pool_max: Maybe[Int64] = Field(default=None, alias="thread-pool-max")
    """how many there may be (default: 64)"""


class QObjObjectOptionsBase(Model):
    """The members all branches of `ObjectOptions` have."""

    qom_type: ObjectType = Field(alias="qom-type")
    """its type"""

    id: str
    """its name"""


class QObjObjectDelArg(Model):
    """The arguments of `object-del`."""

    id: str
    """its name"""


class IothreadProperties(EventLoopBaseProperties):
    """A thread that does I/O. qmpd does all I/O in its own way: the object can be named wherever QEMU
    wants one, and keeps what it is told.
    """

    poll_max_ns: Maybe[Int64] = Field(default=None, alias="poll-max-ns")
    """how long it looks for events before it waits for them, in nanoseconds; 0 for not at all (default:
    32768)
    """

    poll_grow: Maybe[Int64] = Field(default=None, alias="poll-grow")
    """the factor by which that time grows; 0 to leave it to the daemon (default: 0)"""

    poll_shrink: Maybe[Int64] = Field(default=None, alias="poll-shrink")
    """the divisor by which it shrinks; 0 to leave it to the daemon (default: 0)"""


class ObjectOptionsAuthzList(AuthZListProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `authz-list`."""

    qom_type: Literal[ObjectType.AUTHZ_LIST] = Field(alias="qom-type")


class ObjectOptionsAuthzSimple(AuthZSimpleProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `authz-simple`."""

    qom_type: Literal[ObjectType.AUTHZ_SIMPLE] = Field(alias="qom-type")


class ObjectOptionsIothread(IothreadProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `iothread`."""

    qom_type: Literal[ObjectType.IOTHREAD] = Field(alias="qom-type")


class ObjectOptionsSecret(SecretProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `secret`."""

    qom_type: Literal[ObjectType.SECRET] = Field(alias="qom-type")


class ObjectOptionsThrottleGroup(ThrottleGroupProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `throttle-group`."""

    qom_type: Literal[ObjectType.THROTTLE_GROUP] = Field(alias="qom-type")


class ObjectOptionsTlsCredsAnon(TlsCredsAnonProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `tls-creds-anon`."""

    qom_type: Literal[ObjectType.TLS_CREDS_ANON] = Field(alias="qom-type")


class ObjectOptionsTlsCredsPsk(TlsCredsPskProperties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `tls-creds-psk`."""

    qom_type: Literal[ObjectType.TLS_CREDS_PSK] = Field(alias="qom-type")


class ObjectOptionsTlsCredsX509(TlsCredsX509Properties, QObjObjectOptionsBase):
    """`ObjectOptions` with `qom-type` `tls-creds-x509`."""

    qom_type: Literal[ObjectType.TLS_CREDS_X509] = Field(alias="qom-type")

ObjectOptions = TypeAliasType(
    "ObjectOptions",
    Annotated[
        Union[
            Annotated[ObjectOptionsAuthzList, Tag("qom-type=authz-list")],
            Annotated[ObjectOptionsAuthzSimple, Tag("qom-type=authz-simple")],
            Annotated[ObjectOptionsIothread, Tag("qom-type=iothread")],
            Annotated[ObjectOptionsSecret, Tag("qom-type=secret")],
            Annotated[ObjectOptionsThrottleGroup, Tag("qom-type=throttle-group")],
            Annotated[ObjectOptionsTlsCredsAnon, Tag("qom-type=tls-creds-anon")],
            Annotated[ObjectOptionsTlsCredsPsk, Tag("qom-type=tls-creds-psk")],
            Annotated[ObjectOptionsTlsCredsX509, Tag("qom-type=tls-creds-x509")],
        ],
        Discriminator(by_member("qom-type")),
    ],
)
"""An object."""
