"""``postgresql://host:5432/database``: the store of an app that has a PostgreSQL already.

Several hosts are asked one by one for the one that takes writes. Needs PostgreSQL 13 or later, and
psycopg 3 (extra ``postgresql``); a pooler in transaction mode may stand between.

What is ours are seven tables and two views in a schema (``schema/``), keyed by realm. Each call is
one statement, or a transaction that is sent at once (``sql/``). Each asks in the same step whether
this is the server, and the history, that the caller knows (:mod:`.realm`).

===============  ======================================================================
module           its noun
===============  ======================================================================
``store``        the contract, call by call
``records``      bytes under text keys
``feed``         entries, and the transactions that append them
``loading``      what a migration brings, cut into steps
``steps``        one step of the realm, within a call's time
``realm``        the history of a server, and what is published again where it lost its end
``schema``       the tables, made once by whoever may
``connections``  connections, and statements run over them
``driver``       libpq's connection with a deadline; the only module that imports psycopg
``statements``   the texts in ``sql/``
``watch``        the look at the head, or the call, that wakes the follower up
``server``       how a server is set up, and what that means
``place``        URL and options
===============  ======================================================================
"""

from .store import PostgreSQLStore

__all__ = ["PostgreSQLStore"]
