"""The demo's voice: what is going on and why, what is sent, what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.text import Text

from qmpd.ctl.display import Bars, Lines


class Narrator:
    """Writes to standard output: coloured on a terminal, plain text elsewhere."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._chapter = 0
        self.checks = 0

    def chapter(self, title: str) -> None:
        """Begin the next part of the story."""
        self._chapter += 1
        self._print(f"\n{self._chapter}. {title}", "bold cyan")

    def say(self, text: str) -> None:
        """A sentence or two for the reader."""
        self._print(f"   {text}", "")

    def command_line(self, text: str) -> None:
        """What one would type into a shell."""
        self._print(f"   $ {text}", "dim")

    def sent(self, command: str, arguments: Mapping[str, Any]) -> None:
        """A QMP command as it goes to the daemon."""
        self._print(f"   -> {command} {json.dumps(arguments)}", "dim")

    def event(self, event: Mapping[str, Any]) -> None:
        """An event as it came from the daemon."""
        self._print(f"   <- {event['event']} {json.dumps(event['data'])}", "magenta")

    def checked(self, text: str) -> None:
        """Something that was to be shown held."""
        self.checks += 1
        self._print(f"   [ok] {text}", "green")

    def failure(self, text: str) -> None:
        """The demo ends here, badly."""
        self._print(f"\n   [FAILED] {text}", "bold red")

    def summary(self) -> None:
        """The last word."""
        self._print(
            "\nWhat you saw: several disks backed up as one, incrementally, while they were written to;"
            "\na failure that cost nothing but a second run of the same command; and no bitmap lost,"
            "\nnot even, in qcow2 images, with the end of the daemon.",
            "",
        )
        self._print(f"\nAll {self.checks} checks held.", "bold green")

    def progress(self) -> AbstractContextManager[Lines | Bars]:
        """A display for jobs: live bars on a terminal, lines elsewhere."""
        if self._console.is_terminal:
            return Bars(self._console)
        return Lines(prefix="   ")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style))
