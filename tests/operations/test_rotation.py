"""Keys in stages: nobody is logged out, and what would hurt is refused."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from click.testing import CliRunner

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cli.context import Door
from flask_clustertoken.cli.group import tokens_group
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.operations import Rotation, RotationRefused
from flask_clustertoken.operations.rotation import LEASE
from flask_clustertoken.revocations import BEYOND
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import Shelf
from flask_clustertoken.tokens import RING_KEY, fingerprint, ring_bytes, ring_since, ring_states
from tests.cli.parts import APART, FarStore, Line, MakeLine

WEEK = 7 * 86_400


class Site:
    """Hosts with a key file each, on one shelf; time is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.shelf = Shelf()
        self.nodes: dict[str, TokenAuthority] = {}

    def file(self, host: str) -> Path:
        return self.folder / host / "token_secret"

    def authority(self, host: str, *, active: bool) -> TokenAuthority:
        settings = Settings(store="memory:", secret_file=str(self.file(host)))
        return TokenAuthority(
            settings,
            store=FarStore(self.shelf, clock=self.clock),
            clock=self.clock,
            active=active,
            threaded=False,
        )

    def start(self, host: str) -> TokenAuthority:
        self.nodes[host] = self.authority(host, active=True)
        self.nodes[host].follower()
        return self.nodes[host]

    def rotation(self, host: str = "a") -> Rotation:
        return Rotation(self.authority(host, active=False))

    def copy(self) -> None:
        shutil.copy(self.file("a"), self.file("b"))

    def step(self, seconds: float = 5.0) -> None:
        """Time passes; each node does what is due, and publishes it at its next contact."""
        for part in (seconds, 5.0):
            self.clock.advance(part)
            for node in self.nodes.values():
                node.follower().step()

    def pass_time(self, seconds: float) -> None:
        self.step(seconds)
        self.step()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    for host in "ab":
        (tmp_path / host).mkdir()
    site.file("a").write_text("0123456789" * 4 + "\n")
    site.copy()
    for host in "ab":
        site.start(host)
    return site


def staged(site: Site) -> str:
    """A key that is staged and on both hosts."""
    key_id = site.rotation().stage().key_id
    site.copy()
    site.step()
    return key_id


def test_a_whole_rotation_logs_nobody_out(site: Site) -> None:
    """Stage, copy, sign, retire: logins and API tokens of before are accepted throughout."""
    a, b = site.nodes["a"], site.nodes["b"]
    (old,) = a.keys.held
    login = a.issue_login("alice").text
    api = a.issue_api_token("alice", "robot").text

    def all_fine() -> bool:
        return all(n.authenticate(login) and n.authenticate(api, "api") for n in (a, b))

    new = site.rotation().stage().key_id
    site.step()
    assert all_fine()
    site.copy()
    site.step()
    assert site.rotation().sign(new[:4]) == old
    site.step()
    assert all_fine()
    assert [n.keys.signing()[0] for n in (a, b)] == [new, new]
    later = b.issue_login("bob")
    assert later.token.key_id == new
    assert a.authenticate(later.text)

    site.pass_time(WEEK + BEYOND)
    retired = site.rotation().retire(old)
    site.step()

    assert (retired.state, retired.api_tokens) == ("api", 1)
    assert a.authenticate(api, "api")
    dropped = site.rotation().drop(old)
    site.copy()
    site.step()
    assert (dropped.state, dropped.api_tokens, dropped.removed_here) == ("dropped", 1, True)
    assert not a.authenticate(api, "api")
    assert a.keys.held == b.keys.held == [new]


def test_a_staged_key_is_in_the_file_and_signs_nothing(site: Site) -> None:
    """Staging appends to this host's file, its rights unchanged, and changes no signature."""
    site.file("a").chmod(0o640)
    before = site.nodes["a"].keys.signing()[0]

    made = site.rotation().stage()
    site.step()

    assert fingerprint(site.file("a").read_text().split()[-1]) == made.key_id
    assert stat.S_IMODE(site.file("a").stat().st_mode) == 0o640
    assert site.nodes["a"].keys.signing()[0] == before
    assert made.path == str(site.file("a"))


