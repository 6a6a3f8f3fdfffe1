"""A job that each server's scheduler starts, and one server runs."""

import time
from datetime import datetime, timezone

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask

from flask_clustertoken import ClusterToken

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_CLUSTERTOKEN_STORE: the one that all servers share
tokens = ClusterToken(app)

EVERY = 60  # seconds


def report(run=print):
    # The moment for which it is planned: the same on each server, though one may be late.
    now = int(time.time())
    slot = datetime.fromtimestamp(now - now % EVERY, timezone.utc)
    with app.app_context():
        if tokens.shared("tasks").once("report", slot):
            run(f"the report of {slot:%H:%M:%S}")


def start():
    scheduler = BackgroundScheduler(timezone="UTC")
    # (Counted from a moment that is the same everywhere, not from when the server came up.)
    when = {"seconds": EVERY, "start_date": "2026-01-01 00:00:00"}
    scheduler.add_job(report, "interval", **when, misfire_grace_time=max(1, EVERY // 2))
    scheduler.start()
    return scheduler


def try_it():
    scheduler = start()
    (job,) = scheduler.get_jobs()
    assert job.misfire_grace_time == 30
    assert job.next_run_time.timestamp() % EVERY == 0
    scheduler.shutdown()
    ran = []
    for _ in range(10):
        report(ran.append)
    assert 1 <= len(ran) <= 2  # (the minute may have turned)
    assert len(set(ran)) == len(ran)
