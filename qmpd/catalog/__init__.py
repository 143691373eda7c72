"""The catalog: what the daemon remembers, in a database that is reached through oslo.db's engine facade alone.

`facade` has the decorators `reader` and `writer`, `catalog.Catalog` is one daemon's way to one database, and each
bundle of functions is a module: `services`, `settings`, `volumes`, `objects`, `attachments`, `snapshots`,
`bitmaps`, `groups`, `jobs`, `backups`, `events`, `quotas`, `retention`. Functions take a `RequestContext` first and
return values, never rows of an open session. Never on the data path; a daemon without a catalog imports nothing of it.
"""
