"""However many forged messages wait for keys, a genuine log-out finds a place."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from flask_clustertoken.extension import state_of
from flask_clustertoken.oidc import deadline, reception
from tests.keycloak.app import configuration, create_app
from tests.keycloak.issuer import Issuer
from tests.waiting import wait_until

PLACES = 4


def waiting() -> int:
    return sum(one.name == "clustertoken-message" for one in threading.enumerate())


@pytest.mark.parametrize("name", ["k_logout", "backchannel-logout"])
def test_forged_messages_take_no_place_of_a_genuine_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Keycloak's list of keys is slow, and each forged message waits for it: what a key at hand
    has signed waits for none of that."""
    monkeypatch.setattr(deadline, "MESSAGES_AT_ONCE", PLACES)
    # It is the places that are counted here: a busy machine's seconds are not.
    monkeypatch.setattr(reception, "ANSWER_WITHIN", 60.0)
    stranger = RSAKey.generate_key(2048, {"kid": "nobody"})
    with Issuer() as issuer:
        app = create_app(configuration(issuer.url, "app", store=f"directory://{tmp_path}/shared"))

        def send(**key: Any) -> int:
            admin = name == "k_logout"
            claims = issuer.admin_message() if admin else issuer.logout_token()
            text = issuer.sign(claims, **key)
            data: Any = text if admin else {"logout_token": text}
            return app.test_client().post(f"/keycloak/{name}", data=data).status_code

        assert send() == 200  # from here on the keys are at hand
        usual, gate = issuer.certs, threading.Event()
        issuer.certs = lambda request: (gate.wait(20), usual(request))[1]
        with ThreadPoolExecutor(2 * PLACES) as pool:
            forged = [pool.submit(send, key=stranger) for _ in range(2 * PLACES)]
            wait_until(lambda: waiting() >= PLACES, 60)

            assert send() == 200

            gate.set()
            assert all(one.result() in (400, 403, 503) for one in forged)
        wait_until(lambda: waiting() == 0, 60)
        state_of(app).authority.close()
