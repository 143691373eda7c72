"""qemu-io's commands, on a node or drive of a running daemon.

`words` splits a command and reads its options, numbers and sizes; `report` writes results; both are sans-I/O. `table`
has the commands: one entry each, with what it takes and the function that carries it out (`transfers`, `background`,
`inspection`, `breakpoints`, `changes`). `target` is the disk that a command is for.

What the commands print is the contract: it has the form of qemu-io's, which scripts take apart.
"""
