"""Two holders of one login are noticed, and an honest browser never is, whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.rounds import rounds

from .browsers import GRACE, UNDER_WAY, Browser, Site

DAY = 86_400
HOUR = 3600

#: How logins are renewed: a day, an hour; and on each request.
WAYS: dict[str, dict[str, Any]] = {
    "a day": {},
    "an hour": {"RENEW_AFTER": HOUR, "LIFETIME": DAY},
    "five minutes": {"RENEW_AFTER": 300, "LIFETIME": HOUR},
    "always": {"ALWAYS_RENEW": True},
    "always, an hour": {"ALWAYS_RENEW": True, "RENEW_AFTER": HOUR, "LIFETIME": DAY},
}

every_way = pytest.mark.parametrize("way", WAYS)


def due(site: Site) -> float:
    """Seconds after which a copy of now is due for renewal, as a newer generation."""
    return 2.0 * site.members[0].settings.renew_after


def a_login(site: Site) -> Browser:
    """A browser whose copy was renewed once, and which is due again."""
    browser = Browser(site, site.login())
    for _ in range(2):
        site.run(due(site))
        browser.ask()
        site.run(2 * UNDER_WAY + 2)
    assert site.renewals
    site.run(due(site))
    return browser


def work(site: Site, browser: Browser, seconds: float, every: float = 10.0) -> None:
    """It is used for so long."""
    for _ in range(int(seconds / every)):
        browser.ask()
        site.run(every)


# -- each honest way by itself -----------------------------------------------------------------


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_parallel_tabs_are_one_holder(way: str, seed: int) -> None:
    """A dozen requests with the old copy at once, each renewed; then the browser works on."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(3):
            for _ in range(12):
                browser.ask(takes=site.rng.uniform(0, 20))
            work(site, browser, 10 * GRACE)
            site.run(due(site))
    assert site.reports == []
    assert site.renewals > 12


@pytest.mark.long
@every_way
@pytest.mark.parametrize("seed", range(1))
def test_tabs_that_poll_for_hours_are_one_holder(way: str, seed: int) -> None:
    """Each answer finds the other tab's request on its way, so that each tab keeps handing the
    browser copies of its own: with ``ALWAYS_RENEW`` there are two lines of copies for hours."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for moment in range(0, 3 * HOUR, 5):
            browser.ask()
            if moment % 30 == 0:
                browser.ask(takes=29)
            site.run(5)
    assert site.reports == []


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_a_lost_answer_leaves_one_holder(way: str, seed: int) -> None:
    """The newer copy never arrived: the browser comes again with the old one, for days."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(10):
            for _ in range(3):
                browser.ask(lost=True)
                site.run(40)
            site.run(due(site) / 20)
        work(site, browser, 5 * GRACE)
    assert site.reports == []


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_a_laptop_that_sleeps_is_one_holder(way: str, seed: int) -> None:
    """In the middle of a renewal; it wakes hours later, with whichever copy it had, in each tab."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(6):
            for _ in range(4):
                browser.ask()
            site.run(site.rng.uniform(0, 2 * UNDER_WAY))
            browser.sleep()
            site.run(site.rng.choice((30.0, 5 * GRACE, 8.0 * HOUR)))
            browser.wake()
            for _ in range(4):
                browser.ask()
            work(site, browser, 3 * GRACE)
            site.run(due(site) / 3)
    assert site.reports == []


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_a_jar_that_lost_its_last_minute_in_a_crash_is_one_holder(way: str, seed: int) -> None:
    """It had the newer copy, and used it; and comes back with the older one, soon or next day."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(6):
            work(site, browser, site.rng.uniform(1, 2 * GRACE), every=4.0)
            browser.crash()
            site.run(site.rng.choice((1.0, 5 * GRACE, 8.0 * HOUR)))
            work(site, browser, 3 * GRACE)
            site.run(due(site))
    assert site.reports == []


