"""The monitor for people: lines of text in, text out, as tools for QEMU send them by human-monitor-command.

`line` reads a line (sans-I/O); `table` has the commands, one family a module; `qemu_io` is a room of its own. Most
commands are a QMP command in other words, and are carried out by it (`context.Human.execute`): nothing is decided here
that a QMP command decides. Texts have the form of QEMU's, since scripts take them apart; sentences are our own.
"""
