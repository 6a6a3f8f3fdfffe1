"""A transmitter of our own: real HTTP and keys, a queue that forgets what was acknowledged."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joserfc.jwk import KeySet
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.keycloak.issuer import Issuer

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"

_numbers = itertools.count(1)


class TransmitterDouble(Issuer):
    """At :attr:`url`, which is its issuer too. ``with TransmitterDouble() as transmitter:``"""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        if port:
            self._server.server_close()
            self._listen_at(port)
        self.lock = threading.RLock()
        self.access = "let me in"
        self.stream: dict[str, Any] | None = None
        self.status = "enabled"
        #: What is to be polled, in order, until it is acknowledged.
        self.queue: dict[str, str] = {}
        self.acknowledged: list[str] = []
        self.refused: dict[str, Any] = {}
        self.polls = 0
        self.verifications: list[str] = []
        #: Whether a verification that was asked for is sent.
        self.verifies = True
        self.most = 100
        #: Changes an answer, such as into an outage: given the request.
        self.instead: Callable[[Request], Response | None] = lambda request: None
        #: What the document says besides, or else.
        self.document: dict[str, Any] = {}
        #: What a new stream's configuration says besides.
        self.also: dict[str, Any] = {}
        #: Where it is, below /.well-known/.
        self.place = "ssf-configuration"
        self.audience: Any = ["app"]
        self.seen: list[tuple[str, str, Any]] = []
        self.now: Callable[[], float] = time.time

    def _listen_at(self, port: int) -> None:
        self._server = make_server("127.0.0.1", port, self._app, threaded=True)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    @contextmanager
    def away(self) -> Iterator[None]:
        """Restarted: meanwhile nobody listens at its address, and it knows what it knew."""
        port = self._server.server_port
        self.__exit__()
        try:
            yield
        finally:
            self._listen_at(port)
            self.__enter__()

    @contextmanager
    def out_of_order(self) -> Iterator[None]:
        """Every answer is a 503 meanwhile."""
        before, self.instead = self.instead, lambda _: Response("not now", 503)
        try:
            yield
        finally:
            self.instead = before

    @property
    def issuer(self) -> str:
        return self.url

    def metadata(self) -> dict[str, Any]:
        base = f"{self.url}/ssf"
        said = {
            "spec_version": "1_0",
            "issuer": self.issuer,
            "jwks_uri": f"{self.url}/jwks",
            "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
            "configuration_endpoint": f"{base}/stream",
            "status_endpoint": f"{base}/status",
            "verification_endpoint": f"{base}/verify",
            **self.document,
        }
        return {name: value for name, value in said.items() if value is not ...}

    # -- what it tells -----------------------------------------------------------------

    def claims(
        self, kind: str, subject: Any, payload: Any = None, **changes: Any
    ) -> dict[str, Any]:
        """The claims of a SET; a change to ``...`` leaves the claim out."""
        claims = {
            "iss": self.issuer,
            "jti": f"set-{next(_numbers)}",
            "iat": int(self.now()),
            "aud": self.audience,
            "txn": "8675309",
            "sub_id": subject,
            "events": {kind: payload if payload is not None else {}},
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def signed(self, claims: dict[str, Any], **header: Any) -> str:
        return self.sign(claims, **{"typ": "secevent+jwt", **header})

    def person(self, sub: str = "alice") -> dict[str, Any]:
        return {"format": "iss_sub", "iss": self.issuer, "sub": sub}

    def session(self, sid: str = "sid-1", sub: str = "alice") -> dict[str, Any]:
        return {
            "format": "complex",
            "user": self.person(sub),
            "session": {"format": "opaque", "id": sid},
        }

    def revoked(self, sid: str = "sid-1", **changes: Any) -> dict[str, Any]:
        """The claims of a session-revoked."""
        payload = {"event_timestamp": int(self.now())}
        return self.claims(f"{CAEP}session-revoked", self.session(sid), payload, **changes)

    def put(self, claims: dict[str, Any]) -> str:
        """Queue a SET to be polled; its id."""
        with self.lock:
            self.queue[claims["jti"]] = self.signed(claims)
        return str(claims["jti"])

    # -- what it answers ---------------------------------------------------------------

    def _respond(self, request: Request) -> Response:
        instead = self.instead(request)
        if instead is not None:
            return instead
        path = request.path
        if path == f"/.well-known/{self.place}":
            return self.json(self.metadata())
        if path == "/jwks":
            return self.json(KeySet(self.listed).as_dict(private=False))
        if path == "/token":
            return self.token(request)
        if path == "/.well-known/openid-configuration":
            return self.json({"issuer": self.issuer, "token_endpoint": f"{self.url}/token"})
        if not path.startswith("/ssf/"):
            return Response("no", 404)
        if request.headers.get("Authorization") != f"Bearer {self.access}":
            return Response("who?", 401)
        body = json.loads(request.get_data() or b"null")
        with self.lock:
            self.seen.append((request.method, path, body))
            answer = getattr(self, f"_{path.rpartition('/')[2]}_{request.method.lower()}")
            return answer(request, body)

    def _known(self, given: str | None) -> bool:
        return self.stream is not None and given == self.stream["stream_id"]

    def _stream_get(self, request: Request, _: Any) -> Response:
        return self.json([self.stream] if self.stream else [])

    def _stream_post(self, _: Request, body: Any) -> Response:
        if self.stream is not None:
            return Response("one is enough", 409)
        self.stream = {
            "stream_id": f"stream-{next(_numbers)}",
            "iss": self.issuer,
            "aud": self.audience,
            "events_supported": list(body["events_requested"]),
            "events_delivered": list(body["events_requested"]),
            "min_verification_interval": 10,
            **self.also,
        }
        return self._changed(body, 201)

    def _stream_patch(self, _: Request, body: Any) -> Response:
        if not self._known(body["stream_id"]):
            return Response("", 404)
        return self._changed(body, 200)

    def _changed(self, body: Any, status: int) -> Response:
        assert self.stream is not None
        delivery = {name: value for name, value in body["delivery"].items() if name[:4] != "auth"}
        if delivery["method"] == "urn:ietf:rfc:8936":
            delivery["endpoint_url"] = f"{self.url}/ssf/poll"
        self.pushed_with = body["delivery"].get("authorization_header")
        self.stream |= {"delivery": delivery, "events_requested": body["events_requested"]}
        return self.json(self.stream, status)

    def _stream_delete(self, request: Request, _: Any) -> Response:
        if not self._known(request.args.get("stream_id")):
            return Response("", 404)
        self.stream = None
        return Response("", 204)

    def _status_get(self, request: Request, _: Any) -> Response:
        if not self._known(request.args.get("stream_id")):
            return Response("", 404)
        return self.json({"status": self.status})

    def _status_post(self, _: Request, body: Any) -> Response:
        self.status = body["status"]
        return self.json(body)

    def _verify_post(self, _: Request, body: Any) -> Response:
        if not self._known(body["stream_id"]):
            return Response("", 404)
        self.verifications.append(body["state"])
        if self.verifies:
            self.put(self.verification(body["state"]))
        return Response("", 204)

    def verification(self, state: str | None) -> dict[str, Any]:
        """The claims of a verification event."""
        assert self.stream is not None
        subject = {"format": "opaque", "id": self.stream["stream_id"]}
        payload = {} if state is None else {"state": state}
        return self.claims(f"{SSF}verification", subject, payload)

    def _poll_post(self, _: Request, body: Any) -> Response:
        self.polls += 1
        for jti in body.get("ack", ()):
            if self.queue.pop(jti, None) is not None:
                self.acknowledged.append(jti)
        for jti, why in body.get("setErrs", {}).items():
            if self.queue.pop(jti, None) is not None:
                self.refused[jti] = why
        most = min(self.most, body.get("maxEvents", self.most))
        given = dict(itertools.islice(self.queue.items(), most))
        return self.json({"sets": given, "moreAvailable": len(self.queue) > len(given)})
