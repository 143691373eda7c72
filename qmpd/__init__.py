"""qmpd: a storage daemon that speaks QMP."""

__version__ = "0.1.0"
