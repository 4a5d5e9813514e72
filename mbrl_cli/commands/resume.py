"""`mbrl resume FOLDER`: continue a run, a sweep or a search."""

from __future__ import annotations

from mbrl_cli.commands.saved_run_parser import SavedRunParser

EPILOG = """\
examples:
  mbrl resume outputs/RUN                      continue an interrupted run
  mbrl resume outputs/RUN total_steps=5000     extend a finished run
  mbrl resume outputs/RUN planner.horizon=30   change a setting from here on
  mbrl resume outputs/SWEEP                    continue a sweep: the runs that have not finished
  mbrl resume outputs/SWEEP seed=0,1,2,3       the same sweep with more seeds
  mbrl resume outputs/SEARCH trials=40         continue a search, with more trials
"""


def run(argv: list[str]) -> None:
    """Resume what the folder holds."""
    description = "Continue an interrupted run or sweep, or extend a finished one."
    words = SavedRunParser("resume", description, EPILOG).parse(argv)
    from mbrl_cli.config.sweep_record import SWEEP

    if (words.run_dir / SWEEP).exists():
        from mbrl_cli.commands.train import run as train
        from mbrl_cli.config.resume_sweep import sweep_words

        train(sweep_words(words.run_dir, words.overrides, words.trust, words.config_dir))
        return
    if (words.run_dir / "search.json").is_file():
        from mbrl_cli.commands.search import resume

        resume(words.run_dir, words.overrides, words.trust)
        return
    from mbrl_cli.config.resume_command import resume_saved_run

    resume_saved_run(words.run_dir, words.overrides, words.trust, words.config_dir)
