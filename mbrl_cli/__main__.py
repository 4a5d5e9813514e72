"""`python -m mbrl_cli` is `mbrl`."""

from mbrl_cli.cli import main

main()
