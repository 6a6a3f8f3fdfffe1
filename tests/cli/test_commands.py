"""The commands on tokens, in an app with the embedded store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path

import pytest

from flask_clustertoken.cli.output import table
from flask_clustertoken.tokens import new_id

from .parts import Line, MakeLine


def login(line: Line, subject: str = "alice", **more: object) -> tuple[str, str]:
    """A new login's id and text."""
    issued = line.authority.issue_login(subject, **more)  # type: ignore[arg-type]
    return issued.token.id, issued.text


def test_list_shows_live_tokens(line: Line) -> None:
    """``list`` has a line for each live token, and never a text."""
    one, text = login(line)
    other, _ = login(line, "bob")
    line.authority.revoke_ids([other])

    listed = line("list")

    assert one in listed.stdout
    assert "alice" in listed.stdout
    assert other not in listed.stdout
    assert text not in listed.stdout + json.dumps(line.json("list"))


def test_list_narrows_and_pages(line: Line) -> None:
    """Subject and kind narrow the list; pages are disjoint and together complete."""
    ids = {login(line)[0] for _ in range(5)}
    login(line, "bob")
    line.authority.issue_api_token("alice", "robot")

    alice = line.json("list", "--subject", "alice", "--kind", "login", "--limit", "0")
    assert {one["id"] for one in alice["tokens"]} == ids
    assert not alice["more"]

    args = ("list", "--subject", "alice", "--kind", "login", "--limit", "2")
    pages = [line.json(*args, "--page", str(page)) for page in (1, 2, 3)]
    met = [one["id"] for page in pages for one in page["tokens"]]
    assert sorted(met) == sorted(ids)
    assert [page["more"] for page in pages] == [True, True, False]


def test_list_says_when_logins_are_not_recorded(make_line: MakeLine) -> None:
    """With the token store ``cookie`` the list says that logins are not in it."""
    line = make_line(TOKEN_STORE="cookie")
    login(line)

    assert line.json("list") == {"tokens": [], "recorded": False, "more": False}
    assert "not recorded" in line("list").stderr


def test_a_name_cannot_move_the_cursor(line: Line) -> None:
    """Control characters in names do not reach the terminal."""
    line.authority.issue_api_token("alice", "evil\x1b[2J\nname")

    assert "\x1b" not in line("list").stdout
    assert len(line("list").stdout.splitlines()) == 2


def test_show_tells_what_is_known(line: Line) -> None:
    """``show`` has claims' names and labels for people, claims themselves for programs."""
    one, _ = login(line, claims={"role": "chief"}, labels=["sso:42"])

    shown = line("show", one).stdout
    assert "sso:42" in shown
    assert "role" in shown
    assert line.json("show", one)["token"]["claims"] == {"role": "chief"}


def test_show_of_a_token_that_is_over_is_not_found(line: Line) -> None:
    """An id without a live token ends with 1 and a sentence."""
    result = line("show", new_id("nobody"), code=1)

    assert "No live token has this id" in result.stderr


def test_a_token_given_as_an_id_is_not_repeated(line: Line) -> None:
    """Whoever pastes a token where an id belongs does not find it in the log."""
    _, text = login(line)

    for command in ("show", "revoke"):
        result = line(command, text, code=2)
        assert text not in result.output + result.stderr
        assert text[-20:] not in result.output + result.stderr


def test_an_id_may_begin_with_a_dash(line: Line) -> None:
    """One id in 64 begins with a dash, and is no option."""
    subject = next(name for name in map(str, range(10_000)) if new_id(name).startswith("-"))
    one, _ = login(line, subject)

    assert line.json("show", one)["token"]["id"] == one
    assert line.json("revoke", one)["with_record"] == 1


def test_revoke_ends_tokens_at_once(line: Line) -> None:
    """A token whose id was revoked is refused by the running app when the command ends."""
    one, text = login(line)
    assert line.authority.authenticate(text)

    line("revoke", one)

    assert not line.authority.authenticate(text)


def test_revoke_without_a_record_is_said(line: Line) -> None:
    """An id without a record is ended all the same, and the answer says so."""
    one, _ = login(line)

    told = line.json("revoke", one, new_id("ghost"), "--wait")

    assert (told["tokens"], told["with_record"]) == (2, 1)
    assert told["confirmation"]["in_force"]


