"""Entry point of `python -m mbrl_cli`, the same as the command `mbrl`."""

import sys

# `python -m` searches the current folder first, so a file numpy.py there would replace numpy. The
# command `mbrl` does not: `make_importable` adds the folder at the end where a command needs it.
# `python -P` and PYTHONSAFEPATH leave it out already.
if not sys.flags.safe_path:
    del sys.path[0]

from mbrl_cli.cli import main

main()
