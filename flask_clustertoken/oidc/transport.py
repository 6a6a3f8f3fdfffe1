"""Transport: HTTP to a provider with an end to everything: time, size, redirects."""

from __future__ import annotations

import io
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import requests

#: Bytes of an answer beyond which it is no answer of a provider's.
ANSWER_LIMIT = 1024 * 1024

#: When the answer that this thread reads has to be there.
_reading = threading.local()


class Reach(Protocol):
    """By which way, and for how long, a server is asked. Durations are seconds."""

    @property
    def connect_timeout(self) -> float: ...
    @property
    def read_timeout(self) -> float: ...
    @property
    def connection_pool_size(self) -> int: ...
    @property
    def proxy_url(self) -> str: ...
    @property
    def ca_bundle(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """A :class:`Reach` of few words: *read_timeout* seconds, *ca_bundle* a PEM file."""

    connect_timeout: float = 3.0
    read_timeout: float = 5.0
    connection_pool_size: int = 10
    proxy_url: str = ""
    ca_bundle: str = ""


class _Timed(io.RawIOBase):
    """What a socket receives, until the time of the whole answer is up.

    A socket's own limit begins anew with each byte: a server that sends one a second would keep
    whoever reads the status and headers waiting for ever.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = _reading.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("an answer without end")
        usual = self._sock.gettimeout()
        self._sock.settimeout(left if usual is None else min(left, usual))
        try:
            found: int | None = self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(usual)
        return found

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _Source:
    """Stands for the socket where ``http.client`` makes a file of it, which is all it does."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> Any:
        return io.BufferedReader(_Timed(self._sock))


def _pools() -> dict[str, Any]:
    """Connection pools whose answers are read by :class:`_Timed`."""
    from http.client import HTTPResponse

    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    class Answer(HTTPResponse):
        def __init__(self, sock: Any, *args: Any, **given: Any) -> None:
            super().__init__(_Source(sock), *args, **given)  # type: ignore[arg-type]

    def timed(pool: Any) -> Any:
        connection = type("Timed", (pool.ConnectionCls,), {"response_class": Answer})
        return type("TimedPool", (pool,), {"ConnectionCls": connection})

    return {"http": timed(HTTPConnectionPool), "https": timed(HTTPSConnectionPool)}


def equip(session: requests.Session, options: Reach) -> None:
    """Give *session* the limits and what *options* say of proxy and certificates.

    From the request to the last byte of the answer it takes ``connect_timeout`` and
    ``read_timeout`` together at most. (To connect may take ``connect_timeout`` for each address
    of the server's name, and finding those is the system's.) What the options name wins over the
    environment's proxies and certificates; what they leave out is the environment's.
    """
    adapter = _adapter(options)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["Accept"] = "application/json"


def _adapter(options: Reach) -> Any:
    from requests import ConnectTimeout, ReadTimeout, RequestException, TooManyRedirects
    from requests.adapters import HTTPAdapter
    from requests.exceptions import SSLError
    from urllib3.exceptions import HTTPError

    pools = _pools()

    class Limited(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **given: Any) -> None:
            super().init_poolmanager(*args, **given)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, proxy: Any, **given: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **given)
            if not str(proxy).lower().startswith("socks"):
                manager.pool_classes_by_scheme = pools
            return manager

        def cert_verify(self, *args: Any, **given: Any) -> None:
            try:
                super().cert_verify(*args, **given)  # type: ignore[no-untyped-call]
            except RequestException:
                raise
            except OSError as error:
                # (A bundle that is gone is a plain OSError, which nobody expects of a request.)
                raise SSLError("the list of certificates cannot be found") from error

        def send(self, request: Any, **given: Any) -> Any:  # type: ignore[override]
            if options.proxy_url:
                given["proxies"] = {"http": options.proxy_url, "https": options.proxy_url}
            if options.ca_bundle:
                given["verify"] = options.ca_bundle
            _reading.end = end = time.monotonic() + options.connect_timeout + options.read_timeout
            given["stream"] = True
            given["timeout"] = (options.connect_timeout, options.read_timeout)
            answer = super().send(request, **given)
            if answer.is_redirect:
                answer.close()
                raise TooManyRedirects("a redirect, which is not followed", request=request)
            body = bytearray()
            try:
                while chunk := answer.raw.read1(65_536, decode_content=True):
                    body += chunk
                    if len(body) > ANSWER_LIMIT or time.monotonic() > end:
                        raise ReadTimeout("an answer without end", request=request)
            except HTTPError as error:
                raise ConnectTimeout(str(error), request=request) from error
            finally:
                answer.close()
            answer._content = bytes(body)
            return answer

    pool = max(1, options.connection_pool_size)
    return Limited(pool_connections=2, pool_maxsize=pool, max_retries=0)
