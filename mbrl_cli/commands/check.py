"""`mbrl check env=NAME`: try an environment before the first run on it."""

from __future__ import annotations

from mbrl_cli.commands.config_dir import add_config_dir
from mbrl_cli.commands.parser import Parser
from mbrl_cli.errors import UserError

EPILOG = """\
examples:
  mbrl check env=cartpole                          an environment of mbrl
  mbrl check env=gym env.id=my_package:MyEnv-v0    your own, from the current folder
  mbrl check env=gym env.id=my_package:MyEnv-v0 env.reward=my_package:reward
                                                   also compare its reward function
  mbrl check env=pendulum agent=mbpo total_steps=3000
                                                   also estimate the time of this run

Exit code 0: the last line is the command to type. Exit code 2: the last line is the first fault.
"""


def run(argv: list[str]) -> None:
    """Check an environment and print the results; raise UserError with the first fault."""
    parser = Parser(
        command="check",
        usage="env=NAME [key=value ...] [--config-dir DIR]",
        description="Check an environment, and estimate the run that is configured for it.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help="as after mbrl train; env=NAME must be given"
    )
    add_config_dir(parser, "also use the YAML files in DIR")
    words = parser.parse_intermixed_args(argv)
    if not any(word.partition("=")[0] == "env" for word in words.words):
        parser.error("env=NAME: must be given")

    from mbrl_cli.reports.check_report import CheckReport
    from mbrl_cli.reports.env_check import EnvCheck
    from mbrl_cli.reports.run_check import RunCheck, command_line

    report, typed = CheckReport(), list(words.words)
    try:
        check = EnvCheck(words.words, words.config_dir, report)
        sampling = check.run()
        if sampling is not None:
            of_run = RunCheck(words.words, words.config_dir, report)
            typed = of_run.run(sampling, check.is_simulated)
    except UserError as error:
        raise UserError(str(error)) from error  # exit code 2, also for a fault of the environment
    if report.faults:
        number = len(report.faults)
        print(f"\n{number} fault{'s' if number > 1 else ''} found", flush=True)
        raise UserError(report.faults[0])
    print(f"\nnothing is wrong; to train type:\n  {command_line(typed, words.config_dir)}")
