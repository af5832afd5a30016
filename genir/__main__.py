"""The `genir` command, which is also `python -m genir`.

The command line is imported only after signals are handled, because its libraries take a moment to import.
"""

from genir.pipeline.interrupts import handle_signals


def main() -> None:
    """Run the command line of `genir`: the entry point of the console script."""
    handle_signals()
    from genir.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
