"""Pages: in the reader's language, in the app's frame, block by block the app's own, and strict."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import flask_babel
import pytest
from babel.messages.catalog import Catalog as Written
from babel.messages.mofile import write_mo
from flask_wtf import CSRFProtect

import flask_clustertoken.console as room
from flask_clustertoken.console.texts import Catalog, Texts
from flask_clustertoken.console.words import away, device_words, last_used, machine, moment_words

from .parts import AT, HTML, MakeSite

ROOM = Path(room.__file__).parent
HOUR, DAY = 3600, 86_400


def language(page: str) -> str:
    found = re.search(r'<html lang="([^"]+)" dir="(\w+)">', page)
    assert found is not None
    return f"{found[1]} {found[2]}"


# -- language ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answered", "heading"),
    [
        ("de", "de ltr", "Ihre Geräte"),
        ("de-AT,de;q=0.8,en;q=0.5", "de ltr", "Ihre Geräte"),
        ("en-GB,de;q=0.5", "en ltr", "Your devices"),
        ("fr", "en ltr", "Your devices"),
        ("", "en ltr", "Your devices"),
        ("../../etc", "en ltr", "Your devices"),
        ("*", "en ltr", "Your devices"),
    ],
)
def test_the_browsers_language_counts(
    make_site: MakeSite, asked: str, answered: str, heading: str
) -> None:
    """English where there is no better one; and a cache is told that it depends on that."""
    here = make_site().person()
    answer = here.client.get(AT, headers={**HTML, "Accept-Language": asked})
    assert language(answer.text) == answered
    assert f"<h1>{heading}</h1>" in answer.text
    assert "Accept-Language" in answer.headers["Vary"]


def test_an_app_says_which_language(make_site: MakeSite) -> None:
    """One for all, or asked for each request; an unknown one is English."""
    german = {"Accept-Language": "de"}
    assert "Your devices" in make_site(language="en").person().get(AT, **german)
    said = ["de"]
    here = make_site(language=lambda: said[0]).person()
    assert "Ihre Geräte" in here.get(AT)
    for unknown in ("xx", "", "../de", "de/../../x"):
        said[0] = unknown
        assert "Your devices" in here.get(AT)


def test_with_flask_babel_its_language_counts(make_site: MakeSite) -> None:
    """Whatever the browser asks for; and its other languages are English here."""
    site = make_site()
    chosen = ["de_CH"]
    flask_babel.Babel(site.app, locale_selector=lambda: chosen[0])
    here = site.person()
    assert language(here.get(AT, **{"Accept-Language": "en"})) == "de ltr"
    chosen[0] = "fr"
    assert language(here.get(AT)) == "en ltr"


def add_catalog(folder: Path, language: str, texts: dict[str, str]) -> None:
    catalog = Written(locale=language)
    for text, translation in texts.items():
        catalog.add(text, translation)
    path = folder / language / "LC_MESSAGES" / "clustertoken.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, catalog)


def test_an_app_adds_a_language_and_changes_a_sentence(make_site: MakeSite) -> None:
    """With catalogs in its own folder; what they lack is ours, or English. Hebrew is read from
    the right."""
    site = make_site()
    folder = Path(site.app.root_path) / "translations"
    add_catalog(folder, "he", {"Your devices": "המכשירים שלך"})
    add_catalog(folder, "de", {"Your devices": "Deine Geräte"})
    here = site.person()
    hebrew = here.get(AT, **{"Accept-Language": "he"})
    assert language(hebrew) == "he rtl"
    assert "<h1>המכשירים שלך</h1>" in hebrew
    assert "Log out all other devices" in hebrew or "nowhere else" in hebrew
    german = here.get(AT, **{"Accept-Language": "de"})
    assert "<h1>Deine Geräte</h1>" in german
    assert "Sie sind angemeldet als" in german


def german() -> Catalog:
    return Texts([], "de").catalog()


def test_times_and_devices_are_said_as_people_say_them() -> None:
    """In both languages; and an app's own name of a device is left alone."""
    now, english, germans = 10_000_000.0, Texts([], "en").catalog(), german()
    said = [
        (0, "just now", "gerade eben"),
        (-59, "just now", "gerade eben"),
        (-60, "1 minute ago", "vor 1 Minute"),
        (-2 * HOUR, "2 hours ago", "vor 2 Stunden"),
        (-DAY, "1 day ago", "vor 1 Tag"),
        (30, "in 1 minute", "in 1 Minute"),
        (7 * DAY - 5, "in 7 days", "in 7 Tagen"),
    ]
    for apart, in_english, in_german in said:
        assert away(now + apart, now, english) == in_english
        assert away(now + apart, now, germans) == in_german
    assert last_used(now - HOUR, now, DAY, germans) == "innerhalb der letzten 24 Stunden"
    assert last_used(now - HOUR, now, HOUR, english) == "within the last hour"
    assert last_used(now - HOUR, now, 7 * DAY, english) == "within the last 7 days"
    assert last_used(now - 3 * DAY, now, DAY, english) == "3 days ago"
    assert device_words("Firefox on Windows", germans) == "Firefox unter Windows"
    assert device_words("Kitchen on the 2nd floor", germans) == "Kitchen on the 2nd floor"
    assert device_words("", germans) == "Unbekanntes Gerät"
    at = datetime(2026, 2, 3, 4, 5, tzinfo=timezone.utc).timestamp()
    assert moment_words(at) == "2026-02-03 04:05 UTC"
    assert machine(at).startswith("2026-02-03T04:05")
    # What no calendar has a day for is a number, and no error.
    for far in (at * 1000, 1e300, float("inf")):
        assert moment_words(far) == f"{far:.0f}"
        assert machine(far) == ""


