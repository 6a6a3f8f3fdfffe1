"""``/auth``: what a reverse proxy is told of the request that it asks about."""

from __future__ import annotations

import logging
from urllib.parse import unquote

import pytest

from flask_clustertoken.settings.limits import DAY
from tests.doubles import Cluster, store_of
from tests.gateway.parts import COOKIE, HOST, NAMES, PROXY, Door, door

ELSEWHERE = {"Origin": "https://evil.example"}
BROWSER = {"Sec_Fetch_Mode": "navigate", "Accept": "text/html"}


# -- who it is -------------------------------------------------------------------------


def test_a_login_is_named_by_its_headers(front: Door) -> None:
    """Subject, kind, id, scopes and claims: what a service behind the proxy goes by."""
    answer = front.auth(front.login("alice", {"role": "editor"}))

    assert answer.status == 200
    assert answer.body == b""
    assert answer.identity["Subject"] == "alice"
    assert answer.identity["Kind"] == "login"
    assert len(answer.identity["Token-Id"]) == 24
    assert answer.identity["Scopes"] == ""
    assert answer.claims == {"role": "editor"}


def test_an_api_token_is_named_with_its_scopes(front: Door) -> None:
    """As a login, by Authorization."""
    answer = front.auth(bearer=front.api_token("read", "write"))

    assert answer.status == 200
    assert answer.identity["Kind"] == "api"
    assert answer.identity["Scopes"] == "read write"
    assert answer.claims == {}


@pytest.mark.parametrize("asked", ["nothing", "garbage", "revoked", "another origin", "policy"])
def test_every_answer_has_every_identity_header(front: Door, asked: str) -> None:
    """Empty where nobody is let in: a proxy that copies only what it got passes no client's."""
    text = front.login()
    if asked == "revoked":
        front.authority.revoke_subject("alice")
    answer = {
        "nothing": lambda: front.auth(),
        "garbage": lambda: front.auth("garbage", X_Auth_Subject="root"),
        "revoked": lambda: front.auth(text),
        "another origin": lambda: front.auth(text, method="POST", **ELSEWHERE),
        "policy": lambda: front.auth(text, query="scpoe=read"),
    }[asked]()

    assert answer.status in (400, 401, 403)
    assert set(answer.identity.values()) == {""}


@pytest.mark.parametrize("subject", ["Zoë", "山田", "a b", " a ", "a,b", "50%", 'q"\\', "a\u200bb"])
def test_a_subject_arrives_as_it_is(front: Door, subject: str) -> None:
    """Percent-encoded where it is no plain ASCII; no comma and no space stands in it."""
    spelled = front.auth(front.login(subject)).identity["Subject"]

    assert unquote(spelled) == subject
    assert spelled.isascii()
    assert not set(spelled) & set(' ,"\\')


def test_a_plain_subject_stands_as_it_is(front: Door) -> None:
    """So that logs and simple services can read it."""
    assert front.auth(front.login("bob+x@app.example")).identity["Subject"] == "bob+x@app.example"


def test_line_breaks_in_a_subject_make_no_header(front: Door) -> None:
    """Whoever may choose a name must not choose headers."""
    answer = front.auth(front.login("a\r\nX-Auth-Kind: api"))

    assert answer.status == 200
    assert answer.identity["Subject"] == "a%0D%0AX-Auth-Kind:%20api"


def test_a_subject_that_is_no_header_is_refused(
    front: Door, caplog: pytest.LogCaptureFixture
) -> None:
    """It may not be cut off, which would make another person of it."""
    answer = front.auth(front.login("山" * 1000))

    assert answer.status == 403
    assert set(answer.identity.values()) == {""}
    assert "no header's" in caplog.text


def test_claims_that_are_too_large_are_empty(cluster: Cluster) -> None:
    """Never cut off, and told apart from a login that has none."""
    small = door(cluster, gateway={"GATEWAY_CLAIMS_LIMIT": 100})
    large = small.auth(small.login("alice", {"roles": ["x" * 20] * 20}))

    assert large.status == 200
    assert large.identity["Claims"] == ""
    assert small.auth(small.login("bob")).identity["Claims"] == "e30"
    assert small.auth(small.login("carol", {"a": 1})).claims == {"a": 1}


