"""Black-box tests: a real daemon process, real clients, real images; run against qmpd and against QEMU's own
daemon.
"""
