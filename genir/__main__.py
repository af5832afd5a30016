"""`python -m genir` runs the `genir` command."""

from genir.cli import main

main()
