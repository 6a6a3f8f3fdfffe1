"""A PostgreSQL primary with streaming standbys, promoted by whoever tests."""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers.postgresql import APP, Server
from tests.waiting import wait_until


class Replicated:
    """Some servers: the first one leads, the others follow it.

    PostgreSQL promotes nobody by itself. A test does it, as a manager would or as none should.
    """

    def __init__(
        self, standbys: int = 1, *, synchronous: int = 0, settings: Mapping[str, str] = {}
    ) -> None:
        """*synchronous*: how many standbys have to have each commit (0: none is waited for)."""
        self.synchronous = synchronous
        self.servers = [Server(settings) for _ in range(1 + standbys)]
        self._leads = self.servers[0]

    @property
    def url(self) -> str:
        """With every host in it, and the wish for one that takes writes."""
        return self.url_of(*(one.port for one in self.servers))

    @staticmethod
    def url_of(*ports: int) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"postgresql://{APP}@{hosts}/{APP}?target_session_attrs=read-write"

    def start(self) -> None:
        first, *others = self.servers
        first.start()
        for one in others:
            self.follow(one, first)
        if self.synchronous:
            first.configure(synchronous_standby_names=self.quorum)

    @property
    def quorum(self) -> str:
        # (Names, for "*" would take in a base backup that is just being made.)
        names = ", ".join(f"s{number}" for number in range(len(self.servers)))
        return f"ANY {self.synchronous} ({names})"

    def follow(self, one: Server, primary: Server) -> None:
        """Make *one* a new standby of *primary*, whatever it was; returns once it follows."""
        one.thaw()
        one.kill()
        name = f"s{self.servers.index(one)}"
        one.copy_of(primary, name)
        one.settings.pop("synchronous_standby_names", None)
        one.start()
        self.wait_follows(name, primary)

    @staticmethod
    def wait_follows(name: str, primary: Server) -> None:
        text = "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = %s"
        wait_until(lambda: primary.sql(text, name, "streaming"), 30)

    def primary(self) -> Server:
        return self._leads

    def leader(self) -> Server:
        """The server that leads now."""
        return self._leads

    def promote(self, one: Server) -> Server:
        """Let *one* lead, and wait for nobody until somebody follows it. Returns the old one.

        The old one is not told: where it still runs, it goes on.
        """
        old, self._leads = self._leads, one
        one.promote()
        return old

    def stop(self) -> None:
        for one in self.servers:
            one.__exit__()

    def __enter__(self) -> Replicated:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
