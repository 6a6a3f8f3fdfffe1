"""A real Prometheus on loopback that scrapes the servers of a test each second."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun, Running
from tests.servers.zookeeper import _end_with_parent
from tests.waiting import wait_until


def program(name: str) -> str:
    """Where *name* is: ``prometheus`` or ``promtool``."""
    where = shutil.which(name)
    if where is None:
        raise CannotRun(f"these tests need the program {name!r} (Debian: prometheus)")
    return where


class Prometheus(Running):
    """Scrapes *targets* (ports by what they are called) and judges by the rules in *rules*."""

    def __init__(self, folder: Path, targets: Mapping[str, int], rules: Path) -> None:
        self._folder = folder
        self._targets = targets
        self._rules = rules
        self.port = spare_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # (JSON is YAML as well.)
        config = self._folder / "prometheus.yml"
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        scraped = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}
            for name, port in self._targets.items()
        ]
        config.write_text(
            json.dumps(
                {
                    "global": every,
                    "rule_files": [str(self._rules)],
                    "scrape_configs": [{"job_name": "app", "static_configs": scraped}],
                }
            )
        )
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
            )
        wait_until(self._is_ready, 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text()
        with suppress(OSError, HTTPException):
            return self._get("/-/ready")[0] == 200
        return False

    def _get(self, path: str) -> tuple[int, bytes]:
        line = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What *expression* gives now: for each series its labels and its value."""
        status, body = self._get("/api/v1/query?" + urlencode({"query": expression}))
        answer = json.loads(body)
        assert status == 200, answer
        return [
            {**one["metric"], "value": float(one["value"][1])} for one in answer["data"]["result"]
        ]

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, with the instance that each names (``""``: none)."""
        alerts = json.loads(self._get("/api/v1/alerts")[1])["data"]["alerts"]
        return {
            (one["labels"]["alertname"], one["labels"].get("instance", ""))
            for one in alerts
            if one["state"] == "firing"
        }
