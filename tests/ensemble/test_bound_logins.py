"""Device-bound logins on a real ensemble: two nodes that bind one login at once, a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.errors import AlreadyBound
from flask_clustertoken.settings import Settings
from tests.binding.chromium import site, visit
from tests.binding.parts import new_key, spelled
from tests.gunicorn.ways import SECRET
from tests.rounds import rounds
from tests.servers.zookeeper import Ensemble
from tests.waiting import wait_until

pytestmark = pytest.mark.zookeeper


@pytest.fixture(params=["session", "cookie"])
def nodes(
    request: pytest.FixtureRequest, ensemble: Ensemble, zk_root: str
) -> Iterator[list[TokenAuthority]]:
    given = {"STORE": ensemble.url(zk_root), "SECRET": SECRET, "TOKEN_STORE": request.param}
    settings = Settings.from_mapping({f"CLUSTERTOKEN_{name}": one for name, one in given.items()})
    with closing(TokenAuthority(settings)) as one, closing(TokenAuthority(settings)) as two:
        yield [one, two]


def test_of_two_nodes_that_bind_one_login_one_wins(nodes: list[TokenAuthority]) -> None:
    """A record that both would add, in one step with the token, decides it."""
    one, two = nodes
    one.follower(), two.follower()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds(10, 200)):
            issued = one.issue_login("alice")
            wait_until(lambda text=issued.text: two.authenticate(text))

            def bind(node: TokenAuthority, text: str = issued.text) -> bool:
                login = node.authenticate(text)
                assert login
                try:
                    node.bind(login, spelled(new_key()))
                except AlreadyBound:
                    return False
                return True

            assert sorted(pool.map(bind, nodes)) == [False, True]


@pytest.mark.browser
@pytest.mark.gunicorn
def test_a_bound_login_in_a_real_browser(ensemble: Ensemble, zk_root: str, tmp_path: Path) -> None:
    """It registers on one host, works on both, and ends on both at once."""
    with site(tmp_path, {"STORE": ensemble.url(zk_root), "SECRET": SECRET}) as at:
        visit(at, one_clock=False)
