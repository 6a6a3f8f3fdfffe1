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
from tests.servers.zookeeper import Ensemble, spare_ports

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


@pytest.fixture(scope="module")
def secured(
    running_ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    """One server that speaks TLS (once it is known that servers can be run here)."""
    folder = tmp_path_factory.mktemp("tls")
    store, certificate = _made_certificate(folder, "server", "ip:127.0.0.1")
    (port,) = spare_ports(1)
    settings = [
        "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
        f"secureClientPort={port}",
        "secureClientPortAddress=127.0.0.1",
        f"ssl.keyStore.location={store}",
        f"ssl.keyStore.password={_PASSWORD}",
        "ssl.keyStore.type=PKCS12",
        "ssl.clientAuth=none",
    ]
    with Ensemble(1, settings=settings):
        yield Secured(port, certificate)


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
