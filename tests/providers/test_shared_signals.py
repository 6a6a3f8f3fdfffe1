"""Shared signals in an app: arguments, access tokens, and what no log and no store may hold."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.providers import ClientCredentials, SharedSignals, stream_parts
from tests.providers.app import bare_app
from tests.providers.listener import Listener
from tests.providers.transmitter import CAEP, TransmitterDouble

Listen = Callable[..., Listener]

ISSUER = "https://login.example"


def made(**changes: Any) -> SharedSignals:
    given = {"transmitter": ISSUER, "credentials": "token", **changes}
    return SharedSignals(**{name: value for name, value in given.items() if value is not ...})


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("transmitter", {"transmitter": "login.example"}),
        ("transmitter", {"transmitter": "http://login.example"}),
        ("delivery", {"delivery": "pull"}),
        ("credentials", {"credentials": ..., "audience": "app"}),
        ("audience", {"credentials": ..., "delivery": "push"}),
        ("push_url", {"delivery": "push"}),
        ("push_url", {"delivery": "push", "push_url": "/signals/events"}),
        ("poll_url", {"poll_url": "/poll"}),
        ("push_authorization", {"push_authorization": "Bearer x\nX: y"}),
        ("push_authorization", {"push_authorization": " Bearer x"}),
        ("about", {"about": ["login.example"]}),
        ("name", {"name": "../x"}),
        ("remember", {"remember": 0}),
        ("poll_every", {"poll_every": 0}),
        ("verify_every", {"verify_every": True}),
        ("silent_after", {"silent_after": -1}),
        ("timeout", {"timeout": 0}),
        ("ends", {"ends": f"{CAEP}session-revoked"}),
        ("ends", {"ends": ["session-revoked"]}),
        ("ends", {"ends": {f"{CAEP}session-revoked", "account-disabled"}}),
        ("ends", {"ends": [""]}),
        ("ends", {"ends": [None]}),
        ("ends", {"ends": None}),
        ("events", {"events": f"{CAEP}session-revoked"}),
        ("events", {"events": ["credential-change"]}),
        ("events", {"events": 7}),
        ("about", {"about": ISSUER}),
        ("about", {"about": None}),
        ("about", {"about": [7]}),
        ("audience", {"audience": 7}),
        ("audience", {"audience": [7]}),
        ("audience", {"audience": ["app", ""]}),
        ("audience", {"audience": " "}),
        ("find_subject", {"find_subject": "alice"}),
        ("name", {"name": None}),
        ("name", {"name": 7}),
        ("remember", {"remember": "30"}),
        ("remember", {"remember": None}),
        ("poll_every", {"poll_every": "5"}),
        ("poll_every", {"poll_every": float("nan")}),
        ("timeout", {"timeout": "5"}),
        ("ca_bundle", {"ca_bundle": "/nowhere/at/all.pem"}),
        ("ca_bundle", {"ca_bundle": __file__}),
    ],
)
def test_arguments_that_cannot_be_meant(argument: str, changes: dict[str, Any]) -> None:
    """The error names the argument and says what to write."""
    with pytest.raises(ConfigurationError, match=argument) as caught:
        made(**changes)
    assert caught.value.remedy


@pytest.mark.parametrize("argument", ["ends", "events"])
def test_a_short_name_of_an_event(argument: str) -> None:
    """Nothing that is sent would ever match it: the error spells what was meant. A type of
    somebody's own is fine, with or without ``https``."""
    with pytest.raises(ConfigurationError) as caught:
        made(**{argument: ["session-revoked"]})
    assert f"{CAEP}session-revoked" in caught.value.remedy
    made(**{argument: ["https://example.org/events/over", "urn:example:over"]})
    made(**{argument: ()})


def test_two_of_one_name(tmp_path: Path) -> None:
    """The second needs a name of its own."""
    app = bare_app(f"directory://{tmp_path}/shared")
    made().init_app(app)
    with pytest.raises(ConfigurationError, match="name"):
        made().init_app(app)
    made(name="second").init_app(app)
    assert stream_parts(app, "second")
    with pytest.raises(RuntimeError, match="third"):
        stream_parts(app, "third")


