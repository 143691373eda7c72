"""One module an action kind. The engine finds them by scanning this package; nothing is listed anywhere."""
