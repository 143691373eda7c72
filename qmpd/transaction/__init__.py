"""Transactions: actions that happen together or not at all.

`action` is what an action kind promises, `env` what it may use, `engine` how a list of them is carried out;
`kinds/` holds one module an action kind. Leans on `qmpd.block` and `qmpd.jobs`; knows nothing of sockets.
"""
