"""docs/compatibility.md knows all that qmpd has; iotests/test_compatibility.py holds it against QEMU as well."""

import pytest

from iotests.harness.compatibility import Compatibility
from iotests.harness.introspection import Interface
from qmpd.api.introspection import schema_info

INTERFACE = Interface(schema_info())
HERE = {
    "commands": INTERFACE.commands,
    "events": INTERFACE.events,
    "block-drivers": INTERFACE.values("blockdev-add", "driver"),
    "export-types": INTERFACE.values("block-export-add", "type"),
    "object-types": INTERFACE.values("object-add", "qom-type"),
}


@pytest.mark.parametrize("section", HERE)
def test_told(section: str) -> None:
    assert Compatibility().names(section, "works", "differs", "added") == HERE[section]
