"""The command line that all programs share: tables of settings in the help, and one-line errors."""

import os
import subprocess
import sys

import pytest

from genir.config import setting_groups

PROGRAM = """
from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.command import ConfigArgument, OverridesArgument, run_command

def command(config: ConfigArgument, overrides: OverridesArgument = None) -> None:
    '''Do something.

    A second paragraph
    in two lines.
    '''
    if config.startswith("/"):
        open(config).close()
    raise GenirError(f"{{config}} {{overrides}}: a mistake [not markup]")

run_command(command, "something", {settings})
"""


def run(*arguments, settings=("sft", "search.splits")):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(settings=settings), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "80"},
    )


@pytest.fixture(scope="module")
def helps():
    return {option: run(option).stdout for option in ("--help", "--help-all")}


@pytest.mark.slow
def test_help_fits_80_columns_and_joins_the_lines_of_a_paragraph(helps):
    for text in helps.values():
        assert max(map(len, text.splitlines())) <= 80
        assert "genir something" in text
        assert "A second paragraph in two lines." in text


def test_help_shows_common_settings_and_help_all_shows_every_setting(helps):
    settings = [setting for group in setting_groups(("sft", "search.splits")) for setting in group.settings]
    assert {setting.rare for setting in settings} == {True, False}
    for setting in settings:
        shown = {option: f" {setting.key} " in text for option, text in helps.items()}
        assert shown == {"--help": not setting.rare, "--help-all": True}, setting.key
    assert "--help-all" in helps["--help"]


def test_a_program_without_settings_has_no_help_all():
    assert "--help-all" not in run("--help", settings=()).stdout


def test_an_error_is_one_line_on_stderr_with_status_1():
    done = run("c.yaml", "a=1")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: c.yaml ['a=1']: a mistake [not markup]\n"


def test_an_error_of_the_operating_system_for_a_path_is_one_line_that_names_the_path():
    done = run("/no/such[/x]")
    assert (done.returncode, done.stderr) == (1, "error: /no/such[/x]: No such file or directory\n")
