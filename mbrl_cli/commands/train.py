"""`mbrl train`: train a run, or with -m the runs of a sweep."""

from __future__ import annotations


def run(argv: list[str]) -> None:
    """Train, and report a sweep at its end."""
    from mbrl_cli.config.train_command import launch

    end = launch(argv)
    if end is not None:
        from mbrl_cli.commands.sweep_report import report_sweep

        report_sweep(end)
