"""Trace ids: what is logged says in which trace it was."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from .parts import SPAN, TRACE, TRACEPARENT, TracedSite

AUDIT = "flask_clustertoken.audit"


@pytest.fixture
def site(caplog: pytest.LogCaptureFixture) -> TracedSite:
    caplog.set_level(logging.INFO, AUDIT)
    return TracedSite(sessions=False)


def lines(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(one.getMessage()) for one in log.records if one.name == AUDIT]


def test_a_line_of_the_audit_trail_says_in_which_span_it_was(
    site: TracedSite, caplog: pytest.LogCaptureFixture
) -> None:
    """The line itself, also where the store keeps it; and its log record."""
    with site.tracer.start_as_current_span("request") as span:
        site.app.test_client().post("/login/alice")
    where = span.get_span_context()
    trace_id, span_id = f"{where.trace_id:032x}", f"{where.span_id:016x}"
    (line,) = lines(caplog)
    assert (line["trace_id"], line["span_id"]) == (trace_id, span_id)
    record: Any = caplog.records[-1]
    assert (record.trace_id, record.span_id) == (trace_id, span_id)


def test_where_no_span_is_the_request_s_header_counts(
    site: TracedSite, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy traces, and nobody has instrumented the app."""
    site.app.test_client().post("/login/alice", headers={"traceparent": TRACEPARENT})
    (line,) = lines(caplog)
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    ["", "no trace", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{SPAN}\n-01"[:40], "00-<b>-x-01"],
)
def test_a_header_that_is_none_is_left_out(
    site: TracedSite, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    """Whoever sends the request writes it: nothing but a trace gets into a line."""
    answer = site.app.test_client().post("/login/alice", headers={"traceparent": header.strip()})
    assert answer.status_code == 200
    (line,) = lines(caplog)
    assert not {"trace_id", "span_id"} & set(line)


def test_outside_a_request_there_is_none(
    site: TracedSite, caplog: pytest.LogCaptureFixture
) -> None:
    """A command, or the follower's thread; the record has the fields all the same."""
    site.authority.issue_login("alice")
    assert "trace_id" not in lines(caplog)[0]
    record: Any = caplog.records[-1]
    assert (record.trace_id, record.span_id) == ("", "")


def test_every_logger_of_ours_is_concerned_and_no_other_one(
    site: TracedSite, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those of rooms that are imported later; by whoever made records before."""
    with site.tracer.start_as_current_span("request"):
        for name in ("flask_clustertoken", "flask_clustertoken.later.room"):
            logging.getLogger(name).warning("said")
        for name in ("flask_clustertokens", "app", "root"):
            logging.getLogger(name).warning("said")
    assert [hasattr(one, "trace_id") for one in caplog.records] == [True, True, False, False, False]
    assert logging.makeLogRecord({"msg": "from elsewhere"}).getMessage() == "from elsewhere"


def test_several_apps_of_a_process_do_it_once(site: TracedSite) -> None:
    """Records are made by a chain that does not grow."""
    before = logging.getLogRecordFactory()
    TracedSite(sessions=False)
    assert logging.getLogRecordFactory() is before
