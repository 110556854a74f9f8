"""The night in Airflow 3: a task per job, a group of tasks per model of models/.

    ingest → tables → features ─┬────────────────────────→ score → monitor → report → night
                                └→ train → gate → judged ──┘                    per model: train … monitor

The logical date is D, the day whose events the night is about: its data interval is [D 00:00Z, D+1 00:00Z), and it runs
when that is over. A job asked twice for a date does nothing the second time, and one that was killed is completed by
its next run; so a task may be retried, cleared, backfilled, or run twice at once, as Airflow pleases.

What a job's exit code becomes:  0 success · 4 (the gate refused) skipped · 75, or killed: failed, to be retried ·
any other: failed, not to be retried.

A gate that was skipped or failed stops no scoring, nor does a training that failed: `judged` succeeds whatever became
of them, and the champion scores. The run fails by `night`, its last task, if any task did, so that none goes unseen.

Set in the environment of the scheduler and its workers: SCOREHOUSE (the binary), SCOREHOUSE_PROJECT (the directory with
sql/, features/ and models/, in which jobs are started), SCOREHOUSE_PROFILE; and SCOREHOUSE_DEADLINE, the hour after D by
which scores must be there, 6 if it is not set, none if it is empty. docs/howto/schedule.md has the rest.
"""

import logging
import os
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

import yaml
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, CronDataIntervalTimetable, SyncCallback, TaskGroup, TriggerRule
from airflow.sdk import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

BINARY = os.environ.get("SCOREHOUSE", "scorehouse")
PROJECT = Path(os.environ.get("SCOREHOUSE_PROJECT", Path(__file__).resolve().parents[2]))
PROFILE = os.environ.get("SCOREHOUSE_PROFILE", "orchestration/local.yaml")
DEADLINE = os.environ.get("SCOREHOUSE_DEADLINE", "6")

GATE_REFUSED, TEMPORARY = 4, 75


class Scorehouse(BaseOperator):
    """`scorehouse JOB --date D`, of one model if one is named."""

    template_fields = ("date",)

    def __init__(self, job: str, model: str | None = None, **kwargs):
        super().__init__(task_id=job, **kwargs)
        self.job, self.model = job, model
        self.date = "{{ ds | default('') }}"

    @cached_property
    def process(self):
        return SubprocessHook()

    def execute(self, context):
        if not "" < self.date < f"{datetime.now(timezone.utc):%Y-%m-%d}":
            raise AirflowFailException(f"the logical date is {self.date or 'none'}; it must be a day that is over")
        command = [BINARY, self.job, "--date", self.date, "--profile", PROFILE]
        command += ["--select", self.model] if self.model else []
        code = self.process.run_command(command, cwd=str(PROJECT)).exit_code
        if code == GATE_REFUSED:
            raise AirflowSkipException("the gate refused the candidate; the champion stays, and scores")
        if code == TEMPORARY or code < 0 or code > 128:
            raise RuntimeError(f"exit code {code}: temporary, or killed; a retry completes it")
        if code:
            raise AirflowFailException(f"exit code {code}: a retry would not help; the log says what does")

    def on_kill(self):
        self.process.send_sigterm()


def late(context):
    """Replace by whom you want to be told. A backfilled date is late by nature."""
    run = context["dag_run"]
    if run["run_type"] == "scheduled":
        logging.getLogger(__name__).error("the night of %s has no end yet", run["logical_date"])


def models() -> list[str]:
    """As scorehouse finds them: definitions below models/ that are no experiments."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((PROJECT / "models").rglob("*.yaml"))]
    return [definition["model"] for definition in found if "experiment" not in definition]


with DAG(
    "scorehouse",
    description="Raw events of a day to scores and decisions.",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    # With True, Airflow makes up for every night since start_date, in order.
    catchup=False,
    max_active_runs=1,
    default_args={
        "pool": "scorehouse",
        # After core.default_task_retry_delay (5 minutes), then twice that, and so on.
        "retries": 4,
        "retry_exponential_backoff": 2.0,
        "execution_timeout": timedelta(hours=3),
    },
    # Airflow 3 has no SLAs. Scores are there by 06:00Z of the morning after D, or `late` says so.
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(days=1, hours=float(DEADLINE)),
        callback=SyncCallback(late),
    )
    if DEADLINE
    else None,
) as dag:
    ingest, tables, features = (Scorehouse(job=job) for job in ("ingest", "tables", "features"))
    # If at least one model scored.
    report = Scorehouse(job="report", trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
    night = EmptyOperator(task_id="night", trigger_rule=TriggerRule.NONE_FAILED)
    ingest >> tables >> features
    for model in models():
        with TaskGroup(model):
            jobs = ("train", "gate", "score", "monitor")
            train, gate, score, monitor = (Scorehouse(job=job, model=model) for job in jobs)
            # Not by a rule of `score`: none runs it after a failed gate, and never without tonight's features.
            judged = EmptyOperator(task_id="judged", trigger_rule=TriggerRule.ALL_DONE)
        features >> train >> gate >> judged
        [features, judged] >> score >> monitor
        [score, monitor] >> report
        [gate, monitor, report] >> night
