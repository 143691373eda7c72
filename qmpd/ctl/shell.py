"""`qmpctl shell`: qemu.qmp's own qmp-shell on our socket.

The shell is the library's; only the words for a failed connection are ours.
"""

from __future__ import annotations

import logging

from qemu.qmp import ConnectError
from qemu.qmp.qmp_shell import QMPShell

from qmpd.ctl.failure import ConnectFailed, ExitStatus
from qmpd.ctl.session import Address, why_not


def run(target: str, *, pretty: bool, verbose: bool) -> ExitStatus:
    """Run the shell until its user leaves it (Ctrl-D) or the server goes away.

    :raise ConnectFailed: no session could be opened.
    """
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    address = Address.parse(target)
    with QMPShell(address.for_client, pretty=pretty, verbose=verbose) as shell:
        try:
            shell.connect()
        except ConnectError as error:
            raise ConnectFailed(why_not(address, error.exc)) from error
        for _ in shell.repl():
            pass
    return ExitStatus.OK
