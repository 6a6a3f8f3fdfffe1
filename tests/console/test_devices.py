"""Devices: each user sees their own logins and API tokens, ends them, and nobody else's."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape

import pytest

from flask_clustertoken import Token
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.console import Devices, devices_tokens
from flask_clustertoken.errors import ConfigurationError, StoreUnavailable
from tests.extension.parts import watch

from .parts import AT, FIREFOX, HTML, MakeSite, Site

DAY = 86_400

STORES = [
    {"STORE": store, "TOKEN_STORE": kept}
    for store in ("memory:", "directory:")
    for kept in ("session", "cookie")
]


def words(page: str) -> str:
    """What a person reads of it."""
    body = page.partition("<body")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", "<body" + body)).split())


def lines(page: str) -> list[str]:
    found = re.findall(r"<li\b.*?</li>", page, re.S)
    return [words("<body>" + one) for one in found]


def mine(site: Site, subject: str = "alice") -> list[Token]:
    return list(site.authority.tokens_of(subject))


@pytest.fixture(params=STORES, ids=lambda one: "-".join(one.values()))
def site(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(**request.param)


# -- logins ------------------------------------------------------------------------------


def test_the_list_says_what_when_and_from_where(make_site: MakeSite, clock: ManualClock) -> None:
    """This device first, the others by their last use, each in words."""
    site = make_site(KEEP_ADDRESS=True)
    here = site.person(agent=FIREFOX)
    site.person(device="Old telephone")
    clock.advance(3 * DAY)
    site.authority.follower().step()
    site.person(device="Kitchen")
    page = here.get(AT)

    first, second, third = lines(page)
    assert first.startswith("Firefox on Windows this device Logged in")
    assert "(3 days ago) · from 127.0.0.0/24 In use now" in first
    assert second.startswith("Kitchen Logged in")
    assert "Last used: within the last 24 hours · ends in 7 days · id" in second
    assert third.startswith("Old telephone")
    assert "Last used: 3 days ago · ends in 4 days" in third
    assert "127.0.0.1" not in page


def test_without_keeping_addresses_none_is_shown(make_site: MakeSite) -> None:
    """Nothing is said of where from."""
    assert "from" not in lines(make_site().person().get(AT))[0]


def test_one_login_is_ended(make_site: MakeSite) -> None:
    """That one and no other, before the page is back."""
    site = make_site()
    here, other, third = site.person(), site.person(), site.person()

    assert here.post(f"{AT}/{other.id}/end") == f"{AT}?said=ended"
    assert "That login has ended, on every server." in words(here.get(f"{AT}?said=ended"))
    assert (here.is_logged_in, other.is_logged_in, third.is_logged_in) == (True, False, True)


def test_a_login_that_is_gone_meanwhile_is_said_so(make_site: MakeSite) -> None:
    """Ended twice, from two tabs: the second one gets the list as it is now."""
    site = make_site()
    here, other = site.person(), site.person()
    here.post(f"{AT}/{other.id}/end")
    page = here.post(f"{AT}/{other.id}/end", 404)
    assert "You have no such login (any more)." in words(page)
    assert len(lines(page)) == 1


def test_ending_this_device_logs_out(site: Site) -> None:
    """Its cookie goes; with each store, also where logins are not recorded."""
    here, other = site.person(), site.person()
    answer = here.client.post(f"{AT}/{here.id}/end")
    assert (answer.status_code, answer.location) == (303, "/")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert (here.is_logged_in, other.is_logged_in) == (False, True)


def test_all_others_are_ended(site: Site) -> None:
    """This one stays, under another id; with each store."""
    here, other, stranger = site.person(), site.person(), site.person("bob")
    assert here.post(f"{AT}/end-others") == f"{AT}?said=others-ended"
    assert (here.is_logged_in, other.is_logged_in, stranger.is_logged_in) == (True, False, True)


@pytest.mark.parametrize("also", [True, False])
def test_everything_is_ended(site: Site, also: bool) -> None:
    """Every login, and the API tokens where that is ticked; nobody else's."""
    here, other, stranger = site.person(), site.person(), site.person("bob")
    site.authority.issue_api_token("alice", "ci")
    site.authority.issue_api_token("bob", "ci")

    assert here.post(f"{AT}/end-everything", **({"api_tokens": "1"} if also else {})) == "/"
    assert (here.is_logged_in, other.is_logged_in, stranger.is_logged_in) == (False, False, True)
    assert [one.kind for one in mine(site)] == ([] if also else ["api"])
    assert "api" in [one.kind for one in mine(site, "bob")]


