"""Stores: what all nodes share. Each is opened by its URL and imported when it is asked for.

Imports ground and the settings' limits; it knows bytes under text keys and nothing of tokens.
Others use :func:`open_store`, :class:`ClusterStore`, :class:`Lease` and the contract's words from
:mod:`~flask_clustertoken.stores.base`; none knows a scheme by name, but asks the store, or its
class (:func:`unshared`, :func:`home_of`). A third party's store registers its class in the
entry-point group ``flask_clustertoken.stores`` under its scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from ..clock import Clock
from ..errors import ConfigurationError
from ..settings import plain_url
from .base import CALL_TIMEOUT, ClusterStore
from .lease import Lease as Lease
from .numbers import Seq as Seq
from .numbers import seq_at as seq_at
from .numbers import time_of as time_of
from .observing import Outcome as Outcome
from .observing import observe as observe

__all__ = ["ClusterStore", "home_of", "open_store", "schemes", "unshared"]

_BUILT_IN = {
    "directory": ("directory", "DirectoryStore"),
    "memory": ("memory", "MemoryStore"),
    "postgresql": ("postgresql", "PostgreSQLStore"),
    "redis": ("redis", "RedisStore"),
    "redis+sentinel": ("redis", "SentinelRedisStore"),
    "rediss": ("redis", "TlsRedisStore"),
    "zookeeper": ("zookeeper", "ZooKeeperStore"),
}


class StoreFactory(Protocol):
    """What a store class offers besides the contract."""

    def from_url(
        self,
        url: str,
        *,
        realm: str,
        instance_path: str,
        options: Mapping[str, Any],
        clock: Clock | None,
        timeout: float,
    ) -> ClusterStore:
        """Read *url* and *options*, open nothing; :class:`ConfigurationError` if they are wrong."""
        ...


def _installed() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group="flask_clustertoken.stores")}


def schemes() -> list[str]:
    """The schemes that a ``STORE`` setting may begin with here."""
    return sorted({*_BUILT_IN, *_installed()})


def _factory(scheme: str, setting: str) -> StoreFactory:
    if scheme in _BUILT_IN:
        module, name = _BUILT_IN[scheme]
        return cast(StoreFactory, getattr(import_module(f".{module}", __package__), name))
    point = _installed().get(scheme)
    if point is None:
        raise ConfigurationError(
            setting,
            f"there is no cluster store called {scheme!r}.",
            f"Choose one of: {', '.join(name + ':' for name in schemes())}.",
        )
    return cast(StoreFactory, point.load())


def _class_of(url: str) -> type[ClusterStore] | None:
    """The class of the store that *url* names; ``None`` where no URL or no store does.

    A third party may have registered something else that has ``from_url``: it says nothing.
    """
    try:
        found: object = _factory(plain_url(url).partition(":")[0], "STORE")
    except ConfigurationError:
        return None
    return found if isinstance(found, type) and issubclass(found, ClusterStore) else None


def unshared(url: str) -> str:
    """The scheme of *url* if its store belongs to one process alone, else ``""``."""
    found = _class_of(url)
    return found.scheme if found is not None and not found.shared else ""


def home_of(url: str) -> str:
    """The folder of this host that *url* names for what is the app's own; ``""``: none.

    See :meth:`.ClusterStore.home_of`.
    """
    found = _class_of(url)
    return found.home_of(plain_url(url)) if found is not None else ""


def open_store(
    url: str,
    *,
    realm: str = "default",
    instance_path: str = "",
    options: Mapping[str, Any] | None = None,
    clock: Clock | None = None,
    timeout: float = CALL_TIMEOUT,
    setting: str = "STORE",
) -> ClusterStore:
    """The store that *url* names, for *realm*; nothing is opened before it is used.

    *instance_path* is where ``directory:`` without a path puts its folder ``shared``.
    Raises :class:`ConfigurationError`, naming *setting*, where the URL or an option is wrong,
    and :class:`MissingDriver` where an optional package is needed.
    """
    url = plain_url(url)
    scheme, colon, _ = url.partition(":")
    if not colon:
        raise ConfigurationError(
            setting, f"{url!r} is not a store's URL.", "Write for example: directory:/var/lib/app"
        )
    return _factory(scheme, setting).from_url(
        url,
        realm=realm,
        instance_path=instance_path,
        options=options or {},
        clock=clock,
        timeout=timeout,
    )
