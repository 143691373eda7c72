"""The NBD server.

From the wire inwards: `listener` accepts sockets, `connection` reads and writes one, `negotiation` is its handshake,
`transmission` carries out its requests as `protocol` decodes them, with `status` and `holes` for what a disk is made
of. `server` has the table of exports, `export` is one of them.
"""
