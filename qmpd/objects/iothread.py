"""Object `iothread`: a name for a thread that does I/O.

qmpd does all I/O from one event loop and its pool of threads, so the object changes nothing; it exists since clients
make one and name it in exports.
"""

from __future__ import annotations

from typing import ClassVar

from qmpd.errors import GenericError
from qmpd.objects.base import Property, UserObject

_MOST_THREADS = (1 << 31) - 1


def _number(name: str, attribute: str) -> Property:
    def change(self: EventLoopBase, value: int) -> None:
        if value < 0:
            raise GenericError(f"'{name}' is {value}; it must not be negative")
        before = getattr(self, attribute)
        setattr(self, attribute, value)
        try:
            if self.complete:
                self.check_threads()
        except GenericError:
            setattr(self, attribute, before)
            raise

    return Property(name, "int", lambda self: getattr(self, attribute), change)


class EventLoopBase(UserObject):
    """What can be said about any loop that does I/O."""

    type_name: ClassVar[str] = "event-loop-base"
    properties: ClassVar[tuple[Property, ...]] = (
        _number("aio-max-batch", "aio_max_batch"),
        _number("thread-pool-min", "thread_pool_min"),
        _number("thread-pool-max", "thread_pool_max"),
    )

    aio_max_batch = 0
    thread_pool_min = 0
    thread_pool_max = 64

    async def load(self, offload: object) -> None:
        self.check_threads()

    def check_threads(self) -> None:
        """Pass if the numbers of threads go together.

        :raises GenericError: they do not.
        """
        least, most = self.thread_pool_min, self.thread_pool_max
        if not least <= most or not 1 <= most <= _MOST_THREADS:
            raise GenericError(
                f"'thread-pool-min' is {least} and 'thread-pool-max' is {most}; the latter has to be at least 1 and "
                f"the former, and at most {_MOST_THREADS}"
            )


class IOThread(EventLoopBase):
    """The object."""

    type_name: ClassVar[str] = "iothread"
    properties: ClassVar[tuple[Property, ...]] = (
        _number("poll-max-ns", "poll_max_ns"),
        _number("poll-grow", "poll_grow"),
        _number("poll-shrink", "poll_shrink"),
    )

    poll_max_ns = 32768
    poll_grow = 0
    poll_shrink = 0


def find_iothread(found: UserObject | None, object_id: str) -> IOThread:
    """The thread that a command names.

    :param found: the object of that id, if there is one.
    :raises GenericError: it is no thread.
    """
    if not isinstance(found, IOThread):
        raise GenericError(f"There is no 'iothread' object with the id '{object_id}'")
    return found
