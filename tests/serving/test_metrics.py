"""The metrics of several processes are added up."""

from tests.helpers.processes import ROOT, run_python

COUNT_IN_TWO_PROCESSES = """
import os, sys
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
from genir.records import Hits
from genir.serving.metrics import Metrics
for documents in (30, 31):
    if (child := os.fork()) == 0:
        metrics = Metrics()
        metrics.count_request("/search", "GET", 200, 0.2)
        metrics.count_search(Hits("owls", [], exact=True), 16)
        metrics.set_queue_length("fast", 2)
        metrics.set_documents(documents)
        metrics.count_reload(documents == 30)
        os._exit(0)
    os.waitpid(child, 0)
print(Metrics().render().decode())
"""


def test_the_metrics_of_all_processes_are_shown(tmp_path):
    done = run_python(["-c", COUNT_IN_TWO_PROCESSES, tmp_path], ROOT)
    for line in (
        'genir_requests_total{code="200",method="GET",route="/search"} 2.0',
        'genir_request_seconds_bucket{le="0.25",route="/search"} 2.0',
        'genir_request_seconds_bucket{le="0.1",route="/search"} 0.0',
        'genir_searches_total{certified="true"} 2.0',
        "genir_beams_sum 32.0",
        'genir_queue_length{queue="fast"} 4.0',
        "genir_documents 31.0",
        'genir_reloads_total{result="loaded"} 1.0',
        'genir_reloads_total{result="failed"} 1.0',
    ):
        assert line in done.stdout.splitlines(), done.stderr
