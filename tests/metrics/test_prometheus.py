"""A real Prometheus scrapes two hosts: its alerts fire when one is cut off, and the dashboard
has something to show."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ensemble.proxy import Proxy
from tests.gunicorn.server import GunicornServer
from tests.servers.ports import spare_ports
from tests.servers.prometheus import Prometheus, program
from tests.servers.redis import Server
from tests.servers.running import started
from tests.waiting import next_second, wait_until

pytestmark = [pytest.mark.redis, pytest.mark.gunicorn]

MONITORING = Path(__file__).resolve().parent.parent.parent / "docs" / "monitoring"
RULES = MONITORING / "alerts.yml"
PAGE = MONITORING.parent / "metrics.rst"
SECRET = "one key for every host of the test, long enough"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    yield from started(lambda: Server(tmp_path / "redis", spare_ports(1)[0]))


def soon(rules: Path, folder: Path) -> Path:
    """The rules, with each alert firing at once where it would wait."""
    quick = folder / "alerts.yml"
    quick.write_text(re.sub(r"^( +for:) .*$", r"\1 1s", rules.read_text(), flags=re.MULTILINE))
    return quick


def test_the_rules_are_rules() -> None:
    """Prometheus's own checker finds nothing wrong."""
    said = subprocess.run(
        [program("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_each_alert_has_its_line_in_the_runbook() -> None:
    """Whoever is woken finds what it means and what to do."""
    page = PAGE.read_text()
    alerts = dict(re.findall(r"- alert: (\w+).*?runbook: ([\w-]+)", RULES.read_text(), re.DOTALL))
    assert len(alerts) == RULES.read_text().count("- alert:")
    for alert, line in alerts.items():
        assert f"``{alert}``" in page, alert
        assert f".. _alert-{line}:" in page, line


def test_a_node_that_is_cut_off_is_alarmed_on_and_the_others_are_not(
    redis: Server, tmp_path: Path
) -> None:
    """Two hosts, one of them behind a line that is cut; and every panel has something to show."""
    with closing(Proxy(("127.0.0.1", redis.port))) as line:
        hosts = {}
        for name, port in (("near", redis.port), ("far", line.port)):
            (tmp_path / name).mkdir()
            hosts[name] = GunicornServer(
                tmp_path / name,
                workers=2,
                node=name,
                settings={
                    "STORE": f"redis://127.0.0.1:{port}",
                    "SECRET": SECRET,
                    "MAX_STALENESS": 3,
                },
            )
        with hosts["near"] as near, hosts["far"] as far:
            targets = {name: host.port for name, host in hosts.items()}
            with Prometheus(tmp_path, targets, soon(RULES, tmp_path)) as prometheus:
                wait_until(lambda: len(prometheus.query("clustertoken_fresh == 1")) == 2, 60)
                wait_until(lambda: shows_all(prometheus, near), 30)
                assert ("ClusterTokenStale", "near") not in prometheus.firing()
                line.drop()
                wait_until(lambda: ("ClusterTokenStale", "far") in prometheus.firing(), 60)
                assert far.ask("GET", "/healthz").status == 200
                assert ("ClusterTokenStale", "near") not in prometheus.firing()
                assert prometheus.query('clustertoken_fresh{instance="near"} == 1')
                line.heal()
                wait_until(lambda: ("ClusterTokenStale", "far") not in prometheus.firing(), 60)


def shows_all(prometheus: Prometheus, server: GunicornServer) -> bool:
    """Whether each query of the dashboard gives something, with some life on *server*."""
    cookie = server.login()
    server.me(cookie)
    server.ask("POST", "/logout-everywhere", cookie=cookie)
    server.me(cookie)
    # (It looks once in a second.)
    next_second()
    silent = [one for one in dashboard_queries() if not prometheus.query(one)]
    print("nothing to show:", silent)
    return not silent


def dashboard_queries() -> list[str]:
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(queries) > 10
    filled = {"$realm": ".*", "$__rate_interval": "1m"}
    for name, value in filled.items():
        queries = [one.replace(name, value) for one in queries]
    return queries