def test_revoke_label_covers_later_tokens(line: Line) -> None:
    """A label that was revoked covers a token that is issued with it later."""
    _, text = login(line, labels=["sso:1"])

    line("revoke-label", "sso:1")

    assert not line.authority.authenticate(text)


@pytest.mark.parametrize(("kinds", "api_lives"), [("login", True), ("login,api", False)])
def test_revoke_subject_ends_the_kinds_it_names(line: Line, kinds: str, api_lives: bool) -> None:
    """Logging a subject out leaves its API tokens, unless they are named; others are untouched."""
    _, text = login(line)
    _, other = login(line, "bob")
    api = line.authority.issue_api_token("alice", "robot").text

    line("revoke-subject", "alice", "--kinds", kinds)

    assert not line.authority.authenticate(text)
    assert line.authority.authenticate(other)
    assert bool(line.authority.authenticate(api, "api")) is api_lives


def test_revoke_all_asks_first(line: Line) -> None:
    """Without a terminal and without ``--yes`` nothing is done, and the way out is named."""
    _, text = login(line)

    for command in ("revoke-all", "restored"):
        assert "--yes" in line(command, code=2).stderr
    assert line.authority.authenticate(text)

    line("revoke-all", "--yes")
    assert not line.authority.authenticate(text)


def test_not_before_reads_iso_and_epoch(line: Line) -> None:
    """A time is in its own zone; the answer says which moment was understood."""
    moment = datetime(2026, 5, 1, 12, tzinfo=timezone.utc).timestamp()

    for written in ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00z", "2026-05-01T14:00+02:00"):
        assert line.json("not-before", written)["not_before"] == moment
    assert line.json("not-before", str(int(moment)))["not_before"] == moment
    assert "2026-05-01 12:00:00Z" in line("not-before", str(moment)).stdout


@pytest.mark.parametrize(
    "wrong", ["yesterday", "2026-13-01", "2026-05-01T12:00:00", "nan", "inf", "1e300"]
)
def test_not_before_refuses_what_is_no_time(line: Line, wrong: str) -> None:
    """What is no time is a wrong call, not a revocation."""
    head = line.authority.begin()

    line("not-before", wrong, code=2)

    assert line.authority.begin() == head


def test_milliseconds_are_told_apart_from_seconds(line: Line) -> None:
    """By the words of the function behind it, before anything is asked."""
    written = "1777636800000"
    for words in (["not-before", written], ["lock", "--subject", "a", "--until", written]):
        assert "in seconds since 1970, and not in milliseconds" in line(*words, code=2).stderr


def test_not_before_in_the_future_asks(line: Line) -> None:
    """A time to come would lock everybody out: it needs a yes."""
    future = str(line.authority.clock.time() + 3600)

    assert "--yes" in line("not-before", future, code=2).stderr
    line("not-before", future, "--yes")


def test_issue_api_shows_the_text_once_and_alone(line: Line) -> None:
    """The text is all of stdout, works, and is in no later output."""
    result = line("issue-api", "alice", "nightly", "--scope", "read", "--lifetime", "90d")
    text = result.stdout.strip()
    line.outputs.clear()
    token = line.authority.authenticate(text, "api")

    assert result.stdout == text + "\n"
    assert text not in result.stderr
    assert token
    assert token.scopes == ("read",)
    assert token.expires_at == token.issued_at + 90 * 86_400
    for command in (["list"], ["list", "--json"], ["show", token.id], ["keys"], ["doctor"]):
        assert text not in line(*command).output


def test_issue_api_as_json(line: Line) -> None:
    """With ``--json`` stdout is one object with the text; the warning is on stderr."""
    told = line.json("issue-api", "alice", "nightly")

    assert line.authority.authenticate(told["text"], "api")
    assert told["token"]["expires_at"] is None


@pytest.mark.parametrize("wrong", ["0", "-1d", "soon", "3y"])
def test_issue_api_refuses_what_is_no_duration(line: Line, wrong: str) -> None:
    """What is no duration is a wrong call."""
    line("issue-api", "alice", "x", f"--lifetime={wrong}", code=2)


def test_purge_says_what_went(line: Line) -> None:
    """``purge`` deletes only what was over a day ago."""
    store = line.authority.store
    now = line.authority.clock.time()
    store.put("data/a/b/old", b"1", now - 2 * 86_400)
    store.put("data/a/b/young", b"1", now - 3600)

    assert line.json("purge")["records"] == 1