def test_sign_is_refused_until_every_node_has_the_key(site: Site) -> None:
    """While a live node lacks the key, signing with it is refused and the node is named."""
    key_id = site.rotation().stage().key_id
    site.step()

    with pytest.raises(RotationRefused, match=r"is not on .*:\d+"):
        site.rotation().sign(key_id)

    site.copy()
    site.step()
    site.rotation().sign(key_id)


def test_sign_ignores_nodes_that_are_gone(site: Site) -> None:
    """A node that has been silent for long does not stop the rotation."""
    key_id = site.rotation().stage().key_id
    gone = site.nodes.pop("b")
    site.pass_time(60)

    site.rotation().sign(key_id)

    # It comes back without the key, and then refuses instead of guessing.
    site.step()
    gone.follower().step()
    text = site.nodes["a"].issue_login("alice").text
    refused = gone.authenticate(text)
    assert not refused
    assert refused.reason == "stale"


def test_the_signing_key_is_neither_retired_nor_dropped(site: Site) -> None:
    """What signs stays."""
    staged(site)
    signing = site.nodes["a"].keys.signing()[0]

    for stage in (site.rotation().retire, site.rotation().drop):
        with pytest.raises(RotationRefused, match="is signing"):
            stage(signing)


def test_retire_waits_for_the_longest_lifetime(site: Site) -> None:
    """Until the last login that a key signed is over, retiring it is refused."""
    old = site.nodes["a"].keys.signing()[0]
    site.rotation().sign(staged(site))
    site.step()
    site.pass_time(WEEK)
    with pytest.raises(RotationRefused, match="--force-logout"):
        site.rotation().retire(old)

    site.pass_time(BEYOND)
    assert site.rotation().retire(old).state == "dropped"


def test_the_longest_lifetime_is_the_realms(site: Site) -> None:
    """A node that issues for longer than this host's settings say keeps the key alive longer."""
    old = site.nodes["a"].keys.signing()[0]
    long = TokenAuthority(
        Settings(store="memory:", secret_file=str(site.file("b")), lifetime=20 * 86_400),
        store=FarStore(site.shelf, clock=site.clock),
        clock=site.clock,
        threaded=False,
    )
    long.follower()
    long.close()
    site.rotation().sign(staged(site))

    site.pass_time(WEEK + BEYOND)

    with pytest.raises(RotationRefused, match="may be alive"):
        site.rotation().retire(old)


def test_force_logout_ends_the_logins_only(site: Site) -> None:
    """Forced, a key's logins end at once and its API tokens live."""
    a = site.nodes["a"]
    old = a.keys.signing()[0]
    login, api = a.issue_login("alice").text, a.issue_api_token("alice", "robot").text
    site.rotation().sign(staged(site))
    site.step()

    assert site.rotation().retire(old, force_logout=True).state == "api"
    site.step()

    refused = a.authenticate(login)
    assert not refused
    assert refused.reason == "invalid"
    assert a.authenticate(api, "api")


def test_force_logout_waits_for_nodes_that_still_sign(site: Site) -> None:
    """A node that has not seen the change would go on making tokens that nobody accepts."""
    old = site.nodes["a"].keys.signing()[0]
    site.rotation().sign(staged(site))

    with pytest.raises(RotationRefused, match="still signs"):
        site.rotation().retire(old, force_logout=True)


def test_a_staged_key_can_be_given_up(site: Site) -> None:
    """A key that never signed is dropped at once, and leaves the file."""
    key_id = staged(site)

    retired = site.rotation().retire(key_id)

    assert (retired.state, retired.removed_here) == ("dropped", True)
    assert key_id not in map(fingerprint, site.file("a").read_text().split())


def test_api_only_keeps_a_key_without_tokens(site: Site) -> None:
    """``--api-only`` keeps the key although nothing names it (a backup may)."""
    key_id = staged(site)

    assert site.rotation().retire(key_id, api_only=True).state == "api"


def test_a_retired_key_does_not_sign_again(site: Site) -> None:
    """What is dropped, or for API tokens only, is not taken up again."""
    key_id = staged(site)
    site.rotation().retire(key_id, api_only=True)

    with pytest.raises(RotationRefused, match="is retired"):
        site.rotation().sign(key_id)