def test_the_headers_fit_what_proxies_take(front: Door) -> None:
    """With the largest claims that are sent: below the 4 KB that nginx takes by default."""
    claims = {"c": "x" * 1500}
    answer = front.auth(front.login("a" * 200, claims))

    assert answer.claims == claims
    assert sum(len(name) + len(value) + 4 for name, value in answer.headers) < 3500


# -- whether it is let in --------------------------------------------------------------


def test_nobody_is_asked_to_log_in(front: Door) -> None:
    """401 with a challenge, which nginx hands on."""
    answer = front.auth()

    assert answer.status == 401
    assert answer.json["reason"] == "missing"
    assert answer["WWW-Authenticate"] == 'Bearer realm="tokens"'


def test_a_revoked_login_is_refused_at_once(front: Door) -> None:
    """The gateway is a node like every other."""
    text = front.login()
    assert front.auth(text).status == 200

    front.authority.revoke_subject("alice")

    answer = front.auth(text)
    assert (answer.status, answer.json["reason"]) == (401, "revoked")


def test_a_stale_gateway_answers_503(front: Door, cluster: Cluster) -> None:
    """It cannot know, and says so; the cookie stays. Whoever has none is not helped by waiting."""
    text = front.login()
    store_of(front.authority).cut()
    cluster.clock.advance(11)

    answer = front.auth(text)
    assert answer.status == 503
    assert answer["Retry-After"]
    assert answer["Set-Cookie"] is None
    assert set(answer.identity.values()) == {""}
    assert front.auth().status == 401


def test_a_lock_is_a_403_with_its_message(front: Door) -> None:
    """As in the app itself."""
    bearer = front.api_token("read", subject="bob")
    front.authority.locking.lock(subject="bob", message="Please call us.")

    answer = front.auth(bearer=bearer)
    assert (answer.status, answer.json["message"]) == (403, "Please call us.")


@pytest.mark.parametrize(
    ("query", "login", "api"),
    [
        ("", 200, 200),
        ("kind=login", 200, 403),
        ("kind=api", 403, 200),
        ("kind=api&kind=login", 403, 403),
        ("scope=read", 200, 200),
        ("scope=write", 200, 403),
        ("scope=read&scope=write", 200, 403),
        ("scope=read+write", 200, 403),
        ("kind=api&scope=read", 403, 200),
    ],
)
def test_a_location_may_demand_kind_and_scopes(
    front: Door, query: str, login: int, api: int
) -> None:
    """Scopes limit API tokens, as those of the decorators do; what is said twice demands both."""
    text, bearer = front.login(), front.api_token("read")

    assert front.auth(text, query=query).status == login
    assert front.auth(bearer=bearer, query=query).status == api


@pytest.mark.parametrize("query", ["scope=", "scope=%20", "scope=read&scope=", "login=", "kind="])
def test_an_empty_demand_lets_nobody_in(front: Door, query: str) -> None:
    """Its value was lost, a variable that is not set: that is no wish to demand nothing."""
    bearer = front.api_token("read")
    assert front.auth(bearer=bearer, query=query).status == 400
    policy = {"Authorization": f"Bearer {bearer}", "X-Auth-Policy": query}
    assert front.ask("GET", "/auth/x", policy).status == 400


@pytest.mark.parametrize("query", ["scpoe=read", "kind=robot", "slide=no", "scope", "a=%zz;&&"])
def test_a_mistyped_demand_lets_nobody_in(front: Door, query: str) -> None:
    """A wrong configuration is an error, not no demand."""
    assert front.auth(front.login(), query=query).status == 400


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PURGE"])
def test_any_method_may_ask(front: Door, method: str) -> None:
    """Envoy asks with the method of the original."""
    headers = {"Cookie": f"{COOKIE}={front.login()}"}
    answer = front.ask(method, "/auth/orders/7", headers, body=b"x" if method == "POST" else b"")

    assert answer.status == 200
    assert answer.identity["Subject"] == "alice"


@pytest.mark.parametrize("path", ["/auth", "/auth/orders/7", "/auth?scpoe=read"])
def test_whoever_asks_by_head_gets_no_body(front: Door, path: str) -> None:
    """A server would send it, and the connection's next answer would begin with it."""
    told = {"X-Original-Method": "GET"}
    by_get, by_head = (front.ask(method, path, told) for method in ("GET", "HEAD"))

    assert by_get.body
    assert by_head.body == b""
    assert (by_head.status, by_head["Content-Length"]) == (by_get.status, str(len(by_get.body)))
    by_post = front.ask("POST", path, {"X-Original-Method": "HEAD"})
    assert by_post.body, "it is the proxy's own request that has no body, not the original one"


