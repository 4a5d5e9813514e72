"""Entry point of `python -m mbrl_cli`, the same as the command `mbrl`."""

from mbrl_cli.cli import main

main()
