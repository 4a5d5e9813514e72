"""One line about an exception that an environment raised."""

from __future__ import annotations

from mbrl_cli.envs.time_limit import EnvTimeout

MAX_LENGTH = 300


def described_error(error: BaseException) -> str:
    """Return the type and the text of an exception, or the place where it was raised."""
    reason = " ".join(str(error).split())[:MAX_LENGTH]
    if isinstance(error, SystemExit):
        reason = f"the environment called sys.exit({reason})"
    elif isinstance(error, KeyboardInterrupt):
        reason = "the environment raised it; no signal arrived"
    name = "TimeoutError" if isinstance(error, EnvTimeout) else type(error).__name__
    return f"{name}: {reason}" if reason else f"{name}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return the module and line that raised, such as ` in my_package.env, line 12`."""
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" in {trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno}"
