"""The object types of `introspect.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import JSONType, SchemaMetaType
from qmpd.qapi.model import Array, Maybe, Model, by_member

__all__ = [
    "QObjSchemaInfoBase",
    "SchemaInfo",
    "SchemaInfoBuiltinBranch",
    "SchemaInfoEnumBranch",
    "SchemaInfoArrayBranch",
    "SchemaInfoObjectBranch",
    "SchemaInfoAlternateBranch",
    "SchemaInfoCommandBranch",
    "SchemaInfoEventBranch",
    "SchemaInfoBuiltin",
    "SchemaInfoEnum",
    "SchemaInfoEnumMember",
    "SchemaInfoArray",
    "SchemaInfoObject",
    "SchemaInfoObjectMember",
    "SchemaInfoObjectVariant",
    "SchemaInfoAlternate",
    "SchemaInfoAlternateMember",
    "SchemaInfoCommand",
    "SchemaInfoEvent",
]


class QObjSchemaInfoBase(Model):
    """The members all branches of `SchemaInfo` have."""

    name: str
    """the name that the others use to refer to it; of commands and events the real name"""

    meta_type: SchemaMetaType = Field(alias="meta-type")
    """what is described"""

    features: Maybe[Array[str]] = None
    """its features, in no particular order"""


class SchemaInfoBuiltin(Model):
    """A type of the schema language."""

    json_type: JSONType = Field(alias="json-type")
    """how its values look on the wire"""


class SchemaInfoEnum(Model):
    """An enum."""

    members: Array[SchemaInfoEnumMember]
    """its values, in no particular order"""

    values: Array[str]
    """the names of its values"""


class SchemaInfoEnumMember(Model):
    """A value of an enum."""

    name: str
    """its name"""

    features: Maybe[Array[str]] = None
    """its features, in no particular order"""


class SchemaInfoArray(Model):
    """An array."""

    element_type: str = Field(alias="element-type")
    """the type of its elements"""


class SchemaInfoObject(Model):
    """An object type."""

    members: Array[SchemaInfoObjectMember]
    """the members that all its values have, in no particular order"""

    tag: Maybe[str] = None
    """the member that selects the variant; present if there are variants"""

    variants: Maybe[Array[SchemaInfoObjectVariant]] = None
    """one for each value of the tag's type"""


class SchemaInfoObjectMember(Model):
    """A member of an object."""

    name: str
    """its name"""

    type: str
    """its type"""

    default: Any = None
    """present if the member is optional, and always null for now, which says nothing about what is assumed
    instead
    """

    features: Maybe[Array[str]] = None
    """its features, in no particular order"""


class SchemaInfoObjectVariant(Model):
    """The members that a value of the tag adds."""

    case: str
    """the value of the tag"""

    type: str
    """the object type with those members, which itself has no variants"""


class SchemaInfoAlternate(Model):
    """A choice of types."""

    members: Array[SchemaInfoAlternateMember]
    """the types"""


class SchemaInfoAlternateMember(Model):
    """One of the types of a choice."""

    type: str
    """the type"""


class SchemaInfoCommand(Model):
    """A command."""

    arg_type: str = Field(alias="arg-type")
    """the object type of its arguments"""

    ret_type: str = Field(alias="ret-type")
    """what it returns; an object without members if nothing"""

    allow_oob: Maybe[bool] = Field(default=None, alias="allow-oob")
    """whether it may be sent as 'exec-oob' (default: false)"""


class SchemaInfoEvent(Model):
    """An event."""

    arg_type: str = Field(alias="arg-type")
    """the object type of its data"""


class SchemaInfoBuiltinBranch(SchemaInfoBuiltin, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `builtin`."""

    meta_type: Literal[SchemaMetaType.BUILTIN] = Field(alias="meta-type")


class SchemaInfoEnumBranch(SchemaInfoEnum, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `enum`."""

    meta_type: Literal[SchemaMetaType.ENUM] = Field(alias="meta-type")


class SchemaInfoArrayBranch(SchemaInfoArray, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `array`."""

    meta_type: Literal[SchemaMetaType.ARRAY] = Field(alias="meta-type")


class SchemaInfoObjectBranch(SchemaInfoObject, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `object`."""

    meta_type: Literal[SchemaMetaType.OBJECT] = Field(alias="meta-type")


class SchemaInfoAlternateBranch(SchemaInfoAlternate, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `alternate`."""

    meta_type: Literal[SchemaMetaType.ALTERNATE] = Field(alias="meta-type")


class SchemaInfoCommandBranch(SchemaInfoCommand, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `command`."""

    meta_type: Literal[SchemaMetaType.COMMAND] = Field(alias="meta-type")


class SchemaInfoEventBranch(SchemaInfoEvent, QObjSchemaInfoBase):
    """`SchemaInfo` with `meta-type` `event`."""

    meta_type: Literal[SchemaMetaType.EVENT] = Field(alias="meta-type")

SchemaInfo = TypeAliasType(
    "SchemaInfo",
    Annotated[
        Union[
            Annotated[SchemaInfoBuiltinBranch, Tag("meta-type=builtin")],
            Annotated[SchemaInfoEnumBranch, Tag("meta-type=enum")],
            Annotated[SchemaInfoArrayBranch, Tag("meta-type=array")],
            Annotated[SchemaInfoObjectBranch, Tag("meta-type=object")],
            Annotated[SchemaInfoAlternateBranch, Tag("meta-type=alternate")],
            Annotated[SchemaInfoCommandBranch, Tag("meta-type=command")],
            Annotated[SchemaInfoEventBranch, Tag("meta-type=event")],
        ],
        Discriminator(by_member("meta-type")),
    ],
)
"""The description of one command, event or type."""
