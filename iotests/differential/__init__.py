"""One QMP transcript played on two servers, and what differs in their answers.

`transcript` reads the text, `player` plays it on one server, `normal` takes out what may differ between any two runs,
`compare` tells the rest, and `pair` keeps two servers for many transcripts. `python -m iotests.differential` is the
program; iotests/test_differential.py plays the whole corpus in `transcripts/`. Leans on `iotests.harness`; must
never look into a server by any way that a client does not have.
"""
