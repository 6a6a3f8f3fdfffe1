"""Over TLS, as libpq is told in the URL: with an authority of ours, and names that are checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.base import NewEntry
from tests.servers.certificates import Authority
from tests.servers.postgresql import APP, Server
from tests.servers.unprivileged import give

pytestmark = pytest.mark.postgresql


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def encrypted(own_server: Server, authority: Authority) -> Server:
    """A server with a certificate for ``localhost``, which lets nobody in without TLS."""
    for name, file in zip(
        ("cert", "key"), authority.signed("server", "DNS:localhost"), strict=True
    ):
        there = own_server.folder / f"server.{name}"
        shutil.copy(file, there)
        there.chmod(0o600)
        give(there)
    own_server.hba = "host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n"
    own_server.configure(
        ssl="on",
        ssl_cert_file=str(own_server.folder / "server.cert"),
        ssl_key_file=str(own_server.folder / "server.key"),
    )
    return own_server


def url_of(server: Server, host: str, mode: str, certificate: Path) -> str:
    said = f"sslmode={mode}&sslrootcert={certificate}"
    return f"postgresql://{APP}@{host}:{server.port}/{APP}?{said}"


def test_a_server_whose_name_is_right_is_used(
    encrypted: Server, authority: Authority, realm: str
) -> None:
    """``verify-full`` with the authority's certificate; what is large goes through as well."""
    url = url_of(encrypted, "localhost", "verify-full", authority.certificate)
    with open_store(url, realm=realm, timeout=15) as store:
        (seq,) = store.append([NewEntry("a", b"x" * 100_000, None)])
        assert store.read(0).entries[0].body == b"x" * 100_000
        assert store.head() == seq
        in_use = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
        assert encrypted.sql(f"{in_use} WHERE usename = %s", APP) == [(True,)]


def test_a_server_of_another_name_is_refused(
    encrypted: Server, authority: Authority, realm: str
) -> None:
    """By ``verify-full``, which says so; ``verify-ca`` asks only who signed."""
    url = url_of(encrypted, "127.0.0.1", "verify-full", authority.certificate)
    with (
        open_store(url, realm=realm, timeout=15) as store,
        pytest.raises(StoreUnavailable, match="does not match host name"),
    ):
        store.root()
    url = url_of(encrypted, "127.0.0.1", "verify-ca", authority.certificate)
    with open_store(url, realm=realm, timeout=15) as store:
        assert store.root().state == "open"


def test_a_server_that_nobody_vouches_for_is_refused(
    encrypted: Server, tmp_path: Path, realm: str
) -> None:
    """Its certificate was signed by another authority than the one that is named."""
    stranger = Authority(tmp_path / "other", "stranger")
    url = url_of(encrypted, "localhost", "verify-full", stranger.certificate)
    with (
        open_store(url, realm=realm, timeout=15) as store,
        pytest.raises(StoreUnavailable, match="certificate verify failed"),
    ):
        store.root()


def test_without_tls_nobody_gets_in(encrypted: Server, realm: str) -> None:
    """Where the server asks for it; the server's own word is in the error."""
    url = f"{encrypted.url}?sslmode=disable"
    with (
        open_store(url, realm=realm, timeout=15) as store,
        pytest.raises(StoreUnavailable, match=r"no encryption|pg_hba\.conf"),
    ):
        store.root()