def test_commands_are_no_nodes(line: Line) -> None:
    """A command line is not in the list of nodes, the app is."""
    found = line.json("nodes")["nodes"]

    assert [one["pid"] for one in found] == [os.getpid()]


def test_commands_make_no_key(make_line: MakeLine) -> None:
    """A command that signs nothing makes no key file before the app's first start."""
    line = make_line()
    line.authority.follower()
    line.key_file.unlink()

    line("list")
    line("nodes")
    line("revoke-subject", "alice")
    line("keys", code=4)
    line("issue-api", "alice", "robot", code=4)

    assert not line.key_file.exists()


def test_memory_cannot_be_looked_at(make_line: MakeLine) -> None:
    """``memory:`` belongs to one process: a command says so instead of showing nothing."""
    line = make_line(STORE="memory:")

    assert "memory:" in line("list", code=4).stderr


def test_an_unreachable_store_is_said_in_one_sentence(make_line: MakeLine) -> None:
    """Trouble with the store ends with 3 and one line, without a traceback."""
    line = make_line()
    line.authority.follower()
    head = Path(line.app.instance_path) / "shared" / "default.head"
    head.unlink()
    head.mkdir()

    result = line("list", code=3)

    assert len(result.stderr.splitlines()) == 1
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_used_is_a_setting(line: Line) -> None:
    """A store's folder that everybody may write in is a wrong setting: 4, with the remedy."""
    (Path(line.app.instance_path) / "shared").chmod(0o777)

    told = line("list", code=4).stderr

    assert "CLUSTERTOKEN_STORE: everybody may write" in told
    assert "chmod" in told


def test_revoke_subject_says_how_many_it_ended(line: Line) -> None:
    """A name that nobody has does not read like a success."""
    login(line), login(line)
    line.authority.issue_api_token("alice", "robot")

    assert ", who had none " in line("revoke-subject", "alcie").stdout
    assert ", 2 of them on record " in line("revoke-subject", "alice").stdout
    told = line.json("revoke-subject", "alice", "--kinds", "login,api")
    assert (told["tokens"], told["recorded"]) == (1, True)


def test_revoke_subject_says_where_it_cannot_know(make_line: MakeLine) -> None:
    """With the token store ``cookie`` none on record does not mean that there was none."""
    line = make_line(TOKEN_STORE="cookie")
    login(line)

    assert "are not recorded" in line("revoke-subject", "alice").stdout
    assert line.json("revoke-subject", "alice")["recorded"] is False


def test_a_page_without_a_limit_is_a_wrong_call(line: Line) -> None:
    """Without a limit there is one page, and asking for another one is a mistake."""
    assert "--limit" in line("list", "--limit", "0", "--page", "3", code=2).stderr


def test_the_hint_at_the_next_page_can_be_typed(line: Line) -> None:
    """It names the limit too, without which the page would be another one."""
    login(line), login(line)

    assert "--limit 1 --page 2" in line("list", "--limit", "1").stderr


def test_issue_api_hands_out_no_text_that_nobody_accepts(make_line: MakeLine) -> None:
    """A key that neither the store nor a running node knows is a wrong setting, not a token."""
    running = make_line(SECRET=["0123456789" * 4])
    running.authority.follower()
    store = running.authority.store.url

    def told(**settings: object) -> str:
        line = make_line("elsewhere", STORE=store, **settings)
        return line("issue-api", "alice", "robot", code=4).stderr

    assert "no node has key" in told(SECRET=["abcdefghij" * 4])
    assert "API_PREFIX" in told(SECRET=["0123456789" * 4], API_PREFIX="other")
    assert not list(running.authority.tokens_of("alice"))


