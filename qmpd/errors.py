"""The one place that makes QMP errors.

The error *class* is the contract with clients and is QEMU's; the description is ours: it names the offending
member or object and says what would have been right. Nothing here knows about sockets or JSON.
"""

from __future__ import annotations

import os
from enum import StrEnum


class ErrorClass(StrEnum):
    """Error classes of the QMP protocol (QEMU's `QapiErrorClass`)."""

    GENERIC_ERROR = "GenericError"
    COMMAND_NOT_FOUND = "CommandNotFound"
    DEVICE_NOT_ACTIVE = "DeviceNotActive"
    DEVICE_NOT_FOUND = "DeviceNotFound"
    KVM_MISSING_CAP = "KVMMissingCap"


class QMPError(Exception):
    """An error that is reported to the client as it is.

    :param desc: one sentence for a human; names the offending member or object.
    """

    error_class: ErrorClass = ErrorClass.GENERIC_ERROR

    def __init__(self, desc: str) -> None:
        super().__init__(desc)
        self.desc = desc


class GenericError(QMPError):
    """Anything without a class of its own."""


class CommandNotFound(QMPError):
    """The command does not exist, or is not available in the session's present mode."""

    error_class = ErrorClass.COMMAND_NOT_FOUND


class DeviceNotFound(QMPError):
    """No device, node or job of that name."""

    error_class = ErrorClass.DEVICE_NOT_FOUND


class DeviceNotActive(QMPError):
    """The device or job exists in principle but has nothing active to act on."""

    error_class = ErrorClass.DEVICE_NOT_ACTIVE


class KVMMissingCap(QMPError):
    """The host lacks a capability of KVM."""

    error_class = ErrorClass.KVM_MISSING_CAP


def os_error_text(error: OSError) -> str:
    """The operating system's words for `error`, as `strerror(3)` gives them."""
    if error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
