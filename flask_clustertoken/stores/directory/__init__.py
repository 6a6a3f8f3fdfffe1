"""The directory store: processes of one host, SQLite, and a counter in a mapped file.

Imports the contract and what is below it. Others use :class:`DirectoryStore`, by its URL.

::

    <folder>/                                  written by            when
        README.txt           for the operator  folder     the first opening
        <realm>.head         the feed's last   counter    every write of any process holds its lock;
                             number, 8 bytes,             raised behind the commit, before the lock
                             and the write lock           is let go; read by every request
        <realm>.sqlite3      the database      opening    laid out at the first opening
            meta             one row: epoch,   store      change_root, load
                             state, head,      tables     head: each append, in its transaction
                             floor             store      floor: each trim
            records          key, value, end   store      add, put, touch, delete, purge, load
                                               tables     the changes of a transaction
            feed             number, number    tables     append
                             before, id,       store      trim, load
                             body, end
            presence         node, its words,  store      announce, vouch, withdraw
                             version, time
        <realm>.sqlite3-wal  SQLite's log      database   every commit; copied into the database
        <realm>.sqlite3-shm  its index                    every 256th, under the write lock
        *.damaged-<time>     what could not    opening    an opening that finds it damaged or gone
                             be read

One process at a time writes: it holds the lock on ``<realm>.head``, does its one transaction,
commits, raises the counter, and only then lets go. So whoever finds the counter at a number
finds every entry up to it in the database. Reading takes no lock.
"""

from __future__ import annotations

from .store import DirectoryStore as DirectoryStore