@pytest.mark.processes
def test_a_reader_that_leaves_is_no_failure(line: Line) -> None:
    """``list | head``: whoever has read enough did not break anything."""
    for _ in range(1500):
        line.authority.issue_login("alice")
    program = [sys.executable, "-m", "flask_clustertoken", "--store", line.authority.store.url]
    for more in ([], ["--json"]):
        with subprocess.Popen(
            [*program, "list", "--limit", "0", *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as listing:
            assert listing.stdout is not None
            assert listing.stderr is not None
            listing.stdout.readline()
            listing.stdout.close()

            assert listing.stderr.read() == b""
            assert listing.wait(60) == 0


@pytest.mark.processes
def test_a_terminal_that_knows_few_characters(line: Line) -> None:
    """What it cannot show is written in those that it has; nothing fails."""
    line.authority.issue_api_token("alice", "Zoë → Łódź")
    program = [sys.executable, "-m", "flask_clustertoken", "--store", line.authority.store.url]
    for command in ("list", "doctor"):
        done = subprocess.run(
            [*program, command],
            capture_output=True,
            timeout=60,
            env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"},
        )
        assert done.returncode == 0, done.stderr
        assert b"-> " in done.stdout


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_list_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of free text are cut, so that each token has one line; ids never are."""
    monkeypatch.setenv("COLUMNS", "80")
    heads, row = ("ID", "SUBJECT", "NAME"), ["i" * 24, "s" * 90, "n" * 20]

    def lines(stream: StringIO) -> list[str]:
        monkeypatch.setattr(sys, "stdout", stream)
        table(heads, [row], "none", ("SUBJECT", "NAME"))
        return stream.getvalue().splitlines()

    shown = lines(Terminal())
    assert max(map(len, shown)) == 80
    assert row[0] in shown[1]
    assert lines(StringIO())[1] == "  ".join(row)


@pytest.mark.processes
def test_the_other_door(line: Line) -> None:
    """``python -m flask_clustertoken`` does the same to the same store, as its own process."""
    one, text = login(line)
    program = [
        *(sys.executable, "-m", "flask_clustertoken"),
        *("--store", line.authority.store.url, "--instance-path", line.app.instance_path),
    ]

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program, *args], capture_output=True, text=True, timeout=60)

    listed = run("list", "--json")
    assert [token["id"] for token in json.loads(listed.stdout)["tokens"]] == [one]
    revoked = run("revoke", one, "--wait")
    assert revoked.returncode == 0, revoked.stderr
    assert not line.authority.authenticate(text)
    api = run("issue-api", "alice", "robot")
    assert line.authority.authenticate(api.stdout.strip(), "api")
    assert run("show", one).returncode == 1
    assert run("nonsense").returncode == 2


@pytest.mark.processes
@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["list"], 2),
        (["--store", "nonsense", "list"], 4),
        (["--store", "papyrus:/x", "list"], 4),
        (["--store", "directory:", "list"], 4),
        (["--store", "directory:///tmp/x", "--realm", "a b", "list"], 4),
    ],
)
def test_the_other_door_names_what_is_wrong(args: list[str], code: int) -> None:
    """A missing option is a wrong call, a wrong one a wrong setting; neither is a traceback."""
    environment = {key: one for key, one in os.environ.items() if "CLUSTERTOKEN" not in key}
    ran = subprocess.run(
        [sys.executable, "-m", "flask_clustertoken", *args],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )

    assert ran.returncode == code
    assert "Traceback" not in ran.stderr
    assert "Error: " in ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("revoke-subject", ""),
        ("issue-api", "", "ci"),
        ("issue-api", "alice", ""),
        ("issue-api", "alice", "ci", "--scope", "a b"),
        ("issue-api", "alice", "ci", "--lifetime", "0s"),
        ("issue-api", "alice", "ci", "--lifetime", "0.5s"),
        ("issue-api", "alice", "ci", "--lifetime", "99999999999d"),
        ("list", "--page", "9" * 24),
        ("list", "--limit", "9" * 24),
        ("audit", "--page", "9" * 24),
        # (1 would be: another one was the first.)
        ("once", "", "2026-05-01"),
        ("once", "x" * 513, "2026-05-01"),
        ("once", "report", ""),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_what_cannot_be_meant_is_a_wrong_call(line: Line, words: tuple[str, ...]) -> None:
    """A sentence and code 2, and nothing was written."""
    head = line.authority.store.head()
    said = line(*words, code=2)
    assert "Usage:" in said.stderr
    assert line.authority.store.head() == head


def test_options_that_no_reader_gets_through_are_a_wrong_file(line: Line, tmp_path: Path) -> None:
    """Code 4 and the file's name, however deep they are nested."""
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    words = ("migrate", "directory:", f"directory://{tmp_path}/new")
    assert str(deep) in line(*words, "--from-options", str(deep), "--yes", code=4).stderr


def test_a_setting_that_was_changed_after_init_app_is_named(line: Line) -> None:
    """A command goes by the app's settings as they are said, or not at all."""
    line.app.config["CLUSTERTOKEN_REALM"] = "other"
    assert "CLUSTERTOKEN_REALM" in line("list", code=4).stderr
