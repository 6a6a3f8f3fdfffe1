"""``redis://host:6379/0``: the store of an app that has a Redis or Valkey already.

``rediss://`` is the same over TLS; with ``redis+sentinel://h1:26379,h2:26379/mymaster`` the
Sentinels say which server is the primary. Needs Redis 6.2 or later, or Valkey, and the package
redis (extra ``redis``).

What is ours are nine keys for each realm, with one hash tag, so that they lie together::

    {clustertoken:<realm>}:root      hash    epoch state moved_to format · head floor trimmed ·
                                             version (of nodes' entries) · history since
    {clustertoken:<realm>}:feed      sorted  an entry, by its number: "seq prev id end n" + body
    {clustertoken:<realm>}:ids       hash    an entry's id → its number
    {clustertoken:<realm>}:ends      sorted  an entry's number, by its end
    {clustertoken:<realm>}:records   hash    a record's key → its end and value
    {clustertoken:<realm>}:names     sorted  every record's key, in the order of its letters
    {clustertoken:<realm>}:lives     sorted  a record's key, by its end
    {clustertoken:<realm>}:nodes     hash    a node → version, time and what it says
    {clustertoken:<realm>}:done      sorted  a transaction without entries, by the time it was made
    {clustertoken:<realm>}:moved     (channel) says that the feed moved

No key has a time to live: a server that evicts keys with one (``volatile-*``) never touches
ours, and the life of a record is judged by the nodes' clocks alone.

Every call is one script in ``lua/``. Each begins by asking in the same step whether this is the
server, and the history, that the caller knows (:mod:`.realm`).

============  =========================================================================
module        its noun
============  =========================================================================
``store``     the contract, call by call
``records``   bytes under text keys
``feed``      entries, and the transactions that append them
``loading``   what a migration brings, cut into steps
``realm``     the history of a server, and what is published again where it lost its end
``line``      connections, and scripts run over them
``topology``  which server is the primary, and how many replicas have to acknowledge
``driver``    redis-py's connection with a deadline; the only module that imports it
``wakeup``    the subscription that wakes the follower up
``server``    how a server is set up, and what that means
``place``     URL and options
``codec``     keys, and the forms of what is kept
============  =========================================================================
"""

from .store import RedisStore, SentinelRedisStore, TlsRedisStore

__all__ = ["RedisStore", "SentinelRedisStore", "TlsRedisStore"]
