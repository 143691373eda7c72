"""The command line, in qemu-storage-daemon's spelling, to typed options in the order in which they were given.

This package only reads text: what it takes is checked where it is used, and it never opens, binds or starts anything.

* `words` splits the words into options, `commandline` knows which options there are;
* `model` is what they become: one class an option, and `Options`, all of them;
* `chardevs`, `addresses` and `commands` read the options' values, `trees` those that may be JSON;
* `usage` is the text of `--help`.
"""

from qmpd.options.commandline import parse_options
from qmpd.options.model import (
    BlockdevOption,
    ChardevOption,
    DeviceOption,
    DriveOption,
    ExportOption,
    MonitorOption,
    NbdServerOption,
    ObjectOption,
    Option,
    OptionError,
    Options,
    StateOption,
)

__all__ = [
    "BlockdevOption",
    "ChardevOption",
    "DeviceOption",
    "DriveOption",
    "ExportOption",
    "MonitorOption",
    "NbdServerOption",
    "ObjectOption",
    "Option",
    "OptionError",
    "Options",
    "StateOption",
    "parse_options",
]
