"""A user's own devices on two nodes of whichever store."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from tests.waiting import wait_until

from .parts import AT, Site


def a_user_ends_what_is_theirs(folder: Path, url: str, realm: str = "default") -> None:
    """Listed on either node; ended on one, over on the other before the page is back."""
    with ExitStack() as closing:
        sites = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            settings = {"STORE": url, "REALM": realm, "KEEP_ADDRESS": True}
            sites.append(Site(folder / name, None, {}, **settings))
            closing.callback(sites[-1].authority.close)
        here, there = sites
        alice = here.person("alice", device="Kitchen")
        other = there.person("alice", device="Old telephone")
        stranger = there.person("bob")
        wait_until(lambda: there.authority.readiness().fresh)
        page = alice.get(AT)
        assert len(re.findall(r"<li\b", page)) == 2
        assert "Old telephone" in page
        assert "127.0.0.0/24" in page

        assert alice.post(f"{AT}/{stranger.id}/end", 404)
        assert alice.post(f"{AT}/{other.id}/end") == f"{AT}?said=ended"
        assert (other.is_logged_in, stranger.is_logged_in) == (False, True)

        made = alice.post(f"{AT}/tokens", 201, name="nightly backup")
        (text,) = re.findall(r'id="text"[^>]*>([^<]+)<', made)
        bearer = {"Authorization": f"Bearer {text}"}
        assert there.app.test_client().get("/me", headers=bearer).text == "alice"
        assert "nightly backup" in alice.get(f"{AT}/tokens")

        third = there.person("alice")
        assert alice.post(f"{AT}/end-others") == f"{AT}?said=others-ended"
        assert (alice.is_logged_in, third.is_logged_in) == (True, False)
        assert alice.post(f"{AT}/end-everything", api_tokens="1") == "/"
        wait_until(lambda: not alice.is_logged_in)
        wait_until(lambda: there.app.test_client().get("/me", headers=bearer).status_code == 401)
        assert stranger.is_logged_in
