"""A node in a process of its own, which does what it is told line by line.

``python -m tests.binding.process URL REALM TOKEN_STORE``: each line is JSON that says what to
``do``, and is answered by one that says what came of it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import AlreadyBound, StoreUnavailable
from flask_clustertoken.settings import Settings
from flask_clustertoken.tokens import Token
from tests.gunicorn.ways import SECRET


def settings(url: str, realm: str, token_store: str) -> Settings:
    """Those of every node of these tests."""
    given = {"STORE": url, "REALM": realm, "TOKEN_STORE": token_store, "SECRET": SECRET}
    given["DEVICE_BOUND"] = "offer"
    return Settings.from_mapping({f"CLUSTERTOKEN_{name}": one for name, one in given.items()})


def login(node: TokenAuthority, subject: str) -> Any:
    return {"text": node.issue_login(subject).text}


def bind(node: TokenAuthority, text: str, key: str) -> Any:
    token = node.authenticate(text)
    assert isinstance(token, Token), token
    try:
        issued = node.bind(token, key)
    except AlreadyBound:
        return {"bound": False}
    return {"bound": True, "text": issued.text, "proof": node.proving.proof(issued.token)[0]}


def judge(node: TokenAuthority, text: str, proofs: list[str]) -> Any:
    found = node.authenticate(text, proofs=proofs)
    return {"said": "accepted" if found else found.reason}


def listed(node: TokenAuthority, subject: str) -> Any:
    return {"bound": sorted(one.bound for one in node.tokens_of(subject))}


def end(node: TokenAuthority, subject: str) -> Any:
    node.revoke_subject(subject)
    return {}


def main() -> None:
    url, realm, token_store = sys.argv[1:]
    node = TokenAuthority(settings(url, realm, token_store))
    node.follower()
    calls = {one.__name__: one for one in (login, bind, judge, listed, end)}
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said = calls[asked.pop("do")](node, **asked)
        except StoreUnavailable as error:
            # (A busy machine: this node could not vouch for itself in time.)
            said = {"trouble": str(error)}
        print(json.dumps(said), flush=True)
    node.close()


if __name__ == "__main__":
    main()
