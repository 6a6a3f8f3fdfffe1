"""A few pages to look at, so that there is something to have viewed recently."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Article:
    slug: str
    title: str
    summary: str
    paragraphs: tuple[str, ...]


ARTICLES = {
    one.slug: one
    for one in (
        Article(
            "everywhere",
            "One login, every worker",
            "Why it does not matter which process answers.",
            (
                "Reload this page a few times and watch the foot of it: the number of the "
                "process changes, the login does not. Every worker can read the signed token in "
                "your cookie by itself.",
                "To see it is enough: no worker asks another one, and none asks a server. What "
                "they do share is the list of what has been revoked, and each keeps its own copy "
                "of that list up to date.",
            ),
        ),
        Article(
            "sliding",
            "A login that slides",
            "It lasts as long as you come back.",
            (
                "A login ends a week after it was last used, not a week after it was made. Once a "
                "day has passed, the next page you look at quietly moves its end on.",
                "There is a limit to that. Thirty days after you entered your password you are "
                "asked for it again, however often you came by.",
            ),
        ),
        Article(
            "revoked",
            "Revoked means revoked",
            "What happens between the click and the next request.",
            (
                "Log in with two browsers, and end the one from the other. The next request of "
                "the first is refused, whichever worker gets it, and so is every copy of its "
                "cookie that was renewed in the meantime.",
                "With the store that this demo comes with, the click returns only when the "
                "revocation is on disk and in force for every request on this host that starts "
                "from then on.",
            ),
        ),
        Article(
            "unsure",
            "When a worker cannot know",
            "Rather no answer than a wrong one.",
            (
                "A worker that has lost the others cannot tell whether your login still stands. "
                "After ten seconds it stops saying yes: you see a page that asks you to try again.",
                "Your cookie stays where it is. As soon as the worker has caught up, you are "
                "logged in as before, without having to do anything.",
            ),
        ),
    )
}
