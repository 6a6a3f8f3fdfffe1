"""A real ZooKeeper ensemble on loopback, whose servers can be killed and frozen."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.servers.ports import spare_ports
from tests.servers.running import CannotRun as CannotRun
from tests.servers.running import Running
from tests.waiting import came_true

_POM = Path(__file__).with_name("pom.xml")
_VERSION = "3.9.5"


def cache_folder() -> Path:
    """Where fetched servers are kept from run to run."""
    chosen = os.environ.get("CLUSTERTOKEN_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "flask-clustertoken-tests"


@contextlib.contextmanager
def fetching() -> Iterator[Path]:
    """The folder of :func:`cache_folder`, for one process at a time: Maven's own store of what it
    has fetched is made for one, and stages that run side by side begin with it all at once."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def jars() -> Path:
    """The folder with ZooKeeper's jars, fetched by Maven the first time."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise CannotRun(f"the ZooKeeper tests need the program {program!r}, which is not here")
    folder = cache_folder() / f"zookeeper-{_VERSION}"
    if (folder / f"zookeeper-{_VERSION}.jar").exists():
        return folder
    # Copied beside and renamed, so that two runs at once never see half of it.
    with fetching() as parent, tempfile.TemporaryDirectory(dir=parent) as beside:
        if folder.exists():
            return folder
        target = Path(beside, "jars")
        command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
        done = subprocess.run(
            [*command, f"-DoutputDirectory={target}"],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise CannotRun(f"Maven could not fetch ZooKeeper: {done.stdout[-500:]}")
        try:
            target.rename(folder)
        except OSError:
            if not (folder / f"zookeeper-{_VERSION}.jar").exists():
                raise
    return folder


def _end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """In the child: ask Linux to kill it should the test run itself be killed."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


