"""`qmpctl`, the operator's client, and the demo.

An independent program over any QMP socket, QEMU's too: it imports nothing of the daemon but `qmpd.api`, except for the
two commands that need no server, `check` and `catalog`.
"""
