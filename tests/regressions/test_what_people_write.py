"""What people write into settings, files, addresses and calls, each held down here by its name.

W1 a time without a zone, W2 one key by two ways, W3 several keys with commas between them, W4
environment values that JSON made numbers, W5 a subject or a name that is none, W6 servers
between semicolons and schemes in capitals, W7 comments in a key file, W8 a blank in a URL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_clustertoken import ClusterTokenMiddleware
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.extension import state_of
from flask_clustertoken.keycloak.values import read_url
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.zookeeper.address import parse_address
from flask_clustertoken.tokens import KeyFile, fingerprint
from tests.extension.parts import MakeApp

KEY, OTHER = "k" * 40, "o" * 40

# -- W1 --------------------------------------------------------------------------------


@pytest.fixture(params=["Asia/Kolkata", "America/New_York", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine's own time zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("off", [-7200, 0, 7200])
def test_w1_a_datetime_without_a_zone_is_refused(
    make_app: MakeApp, clock: ManualClock, off: int
) -> None:
    """East of Greenwich it revoked hours too little, in silence; the error names the remedy."""
    app, tokens = make_app()
    authority = state_of(app).authority
    aware = datetime.fromtimestamp(clock.time() + off, timezone.utc)
    calls: list[Callable[[], object]] = [
        lambda: tokens.not_before(aware.replace(tzinfo=None)),
        lambda: authority.not_before(aware.replace(tzinfo=None)),
        lambda: authority.not_before(aware.replace(tzinfo=None), ahead=True),
        lambda: tokens.login("alice", authenticated_at=aware.replace(tzinfo=None)),
        lambda: authority.issue_login("alice", authenticated_at=aware.replace(tzinfo=None)),
    ]
    head = authority.begin()

    for call in calls:
        with (
            app.test_request_context(method="POST"),
            pytest.raises(ValueError, match=r"time zone.*timezone\.utc"),
        ):
            call()

    assert authority.begin() == head
    assert not list(authority.tokens_of("alice"))


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("zone_of_it", [timezone.utc, timezone(timedelta(hours=9))])
def test_w1_a_datetime_with_its_zone_means_one_moment(
    make_app: MakeApp, clock: ManualClock, zone_of_it: timezone
) -> None:
    """Whichever zone that is, and wherever the machine stands."""
    app, tokens = make_app()
    authority = state_of(app).authority
    old = authority.issue_login("alice")
    clock.advance(100)
    with app.test_request_context(method="POST"):
        when = datetime.fromtimestamp(clock.time() - 50, zone_of_it)
        assert tokens.login("bob", authenticated_at=when).authenticated_at == int(clock.time() - 50)
        tokens.not_before(when)

    assert not authority.authenticate(old.text)
    assert authority.authenticate(authority.issue_login("alice").text)


# -- W2 and W3 -------------------------------------------------------------------------


def in_file(folder: Path, raw: bytes) -> list[str]:
    path = folder / "keys"
    path.write_bytes(raw)
    return [fingerprint(one) for one in KeyFile(path).read()]


def in_setting(value: Any) -> list[str]:
    return [
        fingerprint(one) for one in Settings.from_mapping({"CLUSTERTOKEN_SECRET": value}).secret
    ]


@pytest.mark.parametrize("around", ["{}", "{}\n", "{}\r\n", "  {} \n", "{}\u00a0\n", "\t{}"])
@pytest.mark.parametrize("spell", [str, str.encode, lambda text: [text]])
def test_w2_a_key_is_the_same_by_setting_and_by_file(
    tmp_path: Path, around: str, spell: Any
) -> None:
    """A mounted secret brings a line's end along: no node accepted what another one signed."""
    written = around.format(KEY)

    assert in_setting(spell(written)) == in_file(tmp_path, written.encode()) == [fingerprint(KEY)]


def test_w2_a_mark_of_the_byte_order_is_no_part_of_a_key(tmp_path: Path) -> None:
    """Windows' editors begin a text with one."""
    assert in_file(tmp_path, b"\xef\xbb\xbf" + KEY.encode()) == [fingerprint(KEY)]


