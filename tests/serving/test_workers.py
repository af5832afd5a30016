"""Several processes that serve together: one that ends is replaced, and all end with the first."""

import subprocess
import sys

from genir.serving.workers import divide_threads
from tests.helpers.processes import ROOT

THREE_WORKERS = """
import logging, os, signal, sys
from genir.serving.workers import run_workers

def write(*words):
    os.write(1, " ".join([*map(str, words), "\\n"]).encode())  # as one piece, since several processes write

def serve():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    write("started", os.getpid())
    signal.sigwait([signal.SIGTERM])
    write("ended", os.getpid())

logging.basicConfig(stream=sys.stdout)
run_workers(3, serve, 30, lambda pid: write("gone", pid), lambda: write("stopping"))
write("all ended")
"""


def test_a_worker_that_is_killed_is_replaced_and_all_end_on_sigterm():
    process = subprocess.Popen([sys.executable, "-c", THREE_WORKERS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process.stdout as output:
        first = [int(output.readline().split()[1]) for _ in range(3)]
        subprocess.run(["kill", "-KILL", str(first[1])], check=True)
        after = [output.readline() for _ in range(3)]
        process.terminate()
        rest = output.read().splitlines()
    assert after[0].split() == ["gone", str(first[1])]
    assert f"worker {first[1]} has ended with status -9" in after[1]
    new = int(after[2].split()[1])
    assert rest[0].strip() == "stopping"  # before any process has ended
    assert {line.strip() for line in rest} >= {f"ended {pid}" for pid in (first[0], first[2], new)}
    assert rest[-1].strip() == "all ended"
    assert process.wait() == 0


def test_all_workers_end_when_the_first_process_is_killed():
    process = subprocess.Popen([sys.executable, "-c", THREE_WORKERS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with process.stdout as output:
        workers = [output.readline().split()[1] for _ in range(3)]
        process.kill()
        rest = output.read().splitlines()  # until the last process has closed the pipe
    assert {line.strip() for line in rest} == {f"ended {pid}" for pid in workers}
    process.wait()


def test_the_cores_are_divided_unless_the_number_of_threads_is_given(monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    divide_threads(2)
    assert torch.get_num_threads() == before
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        divide_threads(1000)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
