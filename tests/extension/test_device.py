"""Device: a login's record says on what, when and from where it was made, and its last renewal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, jsonify, request

from flask_clustertoken import ClusterToken, Token, current_token, require_token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.extension import state_of
from flask_clustertoken.extension.signals import login_on_new_device
from flask_clustertoken.wsgi import device_of
from tests.extension.parts import DAY, MakeApp, texts_set, watch

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
)
IPAD = IPHONE.replace("iPhone; CPU iPhone OS", "iPad; CPU OS")
CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"
PIXEL = CHROME.format("Linux; Android 14; Pixel 8").replace("Safari", "Mobile Safari")


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (FIREFOX, "Firefox on Windows"),
        (IPHONE, "Safari on iPhone"),
        (IPAD, "Safari on iPad"),
        (CHROME.format("X11; Linux x86_64"), "Chrome on Linux"),
        (CHROME.format("Macintosh; Intel Mac OS X 10_15_7"), "Chrome on macOS"),
        (CHROME.format("Windows NT 10.0; Win64; x64") + " Edg/120.0.0.0", "Edge on Windows"),
        (CHROME.format("X11; CrOS x86_64 14541.0.0"), "Chrome on ChromeOS"),
        (PIXEL, "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("", ""),
        ("nonsense", ""),
        ("Mozilla/5.0 " * 1000, ""),
        ("<script>\x00\n", ""),
    ],
)
def test_a_user_agent_becomes_words(agent: str, device: str) -> None:
    """What people call it; nothing where it says nothing, however long it is."""
    assert device_of({"HTTP_USER_AGENT": agent}) == device


def test_without_the_extra_no_device_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A login is made all the same."""
    monkeypatch.setitem(sys.modules, "ua_parser", None)
    assert device_of({"HTTP_USER_AGENT": FIREFOX + " once more"}) == ""


def named(make_app: MakeApp, **settings: Any) -> tuple[Flask, ClusterToken]:
    app, tokens = make_app(**settings)

    @app.post("/enter")
    def enter() -> Any:
        token = tokens.login("alice", device=request.args.get("device"))
        return jsonify(id=token.id, device=token.device, network=token.network)

    @app.post("/enter-wrongly")
    def enter_wrongly() -> Any:
        tokens.login("alice", device=7)  # type: ignore[arg-type]

    @app.get("/here")
    def here() -> Any:
        return jsonify(device=current_token.device)

    @app.post("/only-here")
    def only_here() -> Any:
        tokens.logout_everywhere(keep_current=True)
        return jsonify(device=current_token.device, network=require_token().network)

    return app, tokens


def listed(app: Flask) -> list[Token]:
    return list(state_of(app).authority.tokens_of("alice"))


def test_a_login_is_listed_with_its_device(make_app: MakeApp) -> None:
    """By its User-Agent, or as the app names it; the request's token says so on any node."""
    app, _ = named(make_app)
    client = app.test_client()
    client.post("/enter", headers={"User-Agent": FIREFOX})
    app.test_client().post("/enter?device=Kitchen", headers={"User-Agent": FIREFOX})
    app.test_client().post("/enter?device=", headers={"User-Agent": FIREFOX})

    assert sorted(one.device for one in listed(app)) == ["", "Firefox on Windows", "Kitchen"]
    state_of(app).authority.remembered.clear()
    assert client.get("/here").json == {"device": "Firefox on Windows"}


def test_a_device_is_a_short_text(make_app: MakeApp) -> None:
    """A mistake of the app's is said, and nobody is logged in by it."""
    app, _ = named(make_app)
    app.testing = True
    with pytest.raises(ValueError, match="a device is a text of 1 to 100 characters"):
        app.test_client().post("/enter?device=" + "x" * 101)
    with pytest.raises(TypeError, match="a device is a text"):
        app.test_client().post("/enter-wrongly")
    assert listed(app) == []


@pytest.mark.parametrize(
    ("kept", "address", "network"),
    [
        (True, "203.0.113.77", "203.0.113.0/24"),
        (True, "2001:db8:1:2::7", "2001:db8:1::/48"),
        (True, "unix:", ""),
        (False, "203.0.113.77", ""),
    ],
)
def test_only_the_network_is_kept_and_only_if_asked(
    make_app: MakeApp, kept: bool, address: str, network: str
) -> None:
    """24 bits of an address, 48 of IPv6; nothing without ``KEEP_ADDRESS``."""
    app, _ = named(make_app, KEEP_ADDRESS=kept)
    app.test_client().post("/enter", environ_base={"REMOTE_ADDR": address})

    (login,) = listed(app)
    assert login.network == network
    record = state_of(app).authority.store.get(login.record_key)
    assert record is not None
    assert address.encode() not in record.value


def test_a_login_that_goes_on_keeps_its_device(make_app: MakeApp) -> None:
    """Whoever ends all others goes on under another id, on the same device."""
    app, _ = named(make_app, KEEP_ADDRESS=True)
    client = app.test_client()
    client.post("/enter?device=Kitchen", environ_base={"REMOTE_ADDR": "192.0.2.9"})
    said = client.post("/only-here", environ_base={"REMOTE_ADDR": "198.51.100.9"})
    assert said.json == {"device": "Kitchen", "network": "192.0.2.0/24"}


