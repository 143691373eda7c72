"""Driver `qcow2`: QEMU's own image format.

From the bottom up: `header` and `packing` know bytes, `store` the image file, `refcounts` and `metadata` the tables and
the order in which they are written, `mapping` what an entry means, `datapath` guest requests, `snapshots`, `bitmaps`,
`resizing`, `checking`, `amending` (with `expanding`) and `creating` what their names say, and `driver` puts them
together as a `BlockDriver`.
"""
