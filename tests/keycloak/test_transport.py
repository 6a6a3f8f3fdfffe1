"""HTTP to Keycloak: an end to everything, and whose proxy and certificates count."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from werkzeug.wrappers import Request, Response

from flask_clustertoken.clock import SystemClock
from flask_clustertoken.keycloak import KeycloakUnavailable
from flask_clustertoken.keycloak.options import KeycloakOptions
from flask_clustertoken.keycloak.protocol.provider import Provider
from tests.keycloak.issuer import Issuer
from tests.pace import moments
from tests.waiting import holds_for

#: Each waits for a limit to run out.
pytestmark = pytest.mark.processes

Serve = Callable[[socket.socket], None]
DISCOVERY = "/realms/demo/.well-known/openid-configuration"


@contextmanager
def serving(answer: Serve) -> Iterator[str]:
    """A server of a few lines at a loopback address, each connection in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection)

    def accept() -> None:
        while not over.is_set():
            with suppress(OSError):
                connection, _ = listening.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)


def provider(url: str, **options: Any) -> Provider:
    given = {"connect_timeout": 0.3, "read_timeout": 0.5, **options}
    return Provider(
        KeycloakOptions("demo", "app", url, **given), front=url, back=url, clock=SystemClock()
    )


def failing(one: Provider) -> float:
    """How long it takes until it is said that Keycloak does not answer."""
    began = time.monotonic()
    with pytest.raises(KeycloakUnavailable):
        one.endpoints()
    return time.monotonic() - began


def trickle(start: bytes) -> Serve:
    """*start*, and then a byte now and then, for much longer than anybody waits."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(start)
        # One each tenth of a second, until whoever asked hangs up.
        for _ in range(40):
            if select.select([connection], [], [], 0.1)[0]:
                return
            connection.sendall(b"a")

    return answer


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.",
        b"HTTP/1.1 200 OK\r\nX-A: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
    ],
    ids=["status", "headers", "body"],
)
def test_an_answer_that_trickles(start: bytes) -> None:
    """The limit is for the whole answer and not for each byte of it."""
    with serving(trickle(start)) as url:
        assert failing(provider(url)) < 1.5 + moments(20)


@pytest.mark.parametrize("limits", [(3.0, 0.3), (0.2, 1.2)])
def test_a_silent_server(limits: tuple[float, float]) -> None:
    """The options' own limits hold."""

    def answer(connection: socket.socket) -> None:
        while connection.recv(65_536):
            pass  # until whoever asked hangs up

    with serving(answer) as url:
        took = failing(provider(url, connect_timeout=limits[0], read_timeout=limits[1]))
    assert limits[1] - 0.1 < took < limits[1] + 0.8 + moments(20)


def test_a_connection_is_used_again(issuer: Issuer) -> None:
    """The limit of one answer is not left behind for the next."""
    one = provider(issuer.url)
    one.endpoints()
    # The limit passes, and nothing is asked meanwhile.
    asked = list(issuer.asked)
    holds_for(lambda: issuer.asked == asked, 1)
    assert one._fetch_keys()["keys"]


def test_an_answer_that_is_too_long(issuer: Issuer) -> None:
    """No more than a megabyte is read, however it is packed."""
    pieces = []

    def answer(request: Request) -> Response:
        def body() -> Iterator[bytes]:
            yield b'{"a": "'
            for _ in range(400):
                pieces.append(1)
                yield b"x" * 65_536
            yield b'"}'

        return Response(body(), mimetype="application/json")

    issuer.mad = answer
    with pytest.raises(KeycloakUnavailable, match="ReadTimeout"):
        provider(issuer.url, read_timeout=5.0).endpoints()
    # What lay in the buffers between us comes on top.
    assert len(pieces) < 300


def test_redirects_are_not_followed(issuer: Issuer) -> None:
    """Keycloak sends none, and a request carries the client's secret."""
    usual = issuer._respond

    def answer(request: Request) -> Response:
        if request.path == DISCOVERY:
            return Response("", 302, headers={"Location": f"{issuer.url}/elsewhere"})
        issuer.mad = None
        try:
            return usual(request)
        finally:
            issuer.mad = answer

    issuer.mad = answer
    with pytest.raises(KeycloakUnavailable, match="TooManyRedirects"):
        provider(issuer.url).endpoints()
    assert issuer.asked == [DISCOVERY]