def test_a_browser_that_crashed_asks_for_all_its_tabs_at_once() -> None:
    """It lost its last minute, and with the old copy each tab comes again; the first answers are
    in use before the last request has come."""
    with Site(6) as site:
        browser = a_login(site)
        before = browser.jar
        browser.under_way = 0.5
        browser.ask()
        site.run(2)
        work(site, browser, GRACE - 5, every=5)
        browser.crash()
        browser.jar = before
        site.run(30)
        for _ in range(20):
            Browser(site, before, under_way=30).ask()
        browser.ask()
        work(site, browser, 3 * GRACE, every=5)
    assert site.reports == []


@pytest.mark.parametrize("lost", [GRACE - 1, GRACE, GRACE + 1])
def test_the_grace_is_what_a_crash_may_lose(lost: int) -> None:
    """From the first to the last use of the newer copy: a minute is fine, and more is not."""
    with Site(1) as site:
        browser = a_login(site)
        before = browser.jar
        browser.under_way = 0.0
        browser.ask(now=True)
        site.run(1)
        assert browser.jar != before
        browser.ask()
        site.run(lost)
        browser.ask()
        site.run(2)
        browser.jar = before
        browser.ask()
        site.run(2)
    assert len(site.reports) == (lost > GRACE)


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_two_nodes_that_renew_at_once_make_copies_of_one_holder(way: str, seed: int) -> None:
    """Each by its own clock; the browser keeps whichever answer came last."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(4):
            browser.ask(node=0, takes=site.rng.uniform(0, 3))
            browser.ask(node=1, takes=site.rng.uniform(0, 3))
            work(site, browser, 5 * GRACE)
            site.run(due(site))
    assert site.reports == []


@every_way
@pytest.mark.parametrize("seed", range(2))
def test_a_request_that_takes_long_is_judged_by_when_it_came(way: str, seed: int) -> None:
    """A long poll is answered, and renewed, minutes after other tabs have gone on."""
    with Site(seed, settings=WAYS[way]) as site:
        browser = a_login(site)
        for _ in range(5):
            browser.ask(takes=site.rng.uniform(5, 10) * GRACE)
            work(site, browser, 12 * GRACE)
            site.run(due(site))
    assert site.reports == []


def test_the_clocks_of_nodes_do_not_add_up() -> None:
    """One is slow and one is fast: what they saw within twenty seconds is no minute."""
    with Site(2, nodes=2) as site:
        site.members[0].clock.wrong, site.members[1].clock.wrong = -25.0, 25.0  # type: ignore[attr-defined]
        browser = a_login(site)
        browser.under_way = 0.0
        before = browser.jar
        browser.ask(now=True)
        site.run(1)
        browser.ask(node=0)
        site.run(20)
        browser.ask(node=1)
        site.run(2)
        browser.crash()
        browser.jar = before
        browser.ask(node=1)
        site.run(2)
    assert site.reports == []


def test_a_copy_that_was_lost_is_not_used_by_its_long_request() -> None:
    """The newer copy has a long request under way when the browser crashes and forgets it."""
    with Site(4, nodes=1, settings=WAYS["always"]) as site:
        browser = a_login(site)
        browser.under_way = 0.0
        before = browser.jar
        browser.ask(now=True)
        site.run(1)
        browser.ask(takes=10 * GRACE)
        site.run(10)
        browser.crash()
        browser.jar = before
        site.run(11 * GRACE)
        browser.ask()
        site.run(2)
    assert site.reports == []


def test_of_two_copies_made_side_by_side_the_browser_may_keep_the_older() -> None:
    """Its answer came last. The next day it is renewed while another tab's request with it is on
    its way."""
    with Site(5, nodes=1) as site:
        browser = a_login(site)
        browser.under_way = 0.0
        before, old = browser.jar, site.renewals
        browser.ask(now=True)
        kept = browser.jar
        site.run(2)
        browser.jar = before
        browser.ask(now=True)
        newer = browser.jar
        assert site.renewals == old + 2
        assert len({before, kept, newer}) == 3
        browser.ask()
        site.run(5)
        browser.jar = kept
        work(site, browser, 10 * GRACE)
        site.run(due(site))
        browser.ask()
        site.run(2)
        browser.ask()
        other_tab = Browser(site, kept, under_way=0.0)
        site.run(2)
        other_tab.ask()
        site.run(2)
    assert site.reports == []


# -- all of it at once -------------------------------------------------------------------------


def live(site: Site, browser: Browser, rng: Random) -> None:
    """A part of somebody's life with a browser."""
    roll = rng.random()
    if roll < 0.35:
        for _ in range(rng.choice((1, 1, 2, 6))):
            browser.ask(takes=rng.choice((0.0, 0.0, 1.0, 20.0)), lost=rng.random() < 0.1)
        site.run(rng.choice((0.1, 1.0, 10.0, 100.0)))
    elif roll < 0.55:
        work(site, browser, rng.uniform(0, 5 * GRACE), rng.choice((3.0, 10.0, 50.0)))
    elif roll < 0.60:
        browser.ask(takes=rng.uniform(0, 10 * GRACE))
    elif roll < 0.70:
        browser.sleep()
        site.run(rng.choice((1.0, 2.0 * GRACE, 3.0 * HOUR)))
        browser.wake()
    elif roll < 0.80:
        browser.crash()
        site.run(rng.choice((1.0, GRACE)))
    else:
        site.run(rng.choice((GRACE, 10.0 * GRACE, HOUR, due(site) / 2, due(site))))


