"""How a ``zookeeper:`` URL and its options are read; no server is needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.stores import open_store
from flask_clustertoken.stores.zookeeper.address import DEFAULT_ROOT, parse_address, parse_options
from flask_clustertoken.stores.zookeeper.codec import escape, key_names, names_key, unescape


def test_a_root_repeated_for_each_server_is_one_root() -> None:
    """kazoo's own parser keeps one server of this and the root ``/pano,zkhost2:2181/pano``."""
    place = parse_address("zookeeper://zkhost1:2181/pano,zkhost2:2181/pano")
    assert place.hosts == (("zkhost1", 2181), ("zkhost2", 2181))
    assert place.root == "/pano"
    assert place.servers == "zkhost1:2181,zkhost2:2181"


@pytest.mark.parametrize(
    ("url", "servers", "root"),
    [
        ("zookeeper://h1:2181,h2:2182/app", "h1:2181,h2:2182", "/app"),
        ("zookeeper://h1,h2:2182/app", "h1:2181,h2:2182", "/app"),
        ("zookeeper://h1/app/", "h1:2181", "/app"),
        ("zookeeper://h1/a/b/c,h2/a/b/c/", "h1:2181,h2:2181", "/a/b/c"),
        ("zookeeper://h1", "h1:2181", DEFAULT_ROOT),
        ("zookeeper://h1,h2/", "h1:2181,h2:2181", DEFAULT_ROOT),
        ("zookeeper://[::1]:2183,[fe80::2]/app", "[::1]:2183,[fe80::2]:2181", "/app"),
        ("zookeeper://h1,h1:2181/app", "h1:2181", "/app"),
    ],
)
def test_both_forms_are_read(url: str, servers: str, root: str) -> None:
    """The port is 2181 unless given; a slash at the end means nothing."""
    place = parse_address(url)
    assert (place.servers, place.root) == (servers, root)
    assert parse_address(place.url) == place


@pytest.mark.parametrize(
    "url",
    [
        "zookeeper:h1:2181/app",
        "zookeeper://",
        "zookeeper:///app",
        "zookeeper://h1,,h2/app",
        "zookeeper://h1,/app",
        "zookeeper://:2181/app",
        "zookeeper://h1:/app",
        "zookeeper://h1:0/app",
        "zookeeper://h1:65536/app",
        "zookeeper://h1:x/app",
        "zookeeper://h1:²/app",
        "zookeeper://::1/app",
        "zookeeper://[::1/app",
        "zookeeper://[]:2181/app",
        "zookeeper://[::1]2181/app",
        "zookeeper://h1/a,h2/b",
        "zookeeper://h1/a,h2",
        "zookeeper://h1/a,h2,h3/a",
        "zookeeper://h1/a,h2/",
        "zookeeper://h1//app",
        "zookeeper://h1/app/../other",
        "zookeeper://h1/zookeeper/app",
        "zookeeper://h1/app?x=1",
        "zookeeper://h1/app#x",
        "zookeeper://h 1/app",
    ],
)
def test_what_is_wrong_names_the_setting_and_a_remedy(url: str) -> None:
    """An ambiguous or broken URL stops the start."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(url)
    assert caught.value.setting == "STORE"
    assert caught.value.remedy


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    """The URL is shown to people; a password belongs into the options."""
    with pytest.raises(ConfigurationError, match="STORE_OPTIONS") as caught:
        parse_address("zookeeper://user:s3cret@h1:2181/app")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"chroot": "/x"}, "chroot"),
        ({"auth": "digest"}, "auth"),
        ({"auth": "digest:user"}, "auth"),
        ({"auth": 7}, "auth"),
        ({"sasl": {}}, "sasl"),
        ({"sasl": "GSSAPI"}, "sasl"),
        ({"acl": "everybody"}, "acl"),
        ({"acl": "creator"}, "acl"),
        ({"tls": "yes"}, "tls"),
        ({"tls": False, "ca": "ca.pem"}, "tls"),
        ({"cert": "c.pem"}, "cert"),
        ({"ca": 5}, "ca"),
        ({"session_timeout": 0}, "session_timeout"),
        ({"session_timeout": True}, "session_timeout"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, object], named: str) -> None:
    """An option that is unknown or contradicts another stops the start."""
    with pytest.raises(ConfigurationError, match=repr(named)) as caught:
        parse_options(options)
    assert caught.value.setting == "STORE_OPTIONS"


def test_who_signs_on_keeps_others_out_by_default() -> None:
    """The access list is the creator's as soon as there is one, else everybody's."""
    assert parse_options({}).acl == "world"
    assert parse_options({"auth": "digest:user:pass"}).acl == "creator"
    assert parse_options({"auth": "digest:user:pass", "acl": "world"}).acl == "world"
    assert parse_options({"cert": "c.pem", "key": "k.pem"}).acl == "creator"


def test_a_file_of_certificates_means_tls() -> None:
    """Naming an authority to trust and connecting in the clear would be a trap."""
    assert parse_options({"ca": "ca.pem"}).tls is True
    assert parse_options({}).tls is False


def test_no_password_is_shown() -> None:
    """Neither by the handle's URL nor by what is printed of its options."""
    store = open_store("zookeeper://h1/app", options={"auth": "digest:user:s3cret"})
    options = parse_options({"auth": "digest:user:s3cret", "sasl": {"mechanism": "s3cret"}})
    assert store.url == "zookeeper://h1:2181/app"
    assert "s3cret" not in repr(options) + store.url + repr(store)


@pytest.mark.parametrize(
    ("missing", "said"),
    [("kazoo", "Flask-ClusterToken[zookeeper]"), ("puresasl", "pip install pure-sasl")],
)
def test_a_missing_package_is_named_with_what_to_install(
    missing: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is connected, in one sentence."""
    monkeypatch.setattr(
        "flask_clustertoken.stores.zookeeper.store.find_spec",
        lambda name: None if name == missing else object(),
    )
    with pytest.raises(ConfigurationError) as caught:
        open_store("zookeeper://h1/app", options={"sasl": {"mechanism": "GSSAPI"}})
    assert said in str(caught.value)


@given(st.text())
def test_any_text_is_one_safe_name(text: str) -> None:
    """A name holds no slash, is no dot, needs no more than ASCII, and is read back."""
    name = escape(text)
    assert name
    assert name.isascii()
    assert not set(name) & set("/.\x00 =")
    assert unescape(name) == text


@given(st.text(alphabet="ab/.%=é", max_size=12), st.text(alphabet="ab/.%=é", max_size=12))
def test_keys_are_kept_apart(one: str, other: str) -> None:
    """Two keys share a path only if they are the same, and the path gives the key again."""
    assert names_key(*key_names(one)) == one
    assert (key_names(one) == key_names(other)) is (one == other)
