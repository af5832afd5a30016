"""The examples in docs/serving.md: requests that work, all options and metrics, and a valid systemd unit."""

import json
import re
import shlex
import shutil
import subprocess

import pytest

from tests.helpers.markdown import read_page
from tests.helpers.processes import ROOT, read_help

PATH = ROOT / "docs" / "serving.md"
TEXT = PATH.read_text(encoding="utf-8")
REQUESTS = [line for line in read_page(PATH).shell if line.startswith("curl ")]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", REQUESTS)
def test_the_requests_work(service, line):
    words = shlex.split(line.replace("http://127.0.0.1:8000/", str(service.base_url.join("/"))))
    done = subprocess.run([*words, "--silent", "--show-error", "--fail"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "/metrics" in line:
        assert "genir_documents 30.0" in done.stdout.splitlines()
    else:
        answer = json.loads(done.stdout)
        assert "error" not in answer
        if "/search?" in line:
            example = next(json.loads(x) for x in re.findall(r"```json\n(.*?)```", TEXT, re.S))
            assert answer.keys() == example.keys()
            assert answer["hits"][0].keys() == example["hits"][0].keys()


def test_all_options_and_metrics_are_listed(service):
    listed = {*re.findall(r"--[a-z-]+", "".join(x for x in TEXT.splitlines() if x.startswith("| `--")))}
    assert listed == {*re.findall(r"--[a-z-]+", read_help("serve"))} - {"--help"}
    documented = {*re.findall(r"^\| `(genir_\w+)`", TEXT, re.M)}
    text = service.get("/metrics").text.replace("_created", "_total")  # the times at which counters began
    assert documented == {*re.findall(r"^# TYPE (genir_\w+)", text, re.M)} - {"genir_request_seconds_total"} - {
        f"genir_{name}_total" for name in ("batch_size", "beams")
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_systemd_unit_is_valid(tmp_path):
    unit = re.search(r"```ini\n(.*?)```", TEXT, re.S)[1]
    (tmp_path / "genir.service").write_text(unit.replace("/opt/genir/.venv/bin/genir", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "genir.service"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "genir.service" not in done.stderr
