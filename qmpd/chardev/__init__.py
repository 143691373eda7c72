"""Character devices: what a monitor reads from and writes to, and what clients make for themselves.

* `specs` says what there can be, as data; `kinds` makes the device of a spec;
* `manager` has all of a daemon's devices, by label;
* `sockets`, `streams`, `pty`, `memory` and `udp` are the kinds; `base` is what they have in common;
* `transport` makes an asyncio transport of file descriptors, `log` keeps a copy of what is written to a device.

A device is opened in two steps, because the command line is worked through in order but clients are served only when
all of it has been: `open` binds and listens (or connects, or opens files), then `serve` hands connections to whoever
uses the device, or `hold` keeps them for nobody.
"""
