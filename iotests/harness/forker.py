"""The process that forks for `warm`: run with the number of a socket on which it is asked.

It alone imports qmpd here, and is no part of the tests' own process.
"""

import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
from typing import Any

from iotests.harness.warm import LONGEST

_NOT_OURS = ("qmpd.ctl", "qmpd.catalog.migrations.")
"""Modules that a daemon does not import, or only in its own way."""


def _serve(channel: socket.socket) -> bool:
    """Fork as asked; True in a fork, False when there is nobody any more who might ask."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, LONGEST, 1)
        if not message:
            return False
        request = json.loads(message)
        if "ended" in request:
            _, status = os.waitpid(request["ended"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if not answer:
                channel.close()
                _become(request, *descriptors)
                return True
            os.close(*descriptors)
        channel.send(json.dumps(answer).encode())


def _become(request: dict[str, Any], output: int) -> None:
    """In the fork: take over what a new process has from its parent."""
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    sys.argv[1:] = request["words"]


def _import_all() -> None:
    from sqlalchemy.orm import configure_mappers

    import qmpd

    for module in pkgutil.walk_packages(qmpd.__path__, "qmpd."):
        if not module.name.startswith(_NOT_OURS) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    configure_mappers()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    _import_all()
    if _serve(socket.socket(fileno=int(sys.argv[1]))):
        runpy.run_module("qmpd", run_name="__main__", alter_sys=True)