#: Schedules: as many as the inner loop has time for, and the rest in the stage with processes.
BATCHES = [
    pytest.param(range(25)),
    pytest.param(range(25, rounds(50, 6_000)), marks=[pytest.mark.processes]),
]


def world(seed: int) -> Site:
    rng = Random(seed)
    return Site(seed, nodes=rng.choice((1, 2, 3)), settings=WAYS[rng.choice(list(WAYS))])


@pytest.mark.parametrize("seeds", BATCHES, ids=str)
def test_no_honest_life_is_reported(seeds: range) -> None:
    """Tabs, lost answers, sleep, crashes, long requests and slow networks, in any order."""
    renewals = 0
    for seed in seeds:
        with world(seed) as site:
            browser = Browser(site, site.login())
            for _ in range(30):
                live(site, browser, site.rng)
        assert site.reports == [], f"seed {seed}"
        renewals += site.renewals
    assert renewals > 10 * len(seeds)


@pytest.mark.long
@pytest.mark.parametrize("seeds", BATCHES, ids=str)
def test_a_thief_is_reported_with_the_first_copy_that_is_too_old(seeds: range) -> None:
    """At the latest, whichever of the two it is, once the other's was in use for the grace."""
    told = 0
    for seed in seeds:
        with world(seed) as site:
            owner = Browser(site, site.login(), under_way=0.5)
            for _ in range(4):
                live(site, owner, site.rng)
            thief = owner.thief()
            while not site.due and site.true.now < 1_800_000_000 + 6 * DAY:
                who = site.rng.choice((owner, owner, thief))
                work(site, who, site.rng.choice((1, 3 * GRACE)), 20.0)
                site.run(site.rng.choice((GRACE, due(site) / 3)))
            site.run(20)
        if site.due:
            told += 1
            first = min(report.asked.at for report in site.reports) if site.reports else None
            assert first is not None, f"seed {seed}: {site.due}"
            assert first <= site.due[0][1] + 1, f"seed {seed}"
    assert told > len(seeds) / 3


def test_a_browser_from_yesterdays_backup_is_taken_for_a_thief() -> None:
    """It cannot be told from one: the copy of yesterday comes back, and today's was in use."""
    with Site(3) as site:
        browser = a_login(site)
        yesterday = browser.jar
        work(site, browser, DAY, every=HOUR)
        assert site.reports == []
        browser.jar = yesterday
        browser.ask()
        site.run(30)
    (report,) = site.reports
    assert (report.asked.agent, report.other.agent) == ("browser", "browser")


