"""The entries of the generated tables of commands and events.

Cheap to make: models, and with them pydantic, are imported when the first arguments are validated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

    from qmpd.qapi.model import Model


@dataclass(frozen=True)
class CommandInfo:
    """A command of the schema.

    :param arg_type: the name in `models` of what its arguments are; None if it takes none.
    :param ret_type: the name in `models` of what it returns, in brackets if an array; None if nothing.
    :param models: the module that has the models.
    :param free_form: the arguments are passed on as they are, for the command to look at.
    """

    name: str
    models: str
    arg_type: str | None = None
    ret_type: str | None = None
    free_form: bool = False
    allow_oob: bool = False
    allow_preconfig: bool = False
    coroutine: bool = False
    success_response: bool = True
    features: tuple[str, ...] = ()

    @cached_property
    def validate(self) -> Callable[[Mapping[str, object]], Model | Mapping[str, object] | None]:
        """`validate(arguments)` makes the model that the handler gets; None for a command without arguments.

        Raises `pydantic.ValidationError`, which `qmpd.qapi.explain.explain` puts into words.
        """
        if self.arg_type is None:
            return partial(_refuse_members, self.name)
        if self.free_form:
            return dict
        check = validator(self.models, self.arg_type).validate_python
        return cast("Callable[[Mapping[str, object]], Model]", partial(check, by_alias=True, by_name=False))

    def explain(self, error: ValueError) -> str:
        """One sentence on why `validate` refused the arguments."""
        from qmpd.qapi.explain import explain

        package = self.models.rpartition(".")[0]
        return explain(error, import_module(f"{package}.keyval_types").TYPES)

    def check_return(self, value: object) -> None:
        """Hold what a handler returned against the schema.

        :raises pydantic.ValidationError: if it is not what the schema promises.
        """
        if self.ret_type is None:
            _refuse_members(self.name, {} if value is None else value)
        else:
            validator(self.models, self.ret_type).validate_python(value, by_alias=True, by_name=False)


@dataclass(frozen=True)
class EventInfo:
    """An event of the schema; see `CommandInfo`."""

    name: str
    models: str
    arg_type: str | None = None
    features: tuple[str, ...] = ()

    def check(self, data: object) -> None:
        """Hold an event's data against the schema.

        :raises pydantic.ValidationError: if it is not what the schema promises.
        """
        if self.arg_type is None:
            _refuse_members(self.name, {} if data is None else data)
        else:
            validator(self.models, self.arg_type).validate_python(data, by_alias=True, by_name=False)


def validator(models: str, type_name: str) -> SchemaValidator:
    """The validator for a type of module `models`; `[Name]` is an array of `Name`.

    Call `validate_python(value, by_alias=True, by_name=False)`: clients know dashed names only.
    """
    from pydantic import BaseModel, ConfigDict, TypeAdapter

    found = _find(models, type_name.strip("[]"))
    if type_name.startswith("["):
        found = list.__class_getitem__(found)
    if isinstance(found, type) and issubclass(found, BaseModel):
        found.model_rebuild()
        return cast("SchemaValidator", found.__pydantic_validator__)
    adapter = TypeAdapter[Any](found, config=ConfigDict(strict=True, title=type_name.strip("[]")))
    return cast("SchemaValidator", adapter.validator)


def _find(models: str, name: str) -> Any:
    """The type of that name: the schema's, or a built-in one."""
    module = import_module(models)
    if name in module.__all__:
        return getattr(module, name)
    from qmpd.qapi import model

    return {"str": str, "bool": bool, "float": float, "Any": Any}.get(name) or getattr(model, name)


def _refuse_members(name: str, arguments: object) -> None:
    """Accept the empty object only."""
    if arguments == {}:
        return
    from pydantic import create_model

    from qmpd.qapi.model import Model

    create_model(name, __base__=Model).__pydantic_validator__.validate_python(arguments)
