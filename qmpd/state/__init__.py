"""What outlives the daemon: the state directory, and what is kept in it and in the catalog.

`state.State` puts the parts together; nothing else of the daemon knows them:

* `directory`: who may use the directory, whose it is, and how the last run ended;
* `journal`: what is stored later, in order, however often the database fails meanwhile;
* `history`: events with their sequence numbers;
* `configuration`: nodes, objects, exports and bitmaps as they are now, as records that can be compared;
* `bit_files`: the files of one bitmap;
* `bitmap_files`: the bits of persistent bitmaps, in files that are mapped into memory;
* `recorder`: stores changes of all of that, one database transaction for one QMP transaction;
* `job_history`: how jobs, groups and backups end;
* `restore`: makes everything again when the daemon starts.
"""
