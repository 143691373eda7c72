"""Objects that clients make beside nodes: limits, secrets, credentials; and the tree in which they are found.

`tree` holds the objects, `base` is what they have in common, `types` is the table of all types; one module a kind of
object. Nothing here knows nodes or sockets: whoever uses an object looks it up in the tree.
"""
