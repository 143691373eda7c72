"""The object types of `tpm.json`.

GENERATED from schema/ by `make schema`; change the schema, not this file.
"""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Discriminator, Field, Tag
from typing_extensions import TypeAliasType

from qmpd.api.enums import TpmModel, TpmType
from qmpd.qapi.model import Maybe, Model, by_member

__all__ = [
    "TPMPassthroughOptions",
    "TPMEmulatorOptions",
    "TPMPassthroughOptionsWrapper",
    "TPMEmulatorOptionsWrapper",
    "QObjTpmTypeOptionsBase",
    "TpmTypeOptions",
    "TpmTypeOptionsPassthrough",
    "TpmTypeOptionsEmulator",
    "TPMInfo",
]


class TPMPassthroughOptions(Model):
    """A module of the host."""

    path: Maybe[str] = None
    """its device"""

    cancel_path: Maybe[str] = Field(default=None, alias="cancel-path")
    """the file by which requests are cancelled"""


class TPMEmulatorOptions(Model):
    """A module of another program."""

    chardev: str
    """the character device that leads there"""


class TPMPassthroughOptionsWrapper(Model):
    """A module of the host."""

    data: TPMPassthroughOptions
    """the module"""


class TPMEmulatorOptionsWrapper(Model):
    """A module of another program."""

    data: TPMEmulatorOptions
    """the module"""


class QObjTpmTypeOptionsBase(Model):
    """The members all branches of `TpmTypeOptions` have."""

    type: TpmType
    """in what way"""


class TPMInfo(Model):
    """A module."""

    id: str
    """its id"""

    model: TpmModel
    """its model"""

    options: TpmTypeOptions
    """where it comes from"""


class TpmTypeOptionsPassthrough(TPMPassthroughOptionsWrapper, QObjTpmTypeOptionsBase):
    """`TpmTypeOptions` with `type` `passthrough`."""

    type: Literal[TpmType.PASSTHROUGH]


class TpmTypeOptionsEmulator(TPMEmulatorOptionsWrapper, QObjTpmTypeOptionsBase):
    """`TpmTypeOptions` with `type` `emulator`."""

    type: Literal[TpmType.EMULATOR]

TpmTypeOptions = TypeAliasType(
    "TpmTypeOptions",
    Annotated[
        Union[
            Annotated[TpmTypeOptionsPassthrough, Tag("type=passthrough")],
            Annotated[TpmTypeOptionsEmulator, Tag("type=emulator")],
        ],
        Discriminator(by_member("type")),
    ],
)
"""Where a module comes from."""
