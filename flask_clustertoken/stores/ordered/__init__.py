"""The whole contract over ordered keys and a transaction: what a store of one's own begins with.

Whoever has a place that keeps bytes under text keys in order, and that makes several looks and
changes in one step (an SQL database, LMDB, FoundationDB), derives from :class:`OrderedStore`. What
is left to write is :meth:`~OrderedStore.step`, the URL and what opens the place.

::

    root           epoch, state, moved_to, format
    head           the feed's last number, and the highest that was ever trimmed
    r/<key>        a record: its end, and its value
    f/<number>     an entry: the number before it, its id and its end, and its body
    i/<id>         the number of the entry with that id
    n/<node>       a node: its version and the time, and what it says

Simple rather than fast: what has ended is looked for among all that stands.
"""

from __future__ import annotations

from .step import Step as Step
from .store import OrderedStore as OrderedStore