@pytest.mark.parametrize(
    "wrong",
    [
        f"{KEY}\n{OTHER}",
        f"{KEY}\u200b",
        f"{KEY[:20]}\0{KEY}",
        "x" * 1025,
        b"\xff\xfe" + KEY.encode(),
        [KEY, f"{KEY}\n"],
        ["short\n\n\n\n\n\n\n"],
    ],
)
def test_w2_a_key_that_no_file_could_hold_is_refused_unseen(wrong: Any) -> None:
    """Half of it would be signed with, or something that nobody can see; it is never shown."""
    with pytest.raises(ConfigurationError, match="CLUSTERTOKEN_SECRET") as caught:
        in_setting(wrong)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize("row", [f"{KEY},{OTHER}", f"{KEY}, {OTHER}\n", f"{KEY},{OTHER},{'z' * 8}"])
def test_w3_several_keys_with_commas_between_them_are_not_taken_for_one(row: str) -> None:
    """The remedy is a list; whoever means one key with a comma writes a list of one."""
    with pytest.raises(ConfigurationError, match='list: \\["one", "two"\\]') as caught:
        in_setting(row)
    assert KEY not in str(caught.value)
    assert in_setting([row.strip()]) == [fingerprint(row.strip())]
    assert in_setting([KEY, OTHER]) == [fingerprint(KEY), fingerprint(OTHER)]


@pytest.mark.parametrize("key", ["a sentence, which is long enough", "x,short" + KEY, KEY + ","])
def test_w3_a_key_may_have_a_comma_in_it(key: str) -> None:
    """Where the pieces are no keys by themselves."""
    assert in_setting(key) == [fingerprint(key)]


# -- W4 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("SECRET", "1234567890123456"),
        ("SECRET", "1e100"),
        ("SECRET", f'["{KEY}", 5]'),
        ("SECRET", "true"),
        ("REALM", "2024"),
        ("DEPLOYMENT", "7"),
        ("COOKIE_NAME", "1"),
        ("LOGIN_VIEW", "null"),
        ("API_PREFIX", "12"),
        ("EXPECTED_NODES", "5"),
        ("EXPECTED_NODES", '["web1", 2]'),
        ("COOKIE_SAMESITE", "null"),
    ],
)
def test_w4_what_json_made_of_a_text_is_explained(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str
) -> None:
    """Flask reads environment values as JSON: a text of digits has to stand in double quotes."""
    monkeypatch.setenv(f"FLASK_CLUSTERTOKEN_{name}", written)
    app = Flask("app")
    app.config.from_prefixed_env()

    with pytest.raises(ConfigurationError, match="JSON") as caught:
        Settings.from_mapping(app.config)
    assert f"CLUSTERTOKEN_{name}" in str(caught.value)
    if name == "SECRET":
        assert "1234567890123456" not in str(caught.value)
        assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("COOKIE_SECURE", "False", "true or false"),
        ("COOKIE_SECURE", "0", "true or false"),
        ("LIFETIME", "7d", "without a unit"),
    ],
)
def test_w4_what_is_no_json_is_explained(name: str, written: str, said: str) -> None:
    """``False`` is Python's word and not JSON's; a unit is the command line's."""
    with pytest.raises(ConfigurationError, match=said):
        Settings.from_mapping({f"CLUSTERTOKEN_{name}": written})


# -- W5 --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [42, None, b"alice", "", "\ud800", "x" * 1025])
def test_w5_what_is_no_subject_has_no_tokens(make_app: MakeApp, wrong: Any) -> None:
    """It is said at once, and where the call stands, not where the list is read."""
    app, tokens = make_app()
    with app.app_context(), pytest.raises((TypeError, ValueError), match="a subject"):
        tokens.tokens_of(wrong)
    with pytest.raises((TypeError, ValueError), match="a subject"):
        state_of(app).authority.tokens_of(wrong)


