"""A job that each server's scheduler starts, and one server runs."""

from datetime import datetime, timezone

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask

from flask_clustertoken import ClusterToken

app = Flask(__name__)
tokens = ClusterToken(app)


def report(run=print):
    # The minute for which it is planned: the same on each server, though one may be late.
    slot = datetime.now(timezone.utc).replace(second=0, microsecond=0)
    with app.app_context():
        if tokens.shared("tasks").once("report", slot):
            run(f"the report of {slot:%H:%M}")


def start():
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_job(report, "cron", minute="*", misfire_grace_time=30)
    scheduler.start()
    return scheduler


def try_it():
    scheduler = start()
    (job,) = scheduler.get_jobs()
    assert job.misfire_grace_time == 30
    scheduler.shutdown()
    ran = []
    for _ in range(10):
        report(ran.append)
    assert 1 <= len(ran) <= 2  # (the minute may have turned)
    assert len(set(ran)) == len(ran)