def test_lists_say_when_a_login_was_renewed(make_app: MakeApp, clock: ManualClock) -> None:
    """To about a day, by what a renewal writes anyway; an API token is not renewed."""
    app, _ = named(make_app, LIFETIME=7 * DAY, RENEW_AFTER=DAY)
    client = app.test_client()
    client.post("/enter")
    state_of(app).authority.issue_api_token("alice", "ci")
    begun = int(clock.time())

    def renewed_at() -> dict[str, int | None]:
        return {one.kind: one.renewed_at for one in listed(app)}

    assert renewed_at() == {"login": begun, "api": None}
    clock.advance(DAY / 2)
    state_of(app).authority.follower().step()
    assert not texts_set(client.get("/here"))
    assert renewed_at()["login"] == begun
    clock.advance(DAY)
    state_of(app).authority.follower().step()
    assert texts_set(client.get("/here"))
    assert renewed_at()["login"] == begun + DAY + DAY // 2


def test_a_seen_token_asks_no_store_for_it(make_app: MakeApp) -> None:
    """Neither its device nor its last use costs a call."""
    app, _ = named(make_app)
    store = watch(app)
    client = app.test_client()
    client.post("/enter?device=Kitchen")
    client.get("/here")
    before = store.calls.copy()
    assert client.get("/here").json == {"device": "Kitchen"}
    assert {name for name in store.calls if store.calls[name] > before[name]} <= {"position"}


def test_records_of_before_are_read(make_app: MakeApp, clock: ManualClock) -> None:
    """What knew no devices is listed without one; its renewal goes by this node's setting."""
    app, _ = named(make_app)
    app.test_client().post("/enter?device=Kitchen")
    authority = state_of(app).authority
    (login,) = listed(app)
    record = authority.store.get(login.record_key)
    assert record is not None
    said = json.loads(record.value)
    for name in ("device", "lifetime"):
        del said[name]
    assert set(said) == FIELDS_OF_BEFORE
    authority.store.put(login.record_key, json.dumps(said).encode(), record.expires_at)

    (again,) = listed(app)
    assert (again.device, again.network, again.renewed_at) == ("", "", int(clock.time()))
    assert again.expires_at == login.expires_at


#: What a record had before it knew devices: those nodes read these by name, and no others.
FIELDS_OF_BEFORE = {
    *("format", "id", "subject", "kind", "issued_at", "authenticated_at", "claims", "labels"),
    *("scopes", "name", "created_by", "since", "epoch", "persistent", "key", "made_at"),
    *("first_issued_at", "bound_key", "spare"),
}


# -- a login on a new device -------------------------------------------------------------


@pytest.fixture
def told() -> Iterator[Callable[[Flask], list[str]]]:
    """Listens to an app: the devices of which the signal told."""
    receivers = []

    def listen(app: Flask) -> list[str]:
        found: list[str] = []

        def hear(sender: Flask, token: Token, **extra: Any) -> None:
            found.append(token.device)

        login_on_new_device.connect(hear, app)
        receivers.append((hear, app))
        return found

    yield listen
    for hear, app in receivers:
        login_on_new_device.disconnect(hear, app)


def test_a_login_on_a_new_device_is_told(
    make_app: MakeApp, told: Callable[[Flask], list[str]]
) -> None:
    """Once for each device that no other living login is on; not for one that comes back."""
    app, _ = named(make_app)
    heard = told(app)
    browser = app.test_client()
    for client, device in [
        (browser, "Firefox on Windows"),
        (browser, "Firefox on Windows"),  # the one that it has ends with it
        (app.test_client(), "Firefox on Windows"),
        (app.test_client(), "Safari on iPhone"),
    ]:
        client.post("/enter", query_string={"device": device})
    browser.post("/only-here")
    assert heard == ["Firefox on Windows", "Safari on iPhone"]

    state_of(app).authority.revoke_subject("alice")
    app.test_client().post("/enter?device=Safari on iPhone")
    assert heard[2:] == ["Safari on iPhone"]


def test_nobody_listens_and_nothing_is_read(make_app: MakeApp) -> None:
    """A login costs what it did, as long as nobody wants to hear of new devices."""
    app, _ = named(make_app)
    store = watch(app)
    app.test_client().post("/enter?device=Kitchen")
    assert not {"walk", "scan"} & {name for name, number in store.calls.items() if number}


def test_new_devices_are_not_known_where_logins_are_not_recorded(
    make_app: MakeApp, told: Callable[[Flask], list[str]]
) -> None:
    """With the token store ``cookie`` every device would seem new: nothing is told."""
    app, _ = named(make_app, TOKEN_STORE="cookie")
    heard = told(app)
    assert app.test_client().post("/enter?device=Kitchen").json["device"] == "Kitchen"
    assert heard == []
