"""TLS to ZooKeeper: the chain and the server's name are checked, always."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import Record
from flask_clustertoken.stores.zookeeper import ZooKeeperStore
from tests.servers.ports import spare_ports
from tests.servers.zookeeper import Ensemble

pytestmark = pytest.mark.zookeeper

_PASSWORD = "only-for-tests"


class Secured(NamedTuple):
    """A server with a certificate for 127.0.0.1 and none for localhost."""

    port: int
    certificate: Path


def _made_certificate(folder: Path, name: str, san: str) -> tuple[Path, Path]:
    """A key store with a self-signed certificate for *san*, and the certificate alone."""
    store, certificate = folder / f"{name}.p12", folder / f"{name}.pem"
    common = ["-alias", name, "-keystore", str(store), "-storepass", _PASSWORD]
    make = ["-genkeypair", "-keyalg", "EC", "-dname", f"CN={name}", "-ext", f"SAN={san}"]
    for command in ([*make, *common], ["-exportcert", "-rfc", "-file", str(certificate), *common]):
        subprocess.run(["keytool", *command], check=True, capture_output=True, timeout=60)
    return store, certificate


def _tls_settings(port: int, store: Path) -> list[str]:
    return [
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"secureClientPort={port}",
        "secureClientPortAddress=127.0.0.1",
        f"ssl.keyStore.location={store}",
        f"ssl.keyStore.password={_PASSWORD}",
        "ssl.keyStore.type=PKCS12",
    ]


@pytest.fixture(scope="module")
def secured(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """One server that speaks TLS (once it is known that servers can be run here)."""
    folder = tmp_path_factory.mktemp("tls")
    store, certificate = _made_certificate(folder, "server", "ip:127.0.0.1")
    (port,) = spare_ports(1)
    settings = [*_tls_settings(port, store), "ssl.clientAuth=none"]
    with Ensemble(1, settings=settings):
        yield Secured(port, certificate)


@pytest.fixture(scope="module")
def choosy(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Secured, Path]]:
    """A server that speaks only with whom it knows by a certificate; the store that holds that."""
    folder = tmp_path_factory.mktemp("mutual")
    store, certificate = _made_certificate(folder, "server", "ip:127.0.0.1")
    mine, my_certificate = _made_certificate(folder, "app", "ip:127.0.0.1")
    trusted = folder / "trusted.p12"
    trust = ["-importcert", "-noprompt", "-alias", "app", "-file", str(my_certificate)]
    kept = ["-keystore", str(trusted), "-storepass", _PASSWORD]
    subprocess.run(["keytool", *trust, *kept], check=True, capture_output=True, timeout=60)
    (port,) = spare_ports(1)
    settings = [
        *_tls_settings(port, store),
        f"ssl.trustStore.location={trusted}",
        f"ssl.trustStore.password={_PASSWORD}",
        "ssl.trustStore.type=PKCS12",
        "ssl.clientAuth=need",
        "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    ]
    with Ensemble(1, settings=settings):
        yield Secured(port, certificate), mine


def _in_pem(store: Path, folder: Path) -> tuple[str, str]:
    """Files with the certificate and the private key of a key store."""
    key, certificate, _ = pkcs12.load_key_and_certificates(store.read_bytes(), _PASSWORD.encode())
    assert key is not None
    assert certificate is not None
    key_file, certificate_file = folder / "key.pem", folder / "cert.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_file.write_bytes(key.private_bytes(*form))
    certificate_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    return str(certificate_file), str(key_file)


def test_a_client_is_known_by_its_certificate(choosy: tuple[Secured, Path], tmp_path: Path) -> None:
    """Who shows one is let in, and what it makes is its own; who shows none is not."""
    secured, mine = choosy
    cert, key = _in_pem(mine, tmp_path)
    url = f"zookeeper://127.0.0.1:{secured.port}/app"
    known = {"ca": str(secured.certificate), "cert": cert, "key": key}
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
    _, stranger = _made_certificate(tmp_path, "stranger", "ip:127.0.0.1")
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
