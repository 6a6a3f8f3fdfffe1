"""The nodes: who is silent or missing, and where they differ from each other and from this host."""

from __future__ import annotations

from collections.abc import Iterator

from ...cluster import ListedNode, drift, library_version
from ...settings import PREFIX, Settings
from .findings import Finding


def look_at_nodes(
    found: list[ListedNode], settings: Settings, held: list[str]
) -> Iterator[Finding]:
    """*held*: the fingerprints of this host's keys."""
    live = [one.node for one in found if not one.silent]
    for one in found:
        if one.silent:
            yield Finding(
                "warning",
                "nodes",
                f"{one.node.name} has been silent for {one.quiet_for:.0f} s",
                "If its process is gone: nodes --remove; else see what keeps it from the store.",
            )
    hosts = {node.host for node in live}
    for host in settings.expected_nodes:
        if host not in hosts:
            yield Finding(
                "problem", "nodes", f"{host} is expected, and no node of it is alive",
                f"Start it, or take it out of {PREFIX}EXPECTED_NODES.",
            )  # fmt: skip
    if not live:
        yield Finding("warning", "nodes", "no node is running", "Start the app; then ask again.")
        return
    for difference in drift(live):
        yield Finding("problem", "nodes", str(difference), difference.remedy)
    strangers = [node for node in live if held and not set(held) & set(node.keys)]
    if strangers:
        yield Finding(
            "problem",
            "keys",
            f"none of this host's keys is on {strangers[0].name}"
            + (f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""),
            "All hosts need the same keys: copy the file, or set SECRET alike.",
        )
    mine = library_version()
    for version in sorted({node.version for node in live} - {mine}):
        yield Finding("warning", "nodes", f"some run version {version}, this is {mine}")
    where = f"{len(hosts)} host{'s' if len(hosts) > 1 else ''}"
    yield Finding("ok", "nodes", f"{len(live)} alive on {where}")
