"""TLS to ZooKeeper: the chain and the server's name are checked, always."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Record
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.ports import spare_ports
from tests.servers.zookeeper import Ensemble

pytestmark = pytest.mark.zookeeper


class Secured(NamedTuple):
    """A server with a certificate for 127.0.0.1 and none for localhost."""

    port: int
    certificate: Path


def _made_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its private key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    made = [
        *("openssl", "req", "-x509", "-days", "2", "-nodes", "-subj", f"/CN={name}"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    return certificate, key


def _tls_settings(folder: Path, port: int, certificate: Path, key: Path) -> list[str]:
    both = folder / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    return [
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"secureClientPort={port}",
        "secureClientPortAddress=127.0.0.1",
        f"ssl.keyStore.location={both}",
        "ssl.keyStore.type=PEM",
    ]


@pytest.fixture(scope="module")
def secured(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """One server that speaks TLS (once it is known that servers can be run here)."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = _made_certificate(folder, "server")
    (port,) = spare_ports(1)
    settings = [*_tls_settings(folder, port, certificate, key), "ssl.clientAuth=none"]
    with Ensemble(1, settings=settings):
        yield Secured(port, certificate)


@pytest.fixture(scope="module")
def choosy(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Secured, tuple[Path, Path]]]:
    """A server that speaks only with whom it knows by a certificate; that one, and its key."""
    folder = tmp_path_factory.mktemp("mutual")
    certificate, key = _made_certificate(folder, "server")
    mine = _made_certificate(folder, "app")
    (port,) = spare_ports(1)
    settings = [
        *_tls_settings(folder, port, certificate, key),
        f"ssl.trustStore.location={mine[0]}",
        "ssl.trustStore.type=PEM",
        "ssl.clientAuth=need",
        "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    ]
    with Ensemble(1, settings=settings):
        yield Secured(port, certificate), mine


def test_a_client_is_known_by_its_certificate(choosy: tuple[Secured, tuple[Path, Path]]) -> None:
    """Who shows one is let in, and what it makes is its own; who shows none is not."""
    secured, (cert, key) = choosy
    url = f"zookeeper://127.0.0.1:{secured.port}/app"
    known = {"ca": str(secured.certificate), "cert": str(cert), "key": str(key)}
    with open_store(url, options=known, timeout=10) as store:
        assert isinstance(store, ZooKeeperStore)
        store.put("a/b", b"v", None)
        assert store.get("a/b") == Record(b"v", None)
        rules, _ = store._open().line._zk.get_acls(store._open().site.root)
        assert [(one.id.scheme, one.id.id) for one in rules] == [("x509", "CN=app")]
    with (
        open_store(url, options={"ca": str(secured.certificate)}, timeout=2) as store,
        pytest.raises(StoreUnavailable),
    ):
        store.root()


def test_the_store_speaks_tls(secured: Secured) -> None:
    """With the authority's certificate, everything works as in the clear."""
    url = f"zookeeper://127.0.0.1:{secured.port}/app"
    with open_store(url, options={"ca": str(secured.certificate)}, timeout=10) as store:
        store.put("a/b", b"v" * 100_000, None)
        assert store.get("a/b") == Record(b"v" * 100_000, None)


def test_a_certificate_for_another_name_is_refused(secured: Secured) -> None:
    """The chain is good, the name is not the one that the URL says: no connection."""
    url = f"zookeeper://localhost:{secured.port}/app"
    with (
        open_store(url, options={"ca": str(secured.certificate)}, timeout=2) as store,
        pytest.raises(StoreUnavailable),
    ):
        store.root()


def test_an_unknown_authority_is_refused(secured: Secured, tmp_path: Path) -> None:
    """A certificate that none of the trusted authorities signed: no connection."""
    stranger, _ = _made_certificate(tmp_path, "stranger")
    url = f"zookeeper://127.0.0.1:{secured.port}/app"
    for options in ({"ca": str(stranger)}, {"tls": True}):
        with (
            open_store(url, options=options, timeout=2) as store,
            pytest.raises(StoreUnavailable),
        ):
            store.root()


def test_a_missing_certificate_is_a_matter_of_settings(tmp_path: Path) -> None:
    """It is said at the first call, and not taken for a server that is away."""
    options = {"ca": str(tmp_path / "none.pem")}
    with (
        open_store("zookeeper://127.0.0.1:1/app", options=options, timeout=2) as store,
        pytest.raises(ConfigurationError, match="STORE_OPTIONS"),
    ):
        store.root()