@pytest.mark.parametrize("wrong", [42, None, "", "\ud800", "x" * 513])
def test_w5_shared_data_has_names_and_keys_that_can_be_spelled(
    make_app: MakeApp, wrong: Any
) -> None:
    """Half a character is no name: UTF-8 cannot spell it, so no store could keep it."""
    app, tokens = make_app()
    with app.app_context():
        with pytest.raises((TypeError, ValueError), match="name of shared data"):
            tokens.shared(wrong)
        data = tokens.shared("jobs")
        for call in (data.get, data.delete, lambda key: data.set(key, 1)):
            with pytest.raises((TypeError, ValueError), match="key of shared data"):
                call(wrong)
        assert list(data.keys()) == []


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e300, -1, "5", True, timedelta(1)])
def test_w5_a_time_to_live_is_a_number_of_seconds(make_app: MakeApp, wrong: Any) -> None:
    """What never ends, or ended before it began, is said before it is stored."""
    app, tokens = make_app()
    with app.app_context():
        data = tokens.shared("jobs")
        for call in (data.set, data.add):
            with pytest.raises((TypeError, ValueError), match="ttl"):
                call("key", 1, ttl=wrong)
        assert data.get("key") is None


# -- W6 --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("zk1;zk2", "commas"),
        ("zk1:2181;zk2:2181/app", "commas"),
        ("zk1|zk2", "server's name"),
        ("zk1\\zk2", "server's name"),
        ("-zk", "server's name"),
        ("[zk1]:2181", "IPv6"),
        ("[::1;::2]", "commas"),
    ],
)
def test_w6_what_is_no_servers_name_is_refused(servers: str, said: str) -> None:
    """A row between semicolons was one host, which no one could find."""
    with pytest.raises(ConfigurationError, match=said):
        parse_address(f"zookeeper://{servers}")


@pytest.mark.parametrize(
    "host", ["zk1", "zk_1.example", "10.0.0.1", "[::1]:2181", "[fe80::1%eth0]"]
)
def test_w6_a_servers_name_is_taken(host: str) -> None:
    """With underscores, as people name containers, and addresses of both kinds."""
    assert len(parse_address(f"zookeeper://{host}").hosts) == 1


def test_w6_a_scheme_has_no_case(tmp_path: Path) -> None:
    """RFC 3986, 3.1."""
    assert parse_address("ZOOKEEPER://zk1/app").url == "zookeeper://zk1:2181/app"
    for url in (f"DIRECTORY:{tmp_path}", "Memory:"):
        store = open_store(url)
        assert store.url.startswith(store.scheme + ":")
        store.close()
        settings = Settings.from_mapping({"CLUSTERTOKEN_STORE": url})
        assert settings.store.startswith(store.scheme + ":")
    wrapped = ClusterTokenMiddleware(
        lambda environ, start_response: [], store=f"Directory:{tmp_path}/shared"
    )
    assert wrapped.authority.issue_login("alice").text
    wrapped.authority.close()
    assert (tmp_path / "token_secret").exists()


# -- W7 --------------------------------------------------------------------------------


def test_w7_comments_in_a_key_file_stay(tmp_path: Path) -> None:
    """A key that is added or taken out leaves what people wrote between them."""
    path = tmp_path / "keys"
    path.write_text(f"# of 2025\n{KEY}\n\n# of 2026, see the runbook\n{OTHER}\n")
    file = KeyFile(path)

    file.append("n" * 40)
    assert file.remove(fingerprint(KEY))

    assert path.read_text() == (f"# of 2025\n\n# of 2026, see the runbook\n{OTHER}\n{'n' * 40}\n")
    assert file.read() == (OTHER, "n" * 40)
    assert not file.remove(fingerprint("# of 2025"))


# -- W8 --------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u00a0"])
def test_w8_a_blank_around_a_url_is_no_part_of_it(blank: str) -> None:
    """As it comes of copying."""
    assert read_url("auth-server-url", f"{blank}https://kc.example/auth{blank}") == (
        "https://kc.example/auth"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https:// kc.example",
        "https://kc.example/a b",
        "https://kc.ex\tample",
        "https://kc.example:99999",
        "https://[::1",
    ],
)
def test_w8_a_blank_inside_a_url_is_refused(url: str) -> None:
    """So is what no parser can read, with the name of the option and not as a traceback."""
    with pytest.raises(ConfigurationError, match="auth-server-url"):
        read_url("auth-server-url", url)
