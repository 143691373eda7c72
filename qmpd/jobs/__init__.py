"""Jobs: long-running work that a client starts, watches and ends.

`state` holds the tables of what is legal, `job` the life of one job, `transaction` the common fate of
several, `manager` owns them all. One module a job kind. Leans on `qmpd.block`; knows nothing of commands or
sockets.
"""
