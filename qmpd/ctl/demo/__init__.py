"""`make demo`: the main job of qmpd from end to end, on real disks, told as a story and verified.

Plays the part of a backup tool: it talks QMP and NBD to a real qmpd process, and judges every result by
reading the raw files itself.
"""
