"""The docs' own app and ``keycloak.json``, typed off the page and run against the server."""

from __future__ import annotations

import re
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from tests.keycloak.nodes import ROOT
from tests.keycloak.person import Person
from tests.keycloak.server import Keycloak
from tests.waiting import wait_until

pytestmark = pytest.mark.keycloak

PAGE = ROOT / "docs" / "keycloak.rst"


def block(language: str) -> str:
    """The page's first block in *language*."""
    found = re.search(
        rf"^( *)\.\. code-block:: {language}\n\n((?:\1 +.*\n|\n)+)", PAGE.read_text(), re.M
    )
    assert found is not None, language
    return textwrap.dedent(found[2])


@pytest.fixture
def app(
    server: Keycloak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, str]]:
    """What the page tells to write, in an empty folder, at an address of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEYCLOAK_URL", server.url)
    monkeypatch.setenv("KEYCLOAK_SECRET", "secret")
    (tmp_path / "keycloak.json").write_text(block("json"))
    source = block("python").replace(
        "tokens = ClusterToken(app)",
        "app.config['CLUSTERTOKEN_COOKIE_SECURE'] = False  # plain HTTP\n"
        "tokens = ClusterToken(app)",
    )
    (tmp_path / "app.py").write_text(source)
    names: dict[str, Any] = {"__name__": "app", "__file__": str(tmp_path / "app.py")}
    monkeypatch.syspath_prepend(str(tmp_path))
    import sys
    import types

    module = types.ModuleType("app")
    module.__dict__.update(names)
    monkeypatch.setitem(sys.modules, "app", module)
    exec(compile(source, str(tmp_path / "app.py"), "exec"), module.__dict__)
    made = module.__dict__["app"]
    listening = make_server("127.0.0.1", 0, made, threaded=True)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{listening.server_port}"
    server.make_client(
        "my-app",
        redirectUris=[f"{url}/keycloak/callback"],
        adminUrl=f"{url}/keycloak",
        attributes={
            "backchannel.logout.url": f"{url}/keycloak/backchannel-logout",
            "post.logout.redirect.uris": f"{url}/*",
        },
    )
    yield made, url
    listening.shutdown()
    listening.server_close()
    made.extensions["clustertoken"].authority.close()
    server.remove_client("my-app")


def test_the_page_does_what_it_says(server: Keycloak, app: tuple[Any, str]) -> None:
    """Log in, see the name, roles, the access token; log out there; log out here."""
    _, url = app
    # Other tests of the realm log people in as well, in any order.
    server.log_out("carol")
    person = Person()
    assert person.log_in(url, "alice", "/").text == "Hello Alice Anders"
    assert person.get(f"{url}/editors").status_code == 200
    assert "A token of" in person.get(f"{url}/upstream").text

    server.log_out("alice")

    assert person.get(f"{url}/", headers={"Accept": "application/json"}).status_code == 401
    assert person.log_in(url, "carol", "/").text == "Hello Carol Clark"
    assert person.get(f"{url}/editors").status_code == 403
    person.post(f"{url}/logout")
    wait_until(lambda: server.sessions("carol") == [], 5)
    assert person.get(f"{url}/", headers={"Accept": "application/json"}).status_code == 401