def test_a_seen_token_costs_no_store_call(front: Door) -> None:
    """What a request costs is arithmetic, or every page of every service would wait for a store."""
    text = front.login()
    front.auth(text)
    before = store_of(front.authority).calls.total()

    for _ in range(20):
        assert front.auth(text).status == 200
    assert store_of(front.authority).calls.total() == before


def test_answers_are_kept_by_no_cache(front: Door) -> None:
    """They depend on method and origin, and a cache would outlive a revocation."""
    for answer in (front.auth(front.login()), front.auth()):
        assert answer["Cache-Control"] == "no-store"
        assert answer["Vary"] == "Cookie, Authorization"


# -- renewal ---------------------------------------------------------------------------


def test_a_login_is_renewed_through_the_proxy(front: Door, cluster: Cluster) -> None:
    """The answer has the cookie, which the proxy hands on."""
    text = front.login()
    cluster.clock.advance(2 * DAY)
    cluster.step()

    renewed = front.auth(text)
    assert renewed.status == 200
    assert (renewed["Set-Cookie"] or "").startswith(f"{COOKIE}=")
    assert front.auth(text, query="slide=0")["Set-Cookie"] is None
    assert front.auth(text, query="slide=1&slide=0")["Set-Cookie"] is None


# -- the original request --------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "get", ""])
def test_an_unsafe_method_from_another_site_is_refused(front: Door, method: str) -> None:
    """By Origin or Sec-Fetch-Site, as the app itself would; and nobody is named."""
    text = front.login()
    for headers in (ELSEWHERE, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}):
        answer = front.auth(text, method=method, **headers)
        assert (answer.status, answer.json["error"]) == (403, "cross_origin")
        assert answer.identity["Subject"] == ""


def test_a_link_from_another_site_is_followed(front: Door) -> None:
    """A GET changes nothing."""
    assert front.auth(front.login(), Sec_Fetch_Site="cross-site").status == 200


def test_a_form_of_this_site_passes(front: Door) -> None:
    """Its origin is the host that was asked for, whatever the gateway's own is."""
    text = front.login()
    assert front.auth(text, method="POST", Origin=f"https://{HOST}").status == 200
    named = {"Origin": "https://shop.example", "X_Forwarded_Host": "shop.example"}
    assert front.auth(text, method="POST", **named).status == 200
    assert front.auth(text, method="POST", peer="10.9.9.9", **named).status == 403


def test_a_trusted_origin_passes(cluster: Cluster) -> None:
    """That is the realm's setting."""
    there = door(cluster, TRUSTED_ORIGINS=["https://shop.example"])
    assert there.auth(there.login(), method="POST", Origin="https://shop.example").status == 200


def test_a_websocket_of_another_site_is_refused(front: Door) -> None:
    """A handshake is a GET with cookies, from which any page could read."""
    answer = front.auth(front.login(), Upgrade="websocket", **ELSEWHERE)
    assert answer.status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-Method": "POST", "X-Forwarded-Method": "GET"},
        {"X-Original-Method": "GET", "X-Forwarded-Method": "POST"},
        {"X-Original-Method": "GET, POST"},
        {"X-Original-Method": "POST,GET"},
        {"X-Original-Method": "GET\tPOST"},
    ],
)
def test_no_second_method_makes_a_request_safe(front: Door, headers: dict[str, str]) -> None:
    """Whatever a client adds to what the proxy says can only make it stricter."""
    headers = {**headers, **ELSEWHERE, "Cookie": f"{COOKIE}={front.login()}"}
    assert front.ask("GET", "/auth", headers).status == 403


def test_the_method_that_asks_is_no_proof_of_safety(front: Door) -> None:
    """nginx asks by GET whatever was asked for: without a word on it, it may have been a POST."""
    text = front.login()
    answer = front.auth(text, method=None, **ELSEWHERE)

    assert answer.status == 403
    assert "method is not known" in answer.json["message"]
    assert front.auth(text, method=None).status == 200


