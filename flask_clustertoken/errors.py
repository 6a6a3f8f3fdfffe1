"""The family of errors, drawn::

    ClusterTokenError
    ├── ConfigurationError      a setting is unknown, wrong or contradicts another
    │   └── MissingDriver       an optional package is not installed
    ├── StoreError              the cluster store could not do it: trouble, never absence
    │   ├── StoreUnavailable    unreachable, refused, or slower than its deadline
    │   ├── StoreDamaged        what is stored cannot be trusted
    │   ├── StoreNotOpen        sealed by a migration, or not filled yet
    │   └── NotAnnounced        this node has no presence entry (any more)
    ├── Conflict                a conditional change did not hold; nothing was written
    │   └── HeadMoved           the feed went on meanwhile
    ├── ValueTooLarge           more bytes than the cookie or the store can carry
    ├── FilesFull               the deployment's files take all the room that they may take
    ├── FileChanged             a shared file was replaced or deleted while it was read
    ├── NodesTooOld             nodes of an older version would not understand it
    ├── KeyMissing              this node cannot sign: the key is not here
    ├── NoThread                the system gives this process no more threads
    ├── NotMade                 no token was handed out
    │   ├── AlreadyBound        the login was bound to a key before: that happens once
    │   ├── RevokedMeanwhile    a revocation covers the login that was being made
    │   │   └── Locked          a lock refuses whom it was for
    │   └── TokenLimitReached   the subject has as many tokens as it may have
    └── NotAllowed              the token that was presented may not do this
        └── ForeignOrigin       a page of another origin wants to log in or out

That a token is absent, expired or revoked is *not* an error: it is an answer, a
:class:`~flask_clustertoken.tokens.Refusal`. No message of these errors ever holds a
token or a secret.
"""

from __future__ import annotations

from collections.abc import Sequence


class ClusterTokenError(Exception):
    """The root: catch it to catch everything that this library raises on purpose."""


class ConfigurationError(ClusterTokenError):
    """A setting stops the start. *setting* names it, *remedy* says what to do."""

    def __init__(self, setting: str, problem: str, remedy: str = "") -> None:
        self.setting = setting
        self.problem = problem
        self.remedy = remedy
        super().__init__(setting, problem, remedy)

    def __str__(self) -> str:
        return f"{self.setting}: {self.problem}" + (f" {self.remedy}" if self.remedy else "")

    def with_prefix(self, prefix: str) -> ConfigurationError:
        """This very error, its setting named as the app's configuration names it."""
        if self.setting.isupper() and not self.setting.startswith(prefix):
            self.setting = prefix + self.setting
        return self


class MissingDriver(ConfigurationError):
    """An optional package is needed for what was asked and is not installed."""

    def __init__(self, setting: str, package: str, extra: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            setting,
            f"the package {package!r} is not installed.",
            f'Install it with: pip install "Flask-ClusterToken[{extra}]"',
        )


class StoreError(ClusterTokenError):
    """The cluster store could not do what was asked; the driver's error is the cause."""


class StoreUnavailable(StoreError):
    """The store cannot be reached, refused, or did not answer within its deadline.

    Whether a write that ended so was carried out is unknown.
    """


class StoreDamaged(StoreError):
    """What is stored cannot be read or is not ours; nothing in it is believed."""


class StoreNotOpen(StoreError):
    """The store is sealed (its contents moved elsewhere) or still being filled."""


class NotAnnounced(StoreError):
    """A node tried to prove its freshness without a presence entry of its own."""


class Conflict(ClusterTokenError):
    """A conditional change did not hold, so nothing of its transaction was written."""

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(f"the condition on {key!r} did not hold")


class HeadMoved(Conflict):
    """The feed's head was not the number that a transaction was made for; nothing was written.

    No refusal: whoever reads on may judge and try again.
    """

    def __init__(self, seq: int) -> None:
        self.seq = seq
        super().__init__(f"head {seq}")


class ValueTooLarge(ClusterTokenError):
    """The value has *size* bytes where *limit* are allowed."""

    def __init__(self, what: str, size: int, limit: int, remedy: str = "") -> None:
        self.size = size
        self.limit = limit
        message = f"{what} has {size} bytes, {limit} are allowed."
        super().__init__(f"{message} {remedy}".strip())


class FilesFull(ClusterTokenError):
    """There is no room for *more* bytes of shared files beside the *used* ones.

    Those of replaced and deleted files count for the five minutes in which they may be read.
    """

    def __init__(self, used: int, more: int, limit: int) -> None:
        self.used = used
        self.limit = limit
        super().__init__(
            f"the shared files of this deployment have {used} bytes, {more} more are too many: "
            f"{limit} are allowed. Delete some, or raise CLUSTERTOKEN_FILES_TOTAL, if the store "
            "can hold more. (Those that were replaced or deleted in the last minutes count, too.)"
        )


class FileChanged(ClusterTokenError):
    """A shared file was replaced or deleted while it was read, and its content is gone."""


class NodesTooOld(ClusterTokenError):
    """Live nodes of an older version would not understand what was to be written; nothing was.

    *nodes* names them, each with its version.
    """

    def __init__(self, what: str, nodes: Sequence[str]) -> None:
        self.nodes = tuple(nodes)
        super().__init__(
            f"{what}: these nodes are of a version that does not know it: {', '.join(nodes)}. "
            "Nothing was written. Upgrade them, or stop them, and try again"
        )


class KeyMissing(ClusterTokenError):
    """The key that the cluster signs with is not on this node."""


class NoThread(ClusterTokenError):
    """The system gave this process no thread for *what*; whoever asks later may get one."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"the system has no thread to give for {what}: too many run at once. Look at the "
            "container's pids.max and at ulimit -u"
        )


class NotMade(ClusterTokenError):
    """No token was handed out."""


class AlreadyBound(NotMade):
    """The login is bound to a key, or another registration of it was first: that happens once."""


class RevokedMeanwhile(NotMade):
    """A revocation that arrived while the login was being made covers it."""


class Locked(RevokedMeanwhile):
    """A lock refuses the login, or the token on whose strength something was asked for.

    *message* is the lock's own, for whoever is refused; *until* is in seconds since 1970, ``None``
    until it is unlocked.
    """

    def __init__(self, message: str = "", until: float | None = None) -> None:
        self.message = message
        self.until = until
        super().__init__(message or "a lock refuses this login")


class TokenLimitReached(NotMade):
    """The subject already has ``TOKEN_LIMIT`` tokens and ``WHEN_LIMIT`` is ``refuse``."""


class NotAllowed(ClusterTokenError):
    """The token that was presented may not do this (an API token makes no tokens)."""


class ForeignOrigin(NotAllowed):
    """A page of another origin may neither log anybody in nor out, with or without a cookie."""
