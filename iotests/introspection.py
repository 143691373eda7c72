"""`python -m iotests.introspection`: how the interfaces of qmpd and QEMU differ, as the programs answer today.

Prints each difference, with a mark where docs/compatibility.md gives no reason for it. Exit status 1 if there is such
a one, or a reason without a difference.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from iotests.harness import SERVER_KINDS, Launcher, Scratch
from iotests.harness.compatibility import Compatibility
from iotests.harness.introspection import Interface, compare, explain

PEERS = tuple(kind for kind in SERVER_KINDS if kind != "qmpd")


def main() -> int:
    """Ask both servers and print what differs."""
    parser = argparse.ArgumentParser(prog="python -m iotests.introspection", description=__doc__)
    parser.add_argument("--peer", choices=PEERS, default="qsd", help="the program to compare with")
    peer = parser.parse_args().peer
    with tempfile.TemporaryDirectory() as directory:
        launcher = Launcher("qmpd", Scratch(Path(directory)))
        try:
            answers = [launcher.peer(kind).qmp.command("query-qmp-schema") for kind in ("qmpd", peer)]
        finally:
            launcher.close()
    return report(*map(Interface, answers))


def report(ours: Interface, theirs: Interface) -> int:
    """Print the differences; give the exit status."""
    print(f"commands: {len(ours.commands & theirs.commands)} of {len(theirs.commands)}")
    print(f"events: {len(ours.events & theirs.events)} of {len(theirs.events)}")
    found = compare(ours, theirs)
    unexplained, gone = explain(found, Compatibility().intended())
    for difference in found:
        print(f"{'!' if difference in unexplained else ' '} {difference}")
    for difference in gone:
        print(f"! {difference}: stands in docs/compatibility.md, and is not there")
    return 1 if unexplained or gone else 0


if __name__ == "__main__":
    sys.exit(main())