def test_where_logins_are_not_recorded_it_is_said(make_site: MakeSite) -> None:
    """This device alone is there, as far as its request says; the others can be ended."""
    site = make_site(TOKEN_STORE="cookie")
    here = site.person(agent=FIREFOX)
    page = here.get(AT, **{"User-Agent": FIREFOX})
    assert "Logins are not recorded on this site" in words(page)
    assert [one.partition(" Logged")[0] for one in lines(page)] == [
        "Firefox on Windows this device"
    ]
    assert "Log out all other devices" in page


def test_a_long_list_comes_in_pages(make_site: MakeSite) -> None:
    """Fifty others to a page; this device on the first; a page beyond the last is the last."""
    site = make_site()
    here = site.person()
    for number in range(120):
        site.authority.issue_login("alice", device=f"Robot {number}")
    seen = [one for page in (1, 2, 3) for one in lines(here.get(f"{AT}?page={page}"))]
    assert len(seen) == 121
    assert len({re.search("id …(.{6})", one)[1] for one in seen}) == 121  # type: ignore[index]
    assert "Page 3 of 3" in words(here.get(f"{AT}?page=99"))
    for nonsense in ("0", "-1", "x", ""):
        assert "Page 1 of 3" in words(here.get(f"{AT}?page={nonsense}"))


def test_a_bound_login_is_said_to_be(make_site: MakeSite) -> None:
    """Whoever sees it knows that a copy of its cookie is worth nothing."""
    site = make_site(DEVICE_BOUND="offer")
    here = site.person()
    login = site.authority.issue_login("alice").token
    site.authority.bind(login, "A" * 44)
    assert "bound to its device" in words(here.get(AT))


# -- API tokens --------------------------------------------------------------------------


def test_an_api_token_is_made_and_shown_once(site: Site, clock: ManualClock) -> None:
    """Its text stands in this one answer, which no cache keeps; it works, and is listed."""
    here = site.person()
    form = {"name": "nightly backup", "scopes": "read, write  read", "lifetime": "30"}
    answer = here.client.post(f"{AT}/tokens", data=form)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    (text,) = re.findall(r'id="text"[^>]*>([^<]+)<', answer.text)

    bearer = {"Authorization": f"Bearer {text}"}
    assert site.app.test_client().get("/me", headers=bearer).text == "alice"
    again = here.get(f"{AT}/tokens")
    assert text not in again
    (line,) = lines(again)
    assert line.startswith("nightly backup read write Made by alice")
    assert "ends in 30 days" in line
    (made,) = (one for one in mine(site) if one.kind == "api")
    assert made.expires_at == int(clock.time()) + 30 * DAY

    site.authority.follower().step()
    assert "Last used: just now" in lines(here.get(f"{AT}/tokens"))[0]
    assert here.post(f"{AT}/tokens/{made.id}/end") == f"{AT}/tokens?said=token-ended"
    assert site.app.test_client().get("/me", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({}, "needs a name"),
        ({"name": "   "}, "needs a name"),
        ({"name": "x" * 81}, "needs a name"),
        ({"name": "a\nb"}, "needs a name"),
        ({"name": "a", "scopes": "x" * 41}, "Scopes are"),
        ({"name": "a", "scopes": " ".join(map(str, range(21)))}, "Scopes are"),
        ({"name": "a", "scopes": 'a"b'}, "Scopes are"),
        ({"name": "a", "lifetime": "7000"}, "Choose how long"),
    ],
)
def test_a_form_that_cannot_be_meant_is_said_so(
    make_site: MakeSite, form: dict[str, str], problem: str
) -> None:
    """With 400, what was typed is still there, and nothing is made."""
    site = make_site()
    page = site.person().post(f"{AT}/tokens", 400, **form)
    assert problem in words(page)
    assert 'role="alert"' in page
    assert not [one for one in mine(site) if one.kind == "api"]


def test_an_app_says_which_scopes_there_are(make_site: MakeSite) -> None:
    """They are ticked; another one is refused; with none there is nothing to fill in."""
    site = make_site(scopes=["read", "write"])
    here = site.person()
    assert here.get(f"{AT}/tokens").count('type="checkbox"') == 2
    here.post(f"{AT}/tokens", 400, name="a", scopes="admin")
    here.post(f"{AT}/tokens", 201, name="a", scopes="read")
    none = make_site(scopes=[]).person()
    assert 'name="scopes"' not in none.get(f"{AT}/tokens")


def test_a_site_without_api_tokens_of_users(make_site: MakeSite) -> None:
    """Neither page nor button nor tab; what operators made is not ended unasked."""
    here = make_site(api_tokens=False).person()
    here.get(f"{AT}/tokens", 404)
    page = here.get(AT)
    assert "API token" not in page


# -- who may -----------------------------------------------------------------------------

