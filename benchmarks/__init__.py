"""qmpd and qemu-storage-daemon side by side in one run: the same loads, alternating, with a table of ratios."""
