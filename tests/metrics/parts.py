"""Parts that the tests of metrics are built from."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from flask_clustertoken import ClusterToken
from flask_clustertoken.clock import Clock
from flask_clustertoken.metrics import Metrics

SECRET = "the secret of these tests, long enough"

#: The values of a scrape by name and labels.
Told = dict[tuple[str, frozenset[tuple[str, str]]], float]


class MeasuredSite:
    """A small app that is counted. A realm of its own: no other test's counts are in its."""

    def __init__(self, clock: Clock | None = None, **settings: object) -> None:
        self.realm = f"realm-{secrets.token_hex(4)}"
        self.app = app = Flask(__name__)
        app.config.update(
            CLUSTERTOKEN_STORE="memory:",
            CLUSTERTOKEN_SECRET=SECRET,
            CLUSTERTOKEN_COOKIE_SECURE=False,
            CLUSTERTOKEN_REALM=self.realm,
        )
        app.config.update({f"CLUSTERTOKEN_{name}": value for name, value in settings.items()})
        self.tokens = ClusterToken(clock=clock)
        self.tokens.init_app(app)
        Metrics(app)

    def told(self) -> Told:
        """What a scrape says of this realm."""
        answer = self.app.test_client().get("/metrics")
        assert answer.status_code == 200
        return told(answer.text, self.realm)

    def value(self, name: str, **labels: str) -> float:
        return self.told()[key(name, labels)]


def key(name: str, labels: Mapping[str, str]) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"clustertoken_{name}", frozenset(labels.items())


def told(text: str, realm: str) -> Told:
    """The samples in *text* that are of *realm*, by their other labels."""
    found: Told = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            if labels.pop("realm", realm) == realm:
                found[sample.name, frozenset(labels.items())] = sample.value
    return found
