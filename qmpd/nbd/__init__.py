"""The NBD protocol as server and client both need it: its numbers and the shapes of its headers, nothing that acts."""
