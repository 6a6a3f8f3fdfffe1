"""A link from a mail that was answered 403, because a proxy had sent ``Upgrade`` along."""

from __future__ import annotations

import pytest

from tests.extension.parts import MakeApp, cookie, login_text


@pytest.mark.parametrize(
    ("upgrade", "status"),
    [
        (None, 200),
        ("", 200),
        ("h2c", 200),
        ("TLS/1.0, HTTP/2.0", 200),
        ("websocket", 403),
        ("WebSocket", 403),
        ("h2c, websocket/13", 403),
    ],
)
def test_only_the_handshake_of_a_websocket_is_an_unsafe_get(
    make_app: MakeApp, upgrade: str | None, status: int
) -> None:
    """An empty ``Upgrade``, or another protocol's, says nothing of the page that sent it."""
    app, _ = make_app()
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
    if upgrade is not None:
        headers["Upgrade"] = upgrade

    answer = app.test_client().get("/me", headers=headers | cookie(login_text(app)))

    assert answer.status_code == status