#: Starts soon and takes little memory.
SMALL = ("-Xmx640m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def with_read_classes(java: Sequence[str]) -> Sequence[str]:
    """*java*, with the classes that a server loads as they are in memory, made the first time.

    That is half of what a start costs, and tests start a hundred. (JEP 350, Java 13 and later; with
    an older one, and with one that finds the file to be another one's, it is as without.)
    """
    program = Path(shutil.which("java") or "java").resolve()
    archive = jars() / f"classes-{program.stat().st_mtime:.0f}.jsa"
    with contextlib.suppress(CannotRun, OSError, subprocess.TimeoutExpired):
        if not archive.exists():
            with fetching() as parent, tempfile.TemporaryDirectory(dir=parent) as beside:
                made = Path(beside, "classes.jsa")
                with Ensemble(1, java=[*java, f"-XX:ArchiveClassesAtExit={made}"]) as once:
                    once.servers[0].terminate()
                made.replace(archive)
        return [*java, f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error"]
    return java


class Server:
    """One server of an ensemble: a folder, a port and, while it runs, a process."""

    def __init__(
        self, folder: Path, number: int, port: int, classpath: str, java: Sequence[str]
    ) -> None:
        self.folder = folder
        self.number = number
        self.port = port
        self._classpath = classpath
        self._java = java
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.running:
            return
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "java",
                    *self._java,
                    f"-Dlogback.configurationFile={self.folder.parent / 'logback.xml'}",
                    "-cp",
                    self._classpath,
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                    str(self.folder / "zoo.cfg"),
                ],
                stdin=subprocess.DEVNULL,
                preexec_fn=_end_with_parent,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does; its connections stay open."""
        self._signal(signal.SIGSTOP)
        self._frozen = True

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._frozen = False

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        self._frozen = False
        if self._process is not None:
            self._process.wait(10)
            self._process = None

    def terminate(self, deadline: float = 60.0) -> None:
        """Let it end by itself."""
        self._signal(signal.SIGTERM)
        if self._process is not None:
            self._process.wait(deadline)
            self._process = None

    def say(self, word: str, timeout: float = 1.0) -> str:
        """The answer to a four-letter word; nothing if there is none."""
        answer = b""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout) as line:
                line.sendall(word.encode())
                while chunk := line.recv(4096):
                    answer += chunk
        except OSError:
            return ""
        return answer.decode()

    def unread(self) -> int:
        """Bytes that clients have sent and it has not read: what waits for a frozen one."""
        total = 0
        # (Java's sockets are of the newer family, also on 127.0.0.1.)
        for table in ("tcp", "tcp6"):
            for row in Path("/proc/net", table).read_text().splitlines()[1:]:
                _, local, _, _, queues, *_ = row.split()
                if local.endswith(f":{self.port:04X}"):
                    total += int(queues.partition(":")[2], 16)
        return total

    @property
    def mode(self) -> str:
        """``leader``, ``follower``, ``standalone``, or nothing while it does not serve."""
        for row in self.say("srvr").splitlines():
            if row.startswith("Mode: "):
                return row[6:]
        return ""

    def tail_of_log(self) -> str:
        try:
            return (self.folder / "log").read_text(errors="replace")[-1500:]
        except OSError:
            return ""


_LOGBACK = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d %-5level %logger{0} %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""


class Ensemble(Running):
    """Some servers that elect a leader. Use it with ``with``; whatever was started is ended."""

    def __init__(
        self, size: int = 3, *, settings: Sequence[str] = (), java: Sequence[str] = ()
    ) -> None:
        """*settings* are further lines for every server's ``zoo.cfg``; the last of a name counts.

        *java* is how the machine that it runs on is to be, if not small.
        """
        java = java or with_read_classes(SMALL)
        classpath = f"{jars()}/*"
        self._folder = Path(tempfile.mkdtemp(prefix="clustertoken-zk-"))
        ports = spare_ports(3 * size)
        clients, peers, elections = ports[:size], ports[size : 2 * size], ports[2 * size :]
        members = [
            f"server.{number}=127.0.0.1:{peer}:{election}"
            for number, (peer, election) in enumerate(zip(peers, elections, strict=True), 1)
        ]
        (self._folder / "logback.xml").write_text(_LOGBACK)
        self.servers: list[Server] = []
        for number, port in enumerate(clients, 1):
            folder = self._folder / str(number)
            folder.mkdir()
            (folder / "myid").write_text(str(number))
            lines = [
                "tickTime=500",
                "initLimit=20",
                "syncLimit=10",
                "admin.enableServer=false",
                "4lw.commands.whitelist=*",
                "maxClientCnxns=0",
                f"dataDir={folder}",
                f"clientPort={port}",
                "clientPortAddress=127.0.0.1",
                *(members if size > 1 else []),
                *settings,
            ]
            (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
            self.servers.append(Server(folder, number, port, classpath, java))

    @property
    def addresses(self) -> str:
        """``host:port,host:port``."""
        return ",".join(server.address for server in self.servers)

    def url(self, root: str) -> str:
        return f"zookeeper://{self.addresses}{root}"

    def start(self, deadline: float = 180.0) -> None:
        """Start what does not run, and wait until all serve."""
        for server in self.servers:
            server.start()
        self.wait_ready(deadline)

    def wait_ready(self, deadline: float = 60.0) -> None:
        """Thaw and wait until every server serves with one leader among them."""
        for server in self.servers:
            server.thaw()

        def ready() -> bool:
            for server in self.servers:
                if not server.running:
                    raise CannotRun(f"ZooKeeper server ended: {server.tail_of_log()}")
            modes = [server.mode for server in self.servers]
            return all(modes) and (len(modes) == 1 or modes.count("leader") == 1)

        if not came_true(ready, deadline):
            logs = "\n".join(server.tail_of_log() for server in self.servers)
            raise CannotRun(f"the ensemble was not ready within {deadline:g} s:\n{logs}")

    def leader(self, deadline: float = 30.0) -> Server:
        """The server that leads now."""
        found: list[Server] = []

        def look() -> bool:
            found[:] = [one for one in self.servers if one.mode in ("leader", "standalone")]
            return bool(found)

        if not came_true(look, deadline):
            raise CannotRun(f"no leader within {deadline:g} s")
        return found[0]

    def stop(self) -> None:
        """End every server and remove what they wrote."""
        for server in self.servers:
            server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
