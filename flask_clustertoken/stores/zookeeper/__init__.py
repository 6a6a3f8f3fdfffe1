"""The ZooKeeper store: hosts that share an ensemble. Only :mod:`.connection` knows kazoo.

Imports the contract and what is below it. Others use :class:`ZooKeeperStore`, by its URL.

::

    <root>/<realm>/                             by        when
        root               epoch, state (JSON)  realm     first use of an empty realm, last of all;
                                                          a migration's seal and opening
        scratch            nothing              site      before each read that must not lag
        records/           nothing              records   made with the first key below it
            <area>/<shard>/<leaf>   one record  records   add, put, touch, delete, purge, load
        feed/
            head           last number, floor,  appender  each append: the entries that are new
                           the newest entries   realm     a seal, with its entry
                           in full              sweeper   each trim: raises the floor
                                                loader    each step of a migration's load
            pages/<number> older entries        feed      an append that finds the head full moves
                                                          half of its entries here, in its own step
                                                sweeper   a trim: cut, joined with the one before,
                                                          or deleted
                                                loader    a load
            ids/<xx>/<id>  the entry's number   appender  with the entry, in the same transaction
                                                sweeper   deleted with the entry
            queue/<ticket> nothing; ephemeral   queue     whoever was beaten to the head, until it
                                                          has appended; an idle one is taken away
        nodes/             nothing, its version nodes     each withdrawal, in the same transaction
            <node id>      what the node says   nodes     announce, withdraw
                                                feed      each vouch, the head read behind it

What two might change at once is one transaction whose every part names the version that it
rests on: the root's (is it sealed?), the head's (did anybody append?), each record's. Whoever
is refused reads again, behind a write, and decides anew: :meth:`.Site.again`.
"""

from __future__ import annotations

from .connection import Line as Line
from .store import ZooKeeperStore as ZooKeeperStore
