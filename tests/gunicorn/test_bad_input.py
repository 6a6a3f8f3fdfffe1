"""What strangers send: nothing of it is accepted, and nothing of it is an error of ours."""

from __future__ import annotations

import base64
import random
import socket
from collections.abc import Iterator

import pytest

from tests.rounds import rounds

from .server import COOKIE, GunicornServer

pytestmark = pytest.mark.gunicorn


def raw(server: GunicornServer, request: bytes) -> tuple[int, bytes]:
    """Send *request* as it stands; the status, and all that came back. 0: hung up on us."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        received = b""
        try:
            connection.sendall(request)
            while part := connection.recv(65536):
                received += part
        except ConnectionError:
            pass  # gunicorn answers an oversized header and hangs up before it is all sent
    status = received.split(b" ", 2)[1] if received.startswith(b"HTTP/") else b"0"
    return int(status), received


def with_headers(*headers: bytes, path: bytes = b"/api/me", method: bytes = b"GET") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
    return b"\r\n".join([*lines, *headers, b"", b""])


def cookies(good: bytes) -> dict[str, list[bytes]]:
    name = COOKIE.encode()
    payload = good.split(b".")
    changed = bytearray(good)
    changed[len(changed) // 2] ^= 1
    return {
        "64 KB": [b"Cookie: " + name + b"=" + b"a" * 65536],
        "just fits": [b"Cookie: " + name + b"=" + b"a" * 8000],
        "a thousand": [b"Cookie: " + b"; ".join([name + b"=x"] * 1000)],
        "a thousand headers": [b"Cookie: " + name + b"=x"] * 1000,
        "ninety headers": [b"Cookie: " + name + b"=" + good[:-2]] * 90,
        "not UTF-8": [b"Cookie: " + name + b"=\xff\xfe\x80" + good],
        "NUL": [b"Cookie: " + name + b"=\x00" + good],
        "NUL inside": [b"Cookie: " + name + b"=" + good[:40] + b"\x00" + good[40:]],
        "bare CR": [b"Cookie: " + name + b"=" + good[:40] + b"\r" + good[40:]],
        "emoji": [b"Cookie: " + name + b"=" + "🍪".encode() * 50],
        "empty": [b"Cookie: " + name + b"="],
        "only the name": [b"Cookie: " + name],
        "separators": [b"Cookie: ;;;===;,;" + name + b";=;" + name],
        "open quote": [b"Cookie: " + name + b'="' + good],
        "octal": [b"Cookie: " + name + b'="\\061' + good[1:] + b'"'],
        "percent": [b"Cookie: " + name + b"=%31" + good[1:]],
        "a byte changed": [b"Cookie: " + name + b"=" + bytes(changed)],
        "cut": [b"Cookie: " + name + b"=" + good[:-1]],
        "longer": [b"Cookie: " + name + b"=" + good + b"="],
        "without signature": [b"Cookie: " + name + b"=" + b".".join(payload[:3]) + b"."],
        "other version": [b"Cookie: " + name + b"=999" + good[1:]],
        "other key": [b"Cookie: " + name + b"=1." + b"0" * 12 + good[14:]],
        "other case": [b"Cookie: " + name.upper() + b"=" + good],
        "as bearer": [b"Authorization: Bearer " + good],
        "bearer NUL": [b"Authorization: Bearer \x00"],
        "bearer bytes": [b"Authorization: Bearer \xff\xfe"],
        "bearer 64 KB": [b"Authorization: Bearer " + b"a" * 65536],
        "bearer empty": [b"Authorization: Bearer "],
        "bearer deep": [b"Authorization: Bearer ctk_1." + b"0" * 12 + b"." + b"W" * 4000],
        "basic": [b"Authorization: Basic " + base64.b64encode(b"alice:alice")],
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornServer]:
    """One server for all of this file: whatever one test sends, the next finds it well."""
    with GunicornServer(tmp_path_factory.mktemp("bad_input"), workers=2) as running:
        yield running


def test_no_odd_cookie_is_accepted_or_an_error(server: GunicornServer) -> None:
    """Oversized, many, undecodable and altered: a 401, or gunicorn's own 400 or 431.

    So is a form or a key that nobody in the cluster knows: waiting for it helps nobody.
    """
    good = server.login().encode()
    seen = {}
    for case, headers in cookies(good).items():
        seen[case], received = raw(server, with_headers(*headers))
        assert good not in received, case
    assert {seen.pop("other version"), seen.pop("other key")} == {401}
    assert set(seen.values()) <= {400, 401, 431}, seen
    assert sum(status == 401 for status in seen.values()) >= 12, seen
    assert server.me(good.decode()).status == 200
    assert "Traceback" not in server.said()


def test_a_good_cookie_is_found_among_others(server: GunicornServer) -> None:
    """A parent domain's cookie of the same name does not hide the login."""
    good = server.login().encode()
    header = b"Cookie: a=b; clustertoken=somebody-else; clustertoken=" + good + b"; c=\xff"
    assert raw(server, with_headers(header))[0] == 200


def test_random_bytes_are_refused(server: GunicornServer) -> None:
    """Mutated copies of a good cookie never pass, whatever the change."""
    good = server.login().encode()
    chance = random.Random(20_261_123)
    for _ in range(rounds(100, 5_000)):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at, new = chance.randrange(len(bad)), chance.randrange(33, 256)
            bad[at] = new if new not in (0x22, 0x2C, 0x3B, 0x5C) else 0x41
        if bytes(bad) == good:
            continue
        status, received = raw(server, with_headers(b"Cookie: clustertoken=" + bytes(bad)))
        # A changed number of the form or of the key may be one that another server knows.
        known = bad[:15] == good[:15]
        assert status in ((400, 401) if known else (400, 401, 503)), received
    assert "Traceback" not in server.said()


BODIES = {
    "no object": (b"application/json", b"[]"),
    "no text": (b"application/json", b'{"username": 1, "password": null}'),
    "surrogates": (b"application/json", b'{"username": "\\ud800", "password": "\\udfff"}'),
    "NUL": (b"application/json", b'{"username": "alice\\u0000", "password": "alice"}'),
    "not JSON": (b"application/json", b"\xff\xfe{"),
    "deep": (b"application/json", b"[" * 50_000),
    "too long": (b"application/json", b'{"username": "' + b"a" * 70_000 + b'"}'),
    "form bytes": (b"application/x-www-form-urlencoded", b"username=%FF%00&password=%FE"),
    "no form": (b"text/plain", b"alice"),
    "broken parts": (b"multipart/form-data; boundary=x", b"--x\r\nContent-Disp"),
}


@pytest.mark.parametrize("body", BODIES)
def test_no_odd_login_is_accepted_or_an_error(server: GunicornServer, body: str) -> None:
    """A body that is no login is the sender's mistake."""
    kind, sent = BODIES[body]
    size = str(len(sent)).encode()
    headers = [b"Content-Type: " + kind, b"Content-Length: " + size]
    request = with_headers(*headers, path=b"/login", method=b"POST") + sent
    status, received = raw(server, request)

    assert status in (400, 401, 413, 415), received
    assert b"Set-Cookie" not in received
    assert "Traceback" not in server.said()


PATHS = [
    b"/api/tokens/%00",
    b"/api/tokens/" + b"A" * 24,
    b"/api/tokens/..%2f..",
    b"/api/tokens/%ff",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_odd_id_is_an_error(server: GunicornServer, path: bytes) -> None:
    """What is no token of one's own is not found."""
    cookie = b"Cookie: clustertoken=" + server.login().encode()
    assert raw(server, with_headers(cookie, path=path, method=b"DELETE"))[0] == 404