def test_another_realms_issuer(issuer: Issuer) -> None:
    """Whose discovery names another realm is not the realm that was asked for."""
    usual = issuer._respond

    def answer(request: Request) -> Response:
        issuer.mad = None
        said = usual(request)
        issuer.mad = answer
        said.set_data(said.get_data().replace(b'/realms/demo"', b'/realms/other"'))
        return said

    issuer.mad = answer
    with pytest.raises(KeycloakUnavailable, match="another realm"):
        provider(issuer.url).endpoints()


@pytest.mark.parametrize("realm", ["my realm", "ö/ä", "a%20b"])
def test_a_realms_name_is_any_text(issuer: Issuer, realm: str) -> None:
    """It is quoted in the addresses, and so does Keycloak quote it in its issuer."""
    quoted = quote(realm, safe="")
    said = {
        "issuer": f"{issuer.url}/realms/{quoted}",
        **{
            name: f"{issuer.url}/realms/{quoted}/{name}"
            for name in (
                "authorization_endpoint", "token_endpoint", "end_session_endpoint", "jwks_uri"
            )
        },
    }  # fmt: skip

    def answer(request: Request) -> Response:
        paths.append(request.environ["REQUEST_URI"])
        return issuer.json(said)

    paths: list[str] = []
    issuer.mad = answer
    one = Provider(
        KeycloakOptions(realm, "app", issuer.url),
        front=issuer.url,
        back=issuer.url,
        clock=SystemClock(),
    )

    assert one.issuer == said["issuer"]
    assert paths == [f"/realms/{quoted}/.well-known/openid-configuration"]


@pytest.mark.parametrize("without", ["", "kc.invalid"])
def test_the_options_proxy_wins(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    """Over the environment's, and over what it says needs none."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", without)
    one = provider("http://kc.invalid", proxy_url=issuer.url)

    one.endpoints()

    assert issuer.asked == [DISCOVERY]


def test_the_environments_proxy_counts_otherwise(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the options name none, whatever else they name."""
    monkeypatch.setenv("http_proxy", issuer.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    provider("http://kc.invalid", ca_bundle="/nowhere.pem").endpoints()

    assert issuer.asked == [DISCOVERY]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    from datetime import datetime, timedelta, timezone
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, secret


@pytest.mark.parametrize("ours", [True, False])
def test_the_options_certificates_win(
    ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over those of the environment; without them a foreign certificate is not believed. And the
    time of the whole answer is limited over TLS too."""
    pem, secret = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    reached = threading.Event()

    def answer(connection: socket.socket) -> None:
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            reached.set()
            trickle(b"HTTP/1.1 200 OK\r\nX-A: ")(secure)

    if ours:
        other = tmp_path / "other"
        other.mkdir()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate(other)[0]))
    with serving(answer) as url:
        url = url.replace("http:", "https:")
        assert failing(provider(url, ca_bundle=str(pem) if ours else "")) < 1.5
    assert reached.is_set() is ours


@pytest.mark.parametrize("ours", [True, False])
def test_certificates_that_are_gone(
    ours: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's fault but the host's; it is said as any trouble with Keycloak, and is no crash."""
    gone = str(tmp_path / "gone.pem")
    if not ours:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", gone)
    assert failing(provider("https://127.0.0.1:9", ca_bundle=gone if ours else "")) < 1.5


def test_tls_by_way_of_the_proxy(tmp_path: Path) -> None:
    """``CONNECT``, and then TLS with Keycloak itself."""
    pem, secret = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)

    def answer(connection: socket.socket) -> None:
        assert connection.recv(65_536).startswith(b"CONNECT 127.0.0.1:1 ")
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65_536)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with serving(answer) as proxy:
        one = provider("https://127.0.0.1:1", proxy_url=proxy, ca_bundle=str(pem))
        with pytest.raises(KeycloakUnavailable, match="no Keycloak realm"):
            one.endpoints()