def test_a_poll_has_no_address_here(listen: Listen, transmitter: TransmitterDouble) -> None:
    """Nobody can push to a stream that is polled."""
    assert listen().push(transmitter.signed(transmitter.revoked())).status_code == 404


class TokenEndpoint:
    """Gives out access tokens, one after the other, to whoever knows the secret."""

    def __init__(self, transmitter: TransmitterDouble, **more: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self._transmitter, self._more = transmitter, more
        transmitter.token = self.answer

    def answer(self, request: Request) -> Response:
        auth = request.authorization
        if auth is None or (auth.username, auth.password) != ("shop", "a secret"):
            return self._transmitter.json({"error": "invalid_client"}, 401)
        self.asked.append(dict(request.form))
        text = f"access-{len(self.asked)}"
        self._transmitter.access = text
        return self._transmitter.json({"access_token": text, "token_type": "Bearer", **self._more})


def test_client_credentials(
    listen: Listen, transmitter: TransmitterDouble, clock: ManualClock
) -> None:
    """The token is fetched by discovery, used while it is good, and fetched anew before its end."""
    endpoint = TokenEndpoint(transmitter, expires_in=300)
    node = listen(credentials=ClientCredentials("shop", "a secret"))
    node.settle()
    assert endpoint.asked == [{"grant_type": "client_credentials", "scope": "ssf.read ssf.manage"}]
    clock.advance(200)
    node.settle()
    assert len(endpoint.asked) == 1
    clock.advance(71)
    node.settle()
    assert len(endpoint.asked) == 2
    assert node.stream.trouble == ""


def test_a_token_that_was_withdrawn(listen: Listen, transmitter: TransmitterDouble) -> None:
    """401: another one is fetched, and the same is asked again."""
    endpoint = TokenEndpoint(transmitter)
    node = listen(credentials=ClientCredentials("shop", "a secret"))
    node.settle()
    transmitter.access = "another"
    node.settle()
    assert len(endpoint.asked) == 2
    assert node.stream.trouble == ""


@pytest.mark.parametrize(
    "answer",
    [
        ({"error": "invalid_client"}, 401),
        ({"access_token": 7}, 200),
        ({}, 200),
        ([], 200),
    ],
    ids=str,
)
def test_no_token_is_to_be_had(
    listen: Listen, transmitter: TransmitterDouble, answer: tuple[Any, int]
) -> None:
    """The trouble says so; nothing is asked without one."""
    transmitter.token = lambda request: transmitter.json(*answer)
    node = listen(credentials=ClientCredentials("shop", "wrong"))
    node.step()
    assert "access token was refused" in node.stream.trouble
    assert transmitter.seen == []


def test_no_secret_leaves(
    listen: Listen,
    transmitter: TransmitterDouble,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the access token, the client's secret nor the header of pushes is in a log, in a
    ``repr`` or in the store; nor are people's and sessions' names in the store."""
    TokenEndpoint(transmitter)
    credentials = ClientCredentials("shop", "a secret")
    node = listen(
        delivery="push",
        push_url="https://app.example/signals/events",
        push_authorization="Bearer of-ours",
        credentials=credentials,
    )
    with caplog.at_level(logging.DEBUG, "flask_clustertoken"):
        node.step()
        text = transmitter.signed(
            transmitter.revoked("a-session", sub_id=transmitter.session("a-session", "a-person"))
        )
        assert node.push(text).status_code == 400
        assert node.push(text, Authorization="Bearer of-ours").status_code == 202
        transmitter.instead = lambda request: Response("access-1 of-ours", 500)
        node.stream._check_at = 0.0
        node.step()
    ours = [one for one in caplog.records if one.name.startswith("flask_clustertoken")]
    said = "\n".join(one.getMessage() for one in ours) + repr(credentials)
    said += repr(node.signals._wanted)
    stored = b"".join(
        (Path(folder) / one).read_bytes() for folder, _, files in os.walk(tmp_path) for one in files
    )
    for secret in ("access-1", "a secret", "of-ours", text):
        assert secret not in said
        assert secret.encode() not in stored
    for name in ("a-session", "a-person"):
        assert name.encode() not in stored