def test_an_interrupted_drop_is_finished_by_the_next(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off after the mark, a drop has ended everything; repeated, it tidies up."""
    a = site.nodes["a"]
    old = a.keys.signing()[0]
    api = a.issue_api_token("alice", "robot")
    site.rotation().sign(staged(site))
    site.step()

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    rotation = site.rotation()
    monkeypatch.setattr(rotation, "_remove", cut_off)
    with pytest.raises(KeyboardInterrupt):
        rotation.drop(old)
    site.step()
    assert not a.authenticate(api.text, "api")
    assert a.token(api.token.id)

    assert site.rotation().drop(old).api_tokens == 1
    assert not a.token(api.token.id)


def test_two_operators_do_not_overwrite_each_other(site: Site) -> None:
    """While one changes the keys another is refused; who read the old ring changes nothing."""
    rotation = site.rotation()
    store = site.nodes["a"].store
    store.add(LEASE, b"somebody else", site.clock.time() + 60)
    with pytest.raises(RotationRefused, match="somebody else"):
        rotation.stage()
    store.delete(LEASE)

    stale = rotation._begun()
    key_id = site.rotation().stage().key_id
    stale.mark("0" * 12, "staged", site.clock.time())
    with rotation._alone(), pytest.raises(RotationRefused, match="somebody else"):
        rotation._write(stale)

    record = store.get(RING_KEY)
    assert record
    assert key_id in ring_states(record.value)


def test_hosts_that_disagree_are_found_before_the_first_stage(site: Site) -> None:
    """Where this host would sign with another key than a node does, no ring is begun."""
    site.file("a").write_text("9876543210" * 4 + "\n")

    with pytest.raises(RotationRefused, match="make the keys agree"):
        site.rotation().stage()


def test_keys_in_the_settings_are_staged_by_hand(site: Site) -> None:
    """Where the keys are in the settings, the way to do it by hand is in the error."""
    settings = Settings(store="memory:", secret=("0123456789" * 4,))
    authority = TokenAuthority(
        settings, store=FarStore(site.shelf, clock=site.clock), clock=site.clock, active=False
    )

    with pytest.raises(ConfigurationError, match=r"(?s)By hand: .*'keys sign'"):
        Rotation(authority).stage()


def test_older_rings_are_read() -> None:
    """A ring without times, as an older version wrote it, is understood."""
    assert ring_since(b'{"format": 1, "states": {"aa": "signing"}}') == {}
    raw = ring_bytes({"aa": "signing"}, {"aa": 5.0}, 3)
    assert (ring_states(raw), ring_since(raw)) == ({"aa": "signing"}, {"aa": 5.0})


@pytest.mark.processes
def test_the_commands(line: Line) -> None:
    """Each stage as a command, in words and as JSON, on a running app."""
    from tests.waiting import wait_until

    api = line.authority.issue_api_token("alice", "robot").text
    (old,) = line.authority.keys.held
    new = line.json("keys", "stage")["key"]
    assert {one["id"]: one["state"] for one in line.json("keys")["keys"]} == {
        old: "signing",
        new: "staged",
    }
    listed = line.json("keys", "list")["keys"][0]
    assert (listed["id"], listed["api_tokens"], listed["here"]) == (old, 1, True)

    def published() -> bool:
        return all(new in one["keys"] for one in line.json("nodes")["nodes"])

    wait_until(published)
    assert new in line("keys", "sign", new[:6]).stdout
    assert "may be alive" in line("keys", "retire", old, code=1).stderr

    def signs() -> bool:
        return all(one["signing"] == new for one in line.json("nodes")["nodes"])

    wait_until(signs)
    assert line.json("keys", "retire", old, "--force-logout")["state"] == "api"
    assert line.authority.authenticate(api, "api")
    assert "--yes" in line("keys", "drop", old, code=2).stderr
    assert "revoke-all --kinds login,api" in line("keys", "drop", old, "--yes").stdout
    assert not line.authority.authenticate(api, "api")
    assert "no key has" in line("keys", "drop", "ffff", "--yes", code=1).stderr


@dataclass(frozen=True)
class SiteDoor(Door):
    """A door to host a of *site*, for commands."""

    site: Site = field(kw_only=True)

    @contextmanager
    def authority(self, *, keys: bool = False) -> Iterator[TokenAuthority]:
        yield self.site.authority("a", active=False)


def runbook(title: str) -> list[str]:
    """The commands below *title* in docs/operating.rst, without what is said of them."""
    text = (Path(__file__).parents[2] / "docs" / "operating.rst").read_text()
    section = text.partition(f"\n{title}\n~~~")[2].partition("\n\n\n")[0].partition("\n~~~")[0]
    return re.findall(r"^   web1\$ (.+?)(?: +#.*)?$", section, re.MULTILINE)


def test_the_runbook_for_a_leaked_key_leaves_nothing_to_whoever_has_it(site: Site) -> None:
    """It is run as it stands: also what a forged login gets between its steps is refused then."""
    nodes = [site.nodes["a"], site.nodes["b"]]
    (old,) = nodes[0].keys.held
    forged = nodes[0].issue_login("alice").text  # as somebody else could make it with the key
    with_old = nodes[0].issue_api_token("alice", "before").text
    names = {"77aa": old}
    logins, api_tokens, said = [forged], [with_old], []
    door = SiteDoor(Settings(store="memory:", secret_file=str(site.file("a"))), site=site)
    for command in runbook("A key leaked"):
        if command.startswith("scp "):
            site.copy()
        else:
            _, _, name, *words = [names.get(one, one) for one in command.split()]
            # (Nobody answers while this thread waits; nor is there anybody to be asked.)
            words = [one for one in words if one not in ("--wait", "--yes")]
            sure = ["--yes"] if name == "revoke-all" or "drop" in words else []
            done = CliRunner(**APART).invoke(tokens_group.commands[name], words + sure, obj=door)
            assert done.exit_code == 0, done.output
            said.append(done.stdout)
            if "stage" in words:
                names["1c9f"] = next(one for one in site.rotation().statuses() if one.id != old).id
        site.step()
        if "sign" in command:
            assert nodes[1].authenticate(forged)
            logins.append(nodes[1].issue_login("alice").text)
            api_tokens.append(nodes[1].issue_api_token("alice", "robot").text)
            assert nodes[0].authenticate(api_tokens[-1], "api")
    assert (len(said), len(logins)) == (4, 2)
    for node in nodes:
        assert not any(node.authenticate(text) for text in logins)
        assert not any(node.authenticate(text, "api") for text in api_tokens)
    last = runbook("A key leaked")[-1]
    assert "--wait" in last
    assert last in said[2], "the command's next step is the runbook's"


def test_staging_with_keys_in_the_settings_is_a_setting(make_line: MakeLine) -> None:
    """The command says how it is done by hand, and ends with 4."""
    line = make_line(SECRET=["0123456789" * 4])
    line.authority.follower()

    assert "By hand" in line("keys", "stage", code=4).stderr


def test_what_is_in_the_way_of_a_step_is_what_the_step_says(site: Site) -> None:
    """Through a whole rotation: a step that nothing hinders is done, any other one is refused."""
    old = site.nodes["a"].keys.signing()[0]

    def refused(key_id: str) -> dict[str, str]:
        """What is said to be in the way of each step; every one that is, is tried."""
        (status,) = [one for one in site.rotation().statuses(count=False) if one.id == key_id]
        assert status.api_tokens is None
        steps = {"sign": status.not_sign, "retire": status.not_retire, "drop": status.not_drop}
        for name, why in steps.items():
            if why:
                with pytest.raises(RotationRefused) as told:
                    getattr(site.rotation(), name)(key_id)
                assert str(told.value) == why
        return steps

    new = site.rotation().stage().key_id
    site.step()
    assert refused(new)["sign"]  # it is on one node of two
    site.copy()
    site.step()
    assert refused(new) == {"sign": "", "retire": "", "drop": ""}
    assert all(refused(old).values())
    site.rotation().sign(new)
    # (It may sign again at once; nothing else before each node has seen the change.)
    assert [name for name, why in refused(old).items() if why] == ["retire", "drop"]
    site.step()
    assert refused(old)["retire"]
    assert not refused(old)["drop"]
    site.pass_time(WEEK + BEYOND)
    assert not refused(old)["retire"]
    assert site.rotation().retire(old).state == "dropped"
