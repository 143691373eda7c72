"""What `query-command-line-options` tells: the options of the command line, and the parameters of those with their own.

Options that are commands have none here: their parameters are the command's arguments, which `query-qmp-schema` tells.
"""

from __future__ import annotations

from typing import Any

from qmpd.block.drive_options import PARAMETERS as DRIVE
from qmpd.options.chardevs import PARAMETERS as CHARDEV
from qmpd.options.commandline import option_names

_PARAMETERS = {
    "chardev": CHARDEV,
    "drive": DRIVE,
    "monitor": {"chardev": "string", "mode": "string", "pretty": "boolean"},
}


def command_line_options() -> list[dict[str, Any]]:
    """The answer, one object an option."""
    return [
        {
            "option": name,
            "parameters": [{"name": parameter, "type": kind} for parameter, kind in _PARAMETERS.get(name, {}).items()],
        }
        for name in option_names()
    ]