# -- the rules bite ----------------------------------------------------------------------------


def any_use_counts(patch: pytest.MonkeyPatch) -> None:
    """No span: once a newer copy was used at all, an older one is spent."""
    from flask_clustertoken.tokens import CopiesNote

    used = CopiesNote.used
    patch.setattr(
        CopiesNote, "used", lambda self, generation, place, _: used(self, generation, place, -1.0)
    )


def by_the_answers_time(patch: pytest.MonkeyPatch) -> None:
    """Whoever asks is judged by when the answer leaves."""
    from flask_clustertoken.authority.reuse import Reuse

    asked = Reuse.asked
    patch.setattr(Reuse, "asked", lambda self, token, _, request: asked(self, token, None, request))


def count_the_copies(patch: pytest.MonkeyPatch) -> None:
    """Each copy is one more than the one that asked."""
    from flask_clustertoken.authority.lifetimes import Lifetimes

    patch.setattr(Lifetimes, "generation", lambda self, token, now: (token.generation or 0) + 1)


def by_each_nodes_own_clock(patch: pytest.MonkeyPatch) -> None:
    """A use is noted by the clock of the node that saw it."""
    from flask_clustertoken.revocations.clocks import CheckedClock

    patch.setattr(CheckedClock, "store_time", lambda self: self._clock.time())


def a_later_look_is_a_use(patch: pytest.MonkeyPatch) -> None:
    """When a long request is answered, its copy is taken for used."""
    from flask_clustertoken.authority import renewal

    patch.setattr(renewal, "AGAIN", "browser")


def uses_of_all_newer_copies(patch: pytest.MonkeyPatch) -> None:
    """The first use of one and the last of another count together."""
    from dataclasses import replace

    from flask_clustertoken.tokens import CopiesNote, Whereabouts

    used = CopiesNote.used

    def broken(self: CopiesNote, generation: int, place: Whereabouts, grace: float) -> CopiesNote:
        if self.spent < self.newest < generation and place.at - self.first > grace:
            return replace(
                self, newest=generation, first=place.at, spent=self.newest, spent_at=place.at
            )
        return used(self, generation, place, grace)

    patch.setattr(CopiesNote, "used", broken)


#: What is broken, and what shows it.
BREAKS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Callable[[str, int], object]]] = {
    "any use counts": (
        any_use_counts,
        lambda way, seed: test_a_jar_that_lost_its_last_minute_in_a_crash_is_one_holder(way, seed),
    ),
    "the answer's time": (
        by_the_answers_time,
        lambda way, seed: test_a_request_that_takes_long_is_judged_by_when_it_came(way, seed),
    ),
    "copies are counted": (
        count_the_copies,
        lambda way, seed: test_tabs_that_poll_for_hours_are_one_holder(way, seed),
    ),
    "each node's own clock": (
        by_each_nodes_own_clock,
        lambda way, seed: test_the_clocks_of_nodes_do_not_add_up(),
    ),
    "a later look is a use": (
        a_later_look_is_a_use,
        lambda way, seed: test_a_copy_that_was_lost_is_not_used_by_its_long_request(),
    ),
    "all newer copies": (
        uses_of_all_newer_copies,
        lambda way, seed: test_of_two_copies_made_side_by_side_the_browser_may_keep_the_older(),
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("what", BREAKS)
def test_each_rule_is_needed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it an honest browser is reported, in one of the ways above."""
    broken, show = BREAKS[what]
    broken(monkeypatch)

    def reported(way: str, seed: int) -> bool:
        try:
            show(way, seed)
        except AssertionError:
            return True
        return False

    assert any(reported(way, seed) for seed in range(5) for way in WAYS)