#: Everything that can be pressed.
ACTS: list[Callable[[str, str], tuple[str, dict[str, str]]]] = [
    lambda login, api: (f"{AT}/{login}/end", {}),
    lambda login, api: (f"{AT}/end-others", {}),
    lambda login, api: (f"{AT}/end-everything", {"api_tokens": "1"}),
    lambda login, api: (f"{AT}/tokens", {"name": "x"}),
    lambda login, api: (f"{AT}/tokens/{api}/end", {}),
]
every_act = pytest.mark.parametrize("act", ACTS)


@every_act
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_sites_post_does_nothing(
    make_site: MakeSite,
    act: Callable[[str, str], tuple[str, dict[str, str]]],
    headers: dict[str, str],
) -> None:
    """With the visitor's cookie, and to each address."""
    site = make_site()
    here, other = site.person(), site.person()
    api = site.authority.issue_api_token("alice", "ci").token
    path, form = act(other.id, api.id)
    assert here.client.post(path, data=form, headers={**HTML, **headers}).status_code == 403
    assert len(mine(site)) == 3


@every_act
def test_an_old_login_is_asked_for_the_password(
    make_site: MakeSite, clock: ManualClock, act: Callable[[str, str], tuple[str, dict[str, str]]]
) -> None:
    """It may look, and it may log itself out; for the rest it is sent to log in, and back."""
    site = make_site(max_age=timedelta(minutes=10))
    here = site.person()
    clock.advance(601)
    site.authority.follower().step()
    other = site.person()
    api = site.authority.issue_api_token("alice", "ci").token
    path, form = act(other.id, api.id)
    answer = here.client.post(path, data=form, headers={**HTML, "Referer": f"http://localhost{AT}"})
    assert (answer.status_code, answer.location) == (303, f"/login?next={AT}")
    assert len(mine(site)) == 3
    here.get(AT)
    assert here.post(f"{AT}/{here.id}/end") == "/"


def test_an_app_may_ask_for_no_fresh_login(make_site: MakeSite, clock: ManualClock) -> None:
    """With ``max_age=None``."""
    site = make_site(max_age=None)
    here, other = site.person(), site.person()
    clock.advance(5 * DAY)
    site.authority.follower().step()
    assert here.post(f"{AT}/{other.id}/end") == f"{AT}?said=ended"


@pytest.mark.parametrize("token_id", ["x", "a" * 24, "%00", "..%2fx", "é" * 24, "a" * 5000])
def test_what_is_no_id_is_nobodys(make_site: MakeSite, token_id: str) -> None:
    """404, for logins and for API tokens."""
    here = make_site().person()
    for path in (f"{AT}/{token_id}/end", f"{AT}/tokens/{token_id}/end"):
        here.post(path, 404)


def test_nobody_ends_what_is_anothers(site: Site) -> None:
    """Another person's answers as one that never was; and so does one of the other kind."""
    here, bob = site.person(), site.person("bob")
    theirs = site.authority.issue_api_token("bob", "ci").token
    own = site.authority.issue_api_token("alice", "ci").token
    never = here.post(f"{AT}/{'a' * 24}/end", 404)
    assert here.post(f"{AT}/{bob.id}/end", 404) == never
    here.post(f"{AT}/tokens/{theirs.id}/end", 404)
    here.post(f"{AT}/{theirs.id}/end", 404)
    here.post(f"{AT}/{own.id}/end", 404)
    here.post(f"{AT}/tokens/{bob.id}/end", 404)
    assert bob.is_logged_in
    assert {one.id for name in ("alice", "bob") for one in mine(site, name)} >= {theirs.id, own.id}


def test_only_a_login_sees_them(make_site: MakeSite) -> None:
    """Nobody is sent to log in; a program with an API token is refused."""
    site = make_site()
    nobody = site.app.test_client()
    api = site.authority.issue_api_token("alice", "ci", ["admin"]).text
    for path in (AT, f"{AT}/tokens"):
        assert nobody.get(path, headers=HTML).location == f"/login?next={path}"
        assert nobody.get(path, headers={"Authorization": f"Bearer {api}"}).status_code == 403
    made = nobody.post(
        f"{AT}/tokens", data={"name": "x"}, headers={"Authorization": f"Bearer {api}"}
    )
    assert made.status_code == 403


@pytest.mark.parametrize(
    "subject",
    ["<script>alert(1)</script>", "../x", "x" * 1000, "‏משתמש‎", "a\u202eb", "%(name)s {{7*7}}"],
)
def test_any_subject_is_shown_as_text(make_site: MakeSite, subject: str) -> None:
    """Markup, paths, a thousand letters, from right to left: it is a name, and nothing else."""
    site = make_site()
    here, other = site.person(subject, device=subject[:100]), site.person(subject)
    site.authority.issue_api_token(subject, subject, ["read"])
    page = here.get(AT) + here.get(f"{AT}/tokens")
    assert "<script>" not in page
    assert unescape(page).count(subject[:100]) >= 3
    assert "<bdi" in page
    assert here.post(f"{AT}/{other.id}/end") == f"{AT}?said=ended"