def test_a_stranger_is_not_believed(front: Door, caplog: pytest.LogCaptureFixture) -> None:
    """Its word makes no request safe, and the log says how to trust it, once."""
    text = front.login()
    for _ in range(3):
        assert front.auth(text, peer="10.77.7.7", **ELSEWHERE).status == 403
    assert front.auth(text, **ELSEWHERE).status == 200
    said = [one.message for one in caplog.records if "10.77.7.7" in one.message]
    assert len(said) == 1
    assert "CLUSTERTOKEN_GATEWAY_TRUSTED" in said[0]


def test_below_auth_the_method_is_the_originals_own(front: Door) -> None:
    """As Envoy asks with a path_prefix; a stranger could be a proxy that always asks by GET."""
    headers = {"Cookie": f"{COOKIE}={front.login()}", **ELSEWHERE}

    assert front.ask("GET", "/auth/page", headers).status == 200
    assert front.ask("POST", "/auth/page", headers).status == 403
    assert front.ask("GET", "/auth/page", headers, peer="10.9.9.9").status == 403


def test_below_auth_the_query_is_the_clients(front: Door) -> None:
    """It demands nothing and takes nothing away; demands come by X-Auth-Policy, from the proxy."""
    bearer = {"Authorization": f"Bearer {front.api_token('read')}"}
    policy = {"X-Auth-Policy": "kind=api&scope=write"}

    assert front.ask("GET", "/auth/x?kind=login&nonsense", bearer).status == 200
    assert front.ask("GET", "/auth/../introspect", bearer).status == 200
    assert front.ask("GET", "/auth/x", {**bearer, **policy}).status == 403
    assert front.ask("GET", "/auth/x", {**bearer, **policy}, peer="10.9.9.9").status == 400
    assert front.ask("GET", "/auth", {**bearer, **policy}).status == 200


@pytest.mark.parametrize(
    ("trusted", "peer", "believed"),
    [
        ([], "127.0.0.1", False),
        (["127.0.0.1"], "127.0.0.1", True),
        (["10.0.0.0/8"], "10.200.1.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8"], "::ffff:10.1.1.1", True),
        (["::1"], "::1", True),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["unix"], "", True),
        (["127.0.0.1"], "", False),
        (["unix"], "127.0.0.1", False),
        (["0.0.0.0/0"], "nonsense", False),
    ],
)
def test_who_is_believed_is_known_by_the_address(
    cluster: Cluster, trusted: list[str], peer: str, believed: bool
) -> None:
    """Nobody, unless it is set."""
    there = door(cluster, gateway={"GATEWAY_TRUSTED": trusted})
    answer = there.auth(there.login(), peer=peer, **ELSEWHERE)
    assert (answer.status == 200) is believed


# -- the way to the login page ---------------------------------------------------------


def test_a_browser_is_sent_to_the_login_page(front: Door) -> None:
    """And from there back to what it asked for."""
    answer = front.auth(query="login=/login", X_Original_URI="/orders?page=2&q=a%20b", **BROWSER)

    assert answer.status == 302
    assert answer["Location"] == "/login?next=%2Forders%3Fpage%3D2%26q%3Da%2520b"
    assert set(answer.identity.values()) == {""}


def test_a_form_is_sent_there_by_303(front: Door) -> None:
    """So that the browser asks for the login page by GET."""
    answer = front.auth(method="POST", query="login=/login", X_Forwarded_Uri="/pay", **BROWSER)
    assert (answer.status, answer["Location"]) == (303, "/login?next=%2Fpay")


@pytest.mark.parametrize("headers", [{"Accept": "application/json"}, {"Sec_Fetch_Mode": "cors"}])
def test_a_script_gets_a_401(front: Door, headers: dict[str, str]) -> None:
    """A login page is of no use to it."""
    assert front.auth(query="login=/login", **headers).status == 401


def test_a_login_that_is_over_leads_there_too(front: Door) -> None:
    """And one that cannot be judged, or is of another origin, does not."""
    text = front.login()
    front.authority.revoke_subject("alice")
    assert front.auth(text, query="login=/login", **BROWSER).status == 302
    other = front.login("bob")
    asked = front.auth(other, method="POST", query="login=/login", **ELSEWHERE, **BROWSER)
    assert asked.status == 403


