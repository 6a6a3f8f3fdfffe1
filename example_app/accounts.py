"""The demo's three accounts. A password is its name, which the page says too."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    full_name: str
    is_admin: bool = False


ACCOUNTS = {
    one.name: one
    for one in (
        Account("alice", "Alice Adler"),
        Account("bob", "Bob Brandt"),
        Account("admin", "Ada Admin", is_admin=True),
    )
}


def account_of(name: str) -> Account | None:
    return ACCOUNTS.get(name)


def is_admin(name: str) -> bool:
    """A subject need not have an account: an API token can be made for any name."""
    account = ACCOUNTS.get(name)
    return account is not None and account.is_admin


def check_password(name: str, password: str) -> Account | None:
    """The account if the password is right. A real site compares slow, salted hashes."""
    account = ACCOUNTS.get(name)
    expected = (account.name if account is not None else "nobody").encode()
    given = password.encode("utf-8", "surrogatepass")
    return account if compare_digest(given, expected) else None
