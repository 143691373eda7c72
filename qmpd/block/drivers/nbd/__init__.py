"""Driver `nbd`: a disk that an NBD server exports.

* `handshake` and `replies` are the client's side of the protocol, sans-I/O;
* `connection` is one connection in its transmission phase: it owns the socket and knows what is under way;
* `link` gets connections, and gets another one when one is lost;
* `driver` makes requests of what the block layer wants.
"""