def test_a_login_that_has_to_be_bound_and_is_not_leads_in_no_circle(cluster: Cluster) -> None:
    """As at the app: the next login of this browser would end here once more."""
    there = door(cluster, DEVICE_BOUND="require")
    text = there.login()
    assert there.auth(text, query="login=/login", **BROWSER).status == 200
    cluster.clock.advance(100)
    cluster.step()

    answer = there.auth(text, query="login=/login", **BROWSER)
    assert (answer.status, answer["Location"]) == (401, None)
    assert (answer.json["error"], answer.json["reason"]) == ("unbound", "unbound")
    assert answer["WWW-Authenticate"] == 'Bearer realm="tokens", error="invalid_token"'
    assert set(answer.identity.values()) == {""}


def test_whoever_waits_for_a_proof_is_not_sent_to_log_in(cluster: Cluster) -> None:
    """The browser says that it could not prove the login now: "try again", and nobody is in."""
    there = door(cluster, DEVICE_BOUND="offer")
    issued = there.authority.bind(there.authority.issue_login("alice").token, "A" * 44)
    asked = {"query": "login=/login", **BROWSER}
    assert there.auth(issued.text, **asked).status == 302

    answer = there.auth(issued.text, Secure_Session_Skipped="unreachable", **asked)
    assert (answer.status, answer["Retry-After"]) == (503, "2")
    assert answer["Location"] is None
    assert set(answer.identity.values()) == {""}
    assert there.auth("garbage", Secure_Session_Skipped="unreachable", **asked).status == 302


@pytest.mark.parametrize(
    "login",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "login",
        "/log%0Ain",
        f"https://{HOST}.evil.example/",
        f"https://{HOST}@evil.example/",
        f"http://{HOST}:81/",
    ],
)
def test_nobody_is_sent_to_another_site(front: Door, login: str) -> None:
    """``/auth`` may be reachable by anybody: then its query is anybody's, too."""
    answer = front.auth(query=f"login={login}", X_Forwarded_Proto="https", **BROWSER)

    assert answer.status == 401
    assert answer["Location"] is None


def test_a_login_page_of_a_trusted_origin_is_fine(cluster: Cluster) -> None:
    """It gets the whole address to come back to."""
    there = door(cluster, TRUSTED_ORIGINS=["https://login.example"])
    headers = {"X_Forwarded_Proto": "https", "X_Original_URI": "/a", **BROWSER}
    answer = there.auth(query="login=https://login.example/in?x=1", **headers)
    here = there.auth(query=f"login=https://{HOST}/login", **headers)

    assert answer["Location"] == ("https://login.example/in?x=1&next=https%3A%2F%2Fapp.example%2Fa")
    assert (here["Location"] or "").startswith(f"https://{HOST}/login?next=")


@pytest.mark.parametrize(
    "page", ["//evil.example", "/\\evil", "https://evil.example", "x", "/a\tb"]
)
def test_nobody_comes_back_to_another_site(front: Door, page: str) -> None:
    """What was asked for is left out where it reads as another host."""
    answer = front.auth(query="login=/login", X_Original_URI=page, **BROWSER)
    assert answer["Location"] == "/login"


def test_the_login_page_itself_leads_nowhere(front: Door) -> None:
    """Or the browser would go in a circle; and a stranger's page is nothing to come back to."""
    login = "login=/login"
    assert front.auth(query=login, X_Original_URI="/login?next=%2F", **BROWSER).status == 401
    answer = front.auth(query=login, X_Original_URI="/a", peer="10.9.9.9", **BROWSER)
    assert answer["Location"] == "/login"


# -- smuggling -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "x-auth-subject", "X-AUTH-SUBJECT", "X_Auth_Subject"])
def test_what_a_client_says_it_is_counts_for_nothing(front: Door, name: str) -> None:
    """However it is spelled, no answer repeats it."""
    answer = front.ask("GET", "/auth", {name: "root", "X-Original-Method": "GET"})
    assert answer.status == 401
    assert "root" not in str(answer.headers)


def test_errors_of_the_gateway_let_nobody_in(
    front: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A judgement that fails is none: 503, and the log has why."""
    text = front.login()
    caplog.set_level(logging.CRITICAL)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(front.authority, "authenticate", broken)
    assert front.auth(text).status == 503


def test_the_peer_of_these_tests_is_trusted(front: Door) -> None:
    """Or the tests above would say nothing."""
    assert front.auth(front.login(), peer=PROXY, **ELSEWHERE).status == 200
