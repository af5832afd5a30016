"""The logs of the service: messages go to stderr and, if that is asked for, one line of JSON per request to stdout."""

import logging
from typing import Any

from uvicorn.logging import DefaultFormatter

from genir.errors import make_printable


class PrintableFormatter(DefaultFormatter):
    """uvicorn's formatter without colours; control characters in messages and tracebacks are escaped."""

    def __init__(self, fmt: str) -> None:
        super().__init__(fmt, use_colors=False)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as text that a terminal shows as it is."""
        return make_printable(super().format(record), keep="\n\t")


def make_log_config(access_log: bool) -> dict[str, Any]:
    """Create the configuration of the logs, in the form of `logging.config.dictConfig`."""
    stderr, stdout = (
        {"class": "logging.StreamHandler", "stream": f"ext://sys.{stream}", "formatter": formatter}
        for stream, formatter in (("stderr", "text"), ("stdout", "json"))
    )
    normal = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"()": PrintableFormatter, "fmt": "%(levelprefix)s %(message)s"},
            "json": {"format": "%(message)s"},
        },
        "handlers": {"stderr": stderr, "stdout": stdout},
        "loggers": {
            "uvicorn": normal,
            "uvicorn.access": {"handlers": [], "propagate": False},
            "genir.serving": normal,
            "genir.access": normal | {"handlers": ["stdout"] if access_log else []},
        },
    }
