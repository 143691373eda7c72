"""Devices: the guest's side of drives and nodes, by the names that QEMU has for them.

* `kinds` says which kinds there are, and what is particular about each;
* `properties` is what can be said about one, with types and defaults;
* `device` is one, as an object with a path;
* `manager` makes and removes them, and gives them other nodes.
"""
