"""`python -m genir` is the `genir` command."""

from genir.cli import main

main()
