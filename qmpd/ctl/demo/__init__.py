"""`make demo`: the main job of qmpd from end to end, on real disks, told as a story and verified.

Plays the part of a backup tool: it talks QMP and NBD to a real qmpd process, and judges raw
disks by reading the files itself, qcow2 disks by its own account of their contents (see `layers`).
"""