def test_notes_are_ours_alone(make_site: MakeSite) -> None:
    """Nobody's address puts words onto the page."""
    page = make_site().person().get(f"{AT}?said=You+have+won")
    assert "You have won" not in page
    assert 'class="ct-note' not in page


# -- servers that have not answered ------------------------------------------------------


def test_what_is_not_known_to_be_everywhere_is_not_said_to_be(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has ended, and who cannot be asked now is not said to know it."""
    from flask_clustertoken.cluster import Revocation

    site = make_site()
    here, other = site.person(), site.person()

    def cut_off(*args: object, **more: object) -> None:
        raise StoreUnavailable("the line was cut")

    monkeypatch.setattr(Revocation, "confirm", cut_off)
    where = here.post(f"{AT}/{other.id}/end")
    assert where == f"{AT}?said=ending"
    assert "Not every server has said so yet" in words(here.get(where))
    assert not other.is_logged_in


# -- how it is set up --------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"url_prefix": "devices"},
        {"url_prefix": "/devices/"},
        {"scopes": "read"},
        {"scopes": [str(number) for number in range(21)]},
        {"max_age": 300},
        {"after": "https://evil.example/"},
        {"after": "//evil.example/"},
    ],
)
def test_what_cannot_be_meant_stops_the_start(make_site: MakeSite, given: dict[str, str]) -> None:
    """With an error that names the argument."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        make_site(**given)


def test_it_is_added_once_and_behind_the_extension(make_site: MakeSite) -> None:
    """Twice, or to an app that has no tokens, is a mistake that is said."""
    from flask import Flask

    site = make_site()
    with pytest.raises(ConfigurationError, match="already"):
        Devices(site.app)
    with pytest.raises(RuntimeError, match="init_app"):
        Devices(Flask("other"))


def test_two_apps_have_their_own(make_site: MakeSite) -> None:
    """Each at its own addresses, in one process."""
    one, two = make_site(), make_site(url_prefix="/me/devices", tokens_prefix="/me/tokens")
    one.person().get(AT)
    person = two.person()
    person.get("/me/devices")
    person.get("/me/tokens")
    person.get(AT, 404)


def test_it_stands_below_whatever_the_app_stands_below(make_site: MakeSite) -> None:
    """A server that mounts the app under a path: every address has it."""
    site = make_site()
    here, below = site.person(), {"SCRIPT_NAME": "/app"}
    page = here.client.get(AT, headers=HTML, environ_overrides=below).text
    addresses = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
    assert len(addresses) > 5
    assert all(one.startswith("/app/") for one in addresses)
    ended = here.client.post(f"{AT}/{here.id}/end", headers=HTML, environ_overrides=below)
    assert ended.location == "/app/"


# -- the store is in trouble -------------------------------------------------------------


def test_a_store_in_trouble_is_a_503(make_site: MakeSite) -> None:
    """Neither an empty list nor an error of ours; and what was not ended is not said to be."""
    site = make_site()
    store = watch(site.app)
    here, other = site.person(), site.person()
    here.get(AT)
    store.cut_off()
    for path in (AT, f"{AT}/tokens"):
        here.get(path, 503)
    here.post(f"{AT}/{other.id}/end", 503)
    here.post(f"{AT}/end-everything", 503, api_tokens="1")
    store.mend()
    assert other.is_logged_in
    assert here.is_logged_in


def test_a_new_tokens_text_is_shown_though_the_list_cannot_be(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made, and this is the only answer that has it."""
    site = make_site()
    here = site.person()

    def cut_off(*args: object) -> None:
        raise StoreUnavailable("the line was cut")

    monkeypatch.setattr(devices_tokens.TokenList, "of_current_user", cut_off)
    assert "ctk_1." in here.post(f"{AT}/tokens", 201, name="robot")
    here.get(f"{AT}/tokens", 503)


def test_who_will_be_asked_first_is_told_before(make_site: MakeSite, clock: ManualClock) -> None:
    """Not behind the click alone; and not whoever has just logged in."""
    site = make_site()
    here = site.person()
    assert "asked to log in again" not in here.get(AT) + here.get(f"{AT}/tokens")
    clock.advance(3601)
    site.authority.follower().step()
    for path in (AT, f"{AT}/tokens"):
        assert "you will be asked to log in again" in here.get(path)