# -- the app's own looks -----------------------------------------------------------------


def write(site: Any, name: str, text: str) -> None:
    path = Path(site.app.root_path) / "templates" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


OWN_FRAME = (
    "<!doctype html><html lang=en><head><title>{% block title %}{% endblock %} · Acme</title>"
    "{% block head %}{% endblock %}</head><body><p>Acme</p>{% block content %}{% endblock %}"
)


@pytest.mark.parametrize(
    ("name", "given"),
    [("acme.html", {"base": "acme.html"}), ("clustertoken/base.html", {})],
)
def test_the_pages_stand_in_the_apps_own_frame(
    make_site: MakeSite, name: str, given: dict[str, str]
) -> None:
    """Named, or found where it is looked for: with title, style and content."""
    site = make_site(**given)
    write(site, name, OWN_FRAME)
    page = site.person().get(AT)
    assert "<title>Your devices · Acme</title>" in page
    assert "<p>Acme</p>" in page
    assert "clustertoken.css" in page
    assert "<h1>Your devices</h1>" in page
    assert "ct-page" not in page


def test_an_app_overrides_a_page_block_by_block(make_site: MakeSite) -> None:
    """Its template extends ours, and says the rest itself."""
    site = make_site()
    write(
        site,
        "clustertoken/devices/logins.html",
        '{% extends "clustertoken/default/devices/logins.html" %}'
        "{% block acts %}<p>Call the office.</p>{% endblock %}",
    )
    page = site.person().get(AT)
    assert "<h1>Your devices</h1>" in page
    assert "<p>Call the office.</p>" in page
    assert "Log out everywhere" not in page


def test_every_class_that_a_page_names_has_a_style() -> None:
    """A class that nothing styles is a leftover, or a style that was forgotten."""
    style = (ROOM / "static" / "clustertoken.css").read_text()
    named = {
        word
        for page in ROOM.rglob("*.html")
        for text in re.findall(r'class="([^"]+)"', page.read_text())
        for word in re.findall(r"ct-[\w-]+", text)
    }
    assert len(named) > 10
    assert {word for word in named if not re.search(rf"\.{word}\b", style)} == set()


# -- strict ------------------------------------------------------------------------------


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(make_site: MakeSite) -> None:
    """The policy allows our own two files; no page has a script, a style or a handler in it."""
    here = make_site().person()
    for path in (AT, f"{AT}/tokens"):
        answer = here.client.get(path, headers=HTML)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", answer.text)
        for file in re.findall(r'(?:href|src)="([^"]+\.(?:css|js)[^"]*)"', answer.text):
            with here.client.get(file) as found:
                assert found.status_code == 200


def test_a_policy_may_be_the_apps(make_site: MakeSite) -> None:
    """Another one for these pages, or none, and what the app sets itself stays."""
    other = make_site(policy="default-src 'self'").person().client.get(AT)
    assert other.headers["Content-Security-Policy"] == "default-src 'self'"
    assert "Content-Security-Policy" not in make_site(policy=None).person().client.get(AT).headers


def test_flask_wtfs_protection_stands_beside_it(make_site: MakeSite) -> None:
    """An app that has it need not except these pages: each form has the field."""
    site = make_site()
    site.app.secret_key = "a secret of these tests"
    CSRFProtect(site.app).exempt(site.app.view_functions["login"])
    here = site.person()
    assert here.client.post(f"{AT}/end-others", headers=HTML).status_code == 400
    page = here.get(AT) + here.get(f"{AT}/tokens")
    fields = re.findall(r'name="csrf_token" value="([^"]+)"', page)
    assert len(fields) == page.count("<form")
    assert here.post(f"{AT}/end-others", csrf_token=fields[0]) == f"{AT}?said=others-ended"
