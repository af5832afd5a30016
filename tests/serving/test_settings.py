"""The defaults of the settings are those of the command's options."""

import inspect

from genir.serve import command
from genir.serving.settings import ServiceSettings


def test_the_options_of_the_command_have_the_defaults_of_the_settings():
    options = inspect.signature(command).parameters
    defaults = {name: options[name].default for name in ServiceSettings._fields}
    assert defaults | {"cors": ()} == ServiceSettings()._asdict()
    assert defaults["cors"] is None  # typer's empty list
