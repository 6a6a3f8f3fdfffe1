"""Opens a cluster store by its URL: one row a store, imported when it is asked for.

A third party's store registers its class in the entry-point group
``flask_clustertoken.stores`` under its scheme.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from ..clock import Clock
from ..errors import ConfigurationError
from .base import CALL_TIMEOUT, ClusterStore

__all__ = ["ClusterStore", "open_store", "schemes"]

_BUILT_IN = {
    "directory": ("directory", "DirectoryStore"),
    "memory": ("memory", "MemoryStore"),
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
