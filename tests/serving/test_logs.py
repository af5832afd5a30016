"""The logs: what they quote is shown as text."""

import json
import logging
import logging.config
import sys

from genir.serving.logs import PrintableFormatter, make_log_config


def test_control_characters_in_messages_and_tracebacks_are_escaped():
    try:
        raise ValueError("\x1b[31m\u202e")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "query %r\x9b", ("a\x1b",), sys.exc_info())
    text = PrintableFormatter("%(levelprefix)s %(message)s").format(record)
    assert text.startswith("ERROR:")
    assert "ValueError: \\x1b[31m\\u202e" in text
    assert {character for character in text if not character.isprintable()} == {"\n"}


def test_the_access_log_goes_to_stdout_as_it_is_and_messages_to_stderr(capsys):
    names = ("uvicorn", "uvicorn.access", "genir.serving", "genir.access")
    before = [(logging.getLogger(x).handlers, logging.getLogger(x).propagate) for x in names]
    try:
        for wanted in (False, True):
            logging.config.dictConfig(make_log_config(wanted))
            logging.getLogger("genir.access").info(json.dumps({"wanted": wanted}))
            logging.getLogger("genir.serving").info("a message\x1b")
    finally:
        for name, (handlers, propagate) in zip(names, before, strict=True):
            logging.getLogger(name).handlers = handlers
            logging.getLogger(name).propagate = propagate
    assert capsys.readouterr() == ('{"wanted": true}\n', "INFO:     a message\\x1b\n" * 2)
