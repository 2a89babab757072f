"""What people would write instead: a script that polls a page of runs and counts them.

Usage: script.py poll URL KEY CYCLES | script.py serve WORKFLOWS
"""

import json
import sys
import time
import urllib.request
from datetime import datetime

from prometheus_client import Counter, Histogram, start_http_server

RUN_BUCKETS = [1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400]
STEP_BUCKETS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600]
OF_RUN = ["workflow_id", "workflow", "status", "origin"]
OF_STEP = ["workflow_id", "workflow", "step", "step_type", "status"]

runs = Counter("runs", "Finished runs.", OF_RUN)
created = Counter("created", "Created runs.", OF_RUN)
credits = Counter("run_credits", "Credits.", OF_RUN)
durations = Histogram("run_duration_seconds", "From start to end.", OF_RUN, buckets=RUN_BUCKETS)
queues = Histogram("queue_seconds", "From creation to start.", OF_RUN, buckets=RUN_BUCKETS)
steps = Counter("steps", "Finished steps.", OF_STEP)
step_durations = Histogram("step_seconds", "Of steps.", OF_STEP, buckets=STEP_BUCKETS)

seen = set()


def seconds(start, end):
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def count(workflow, run):
    labels = [workflow["id"], workflow["name"], run["status"], run["origin"]]
    runs.labels(*labels).inc()
    durations.labels(*labels).observe(seconds(run["started_at"], run["ended_at"]))
    queues.labels(*labels).observe(seconds(run["created_at"], run["started_at"]))
    for key, step in (run.get("output") or {}).items():
        of_step = [workflow["id"], workflow["name"], key, step["type"], step["status"]]
        steps.labels(*of_step).inc()
        step_durations.labels(*of_step).observe(1.0)


def get(url, key):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def poll(url, key, cycles):
    """Processor time per listed run, in µs."""
    workflow = get(f"{url}/apps/c/workflows", key)[0]
    page = f"{url}/apps/c/workflows/{workflow['id']}/runs?take=100"
    listed = 0
    before = None
    for cycle in range(cycles + 1):
        # The first cycle counts the runs; those that are measured know them.
        if cycle == 1:
            before = time.process_time()
            listed = 0
        for run in get(page, key):
            listed += 1
            if run["status"] in ("COMPLETED", "FAILED", "SKIPPED", "CANCELLED"):
                if run["id"] not in seen:
                    seen.add(run["id"])
                    count(workflow, run)
    print((time.process_time() - before) * 1e6 / listed)


def serve(workflows):
    """As many series as the exporter has of so many workflows."""
    for number in range(workflows):
        ids = [f"work_{number:022}", f"Workflow number {number}"]
        for status in ("COMPLETED", "FAILED", "SKIPPED", "CANCELLED"):
            for origin in ("WORKFLOW", "RECORD", "TEST"):
                runs.labels(*ids, status, origin).inc()
                if status in ("COMPLETED", "FAILED") and origin == "WORKFLOW":
                    durations.labels(*ids, status, origin).observe(4)
                    credits.labels(*ids, status, origin).inc(1.5)
                if status == "COMPLETED":
                    created.labels(*ids, status, origin).inc()
        queues.labels(*ids, "COMPLETED", "WORKFLOW").observe(4)
        of_step = [*ids, "ask", "model", "COMPLETED"]
        steps.labels(*of_step).inc()
        step_durations.labels(*of_step).observe(1)
    server, _ = start_http_server(0, addr="127.0.0.1")
    print(f"127.0.0.1:{server.server_port}", flush=True)
    time.sleep(3600)


if sys.argv[1] == "poll":
    poll(sys.argv[2], sys.argv[3], int(sys.argv[4]))
else:
    serve(int(sys.argv[2]))
