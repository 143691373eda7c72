"""`qmpctl`: the entry point of the operator's client.

Does nothing itself, so that naming the program costs nothing: typer, `qemu.qmp` and rich are imported where
they are first needed.
"""

from __future__ import annotations


def main() -> None:
    """The program `qmpctl`; ends the process with an exit status from `qmpd.ctl.failure.ExitStatus`."""
    from qmpd.ctl.cli import app

    app(prog_name="qmpctl")


if __name__ == "__main__":
    main()
