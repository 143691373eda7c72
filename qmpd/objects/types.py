"""The types of objects: who is derived from whom, and where the code is. Code is loaded when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import cast

from qmpd.errors import DeviceNotFound
from qmpd.objects.base import QomObject, UserObject

USER_CREATABLE = "user-creatable"


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A type of objects.

    :ivar place: module and class; None for one that only has what its parent has.
    :ivar abstract: no object is of this type itself.
    :ivar interfaces: what it offers besides.
    """

    name: str
    parent: str | None
    place: str | None = None
    abstract: bool = False
    interfaces: tuple[str, ...] = ()

    def load(self) -> type[QomObject]:
        """The class of its objects."""
        if self.place is None:
            return QomObject if self.parent is None else TYPES[self.parent].load()
        module, _, name = self.place.partition(":")
        return cast("type[QomObject]", getattr(import_module(f"qmpd.objects.{module}"), name))

    def is_a(self, name: str) -> bool:
        """Whether it is `name`, derived from it, or offers it."""
        if self.name == name or name in self.interfaces:
            return True
        return self.parent is not None and TYPES[self.parent].is_a(name)


def _user(name: str, parent: str, place: str) -> ObjectType:
    return ObjectType(name, parent, place, interfaces=(USER_CREATABLE,))


TYPES = {
    entry.name: entry
    for entry in (
        ObjectType("object", None, "base:QomObject", abstract=True),
        ObjectType("interface", None, abstract=True),
        ObjectType(USER_CREATABLE, "interface", abstract=True),
        ObjectType("container", "object", "tree:Container"),
        ObjectType("authz", "object", abstract=True),
        ObjectType("device", "object", abstract=True),
        ObjectType("event-loop-base", "object", "iothread:EventLoopBase", True, (USER_CREATABLE,)),
        ObjectType("secret_common", "object", "secret:SecretCommon", True, (USER_CREATABLE,)),
        ObjectType("tls-creds", "object", "tls_creds:TlsCreds", abstract=True),
        _user("authz-list", "authz", "authz:AuthzList"),
        _user("authz-simple", "authz", "authz:AuthzSimple"),
        _user("iothread", "event-loop-base", "iothread:IOThread"),
        _user("secret", "secret_common", "secret:Secret"),
        _user("throttle-group", "object", "throttle_group:ThrottleGroupObject"),
        _user("tls-creds-anon", "tls-creds", "tls_creds:TlsCredsAnon"),
        _user("tls-creds-psk", "tls-creds", "tls_creds:TlsCredsPsk"),
        _user("tls-creds-x509", "tls-creds", "tls_creds:TlsCredsX509"),
    )
}


def lookup_type(name: str) -> ObjectType:
    """The type of that name.

    :raises DeviceNotFound: there is none.
    """
    found = TYPES.get(name)
    if found is None:
        raise DeviceNotFound(f"There is no type of objects '{name}'; 'qom-list-types' lists those that there are")
    return found


def user_types() -> list[ObjectType]:
    """The types of which clients can make objects."""
    return [kind for kind in TYPES.values() if not kind.abstract and kind.is_a(USER_CREATABLE)]


def user_class(name: str) -> type[UserObject]:
    """The class of the objects of a type that clients can make objects of."""
    return cast("type[UserObject]", TYPES[name].load())
