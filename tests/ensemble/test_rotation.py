"""A new key in stages on two hosts with files of their own, without a restart or a log-out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from flask_clustertoken.tokens import fingerprint, new_secret
from tests.pace import moments
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

from .shell import host, tokens

pytestmark = [pytest.mark.zookeeper, pytest.mark.gunicorn]


def test_a_key_is_changed_on_two_hosts_without_a_restart(
    ensemble: Ensemble, zk_root: str, tmp_path: Path
) -> None:
    """Each stage is refused while it would hurt; nobody is logged out; a late file heals."""
    url = ensemble.url(zk_root)
    first = new_secret()
    files = {name: tmp_path / f"{name}.key" for name in ("red", "blue")}
    for file in files.values():
        file.write_text(first + "\n")
        file.chmod(0o600)
    old = fingerprint(first)
    with (
        host(tmp_path, url, "red", SECRET_FILE=files["red"]) as red,
        host(tmp_path, url, "blue", SECRET_FILE=files["blue"]) as blue,
    ):

        def keys(*words: str, on: str = "red") -> tuple[int, str]:
            said = tokens(url, "keys", *words, key_file=files[on])
            assert first not in said.out + said.err
            return said.code, said.out + said.err

        cookie = red.login()
        made = red.ask("POST", "/api/tokens", cookie=cookie, data={"name": "ci", "scopes": []})
        bearer = made.json["text"]

        code, text = keys("stage")
        assert code == 0, text
        new = fingerprint(files["red"].read_text().split()[-1])

        # Before the copy: refused, with the names of the nodes that lack it.
        code, text = keys("sign", new)
        assert code == 1
        assert all(f":{pid}" in text for pid in blue.pids())
        assert blue.me(cookie).status == 200

        # After it: accepted, once the nodes have looked at their files.
        arrive(files["red"], files["blue"])
        wait_until(lambda: keys("sign", new)[0] == 0, 20)
        assert {red.me(cookie).status, blue.me(cookie).status} == {200}
        wait_until(
            lambda: all(blue.login().split(".")[1] == new for _ in range(4)), 10 + moments(50)
        )
        assert red.me(blue.login()).status == 200

        # A host without the key cannot judge what it signed: 503, the cookie stays.
        newer = blue.login()
        hidden = tmp_path / "hidden"
        shutil.copy2(files["red"], hidden)
        files["red"].write_text(first + "\n")
        wait_until(lambda: all(red.me(newer).status == 503 for _ in range(6)), 20)
        assert red.me(newer).cookie is None
        arrive(hidden, files["red"])
        wait_until(lambda: all(red.me(newer).status == 200 for _ in range(6)), 3)

        # The old key: not before its logins are over, and its API tokens by name.
        code, text = keys("retire", old)
        assert (code, "may be alive" in text) == (1, True), text
        assert red.me(cookie).status == 200
        code, text = keys("drop", new, "--yes")
        assert (code, "is signing" in text) == (1, True), text
        code, text = keys("retire", old, "--force-logout")
        assert (code, "1 alive" in text) == (0, True), text
        wait_until(
            lambda: all(one.me(cookie).status == 401 for one in (red, blue) * 3), 5 + moments(50)
        )
        assert red.ask("GET", "/api/me", bearer=bearer).status == 200
        code, text = keys("drop", old, "--yes")
        assert (code, "1 API token ended" in text) == (0, True), text
        wait_until(
            lambda: all(
                one.ask("GET", "/api/me", bearer=bearer).status == 401 for one in (red, blue) * 3
            ),
            5,
        )
        assert {red.me(newer).status, blue.me(newer).status} == {200}
        assert first not in files["red"].read_text()


def arrive(source: Path, target: Path) -> None:
    """As scp and rename do it: never half a file."""
    draft = target.with_suffix(".draft")
    shutil.copy2(source, draft)
    os.utime(draft)
    os.replace(draft, target)
