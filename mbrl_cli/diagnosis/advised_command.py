"""Commands that a diagnosis advises: more data for a run, or the run again with other settings."""

from __future__ import annotations

import shlex

from mbrl_cli.api.run import Run
from mbrl_cli.config.groups import GROUPS
from mbrl_cli.config.hparams import typed_words
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.models.linear import Linear

OTHER_MODEL = "gaussian_ensemble"  # the model of agent=mpc and agent=mbpo


def better_model(run: DiagnosedRun) -> str:
    """Return the command that is most likely to make the model of a run better.

    More data do not help a linear model: it has few weights, and its error stays where the true
    dynamics are not linear.
    """
    if isinstance(run.model, Linear):
        return train_again(run.run, f"model={OTHER_MODEL}")
    return longer(run)


def longer(run: DiagnosedRun) -> str:
    """Return the command that continues a run until it has twice the steps."""
    return f"mbrl resume RUN total_steps={2 * run.run.total_steps}"


def without_terminal_value(run: DiagnosedRun) -> str:
    """Return the command that trains an MPC agent without its terminal value.

    `mbrl eval` cannot leave it out: the saved state has its weights.
    """
    return train_again(run.run, "agent.terminal_value=false")


def with_other_function(run: DiagnosedRun, part: str) -> str:
    """Return the command that trains with the true reward or termination, or learns it."""
    source = "learned" if run.objects.env.spec.simulator is None else "known"
    return train_again(run.run, f"env.{part}={source}")


def train_again(run: Run, change: str) -> str:
    """Return the command that trains a new run with the words of a run and a changed setting.

    Args:
        run: a saved run. Without a record of its words, its choices and its seed are named.
        change: `key=value`; a new choice of a group drops the old settings of that group.
    """
    recorded = typed_words(run.folder)
    words = recorded or [*(f"{k}={run.choices[k]}" for k in GROUPS), f"seed={run.seed}"]
    key = change.partition("=")[0]
    kept = [word for word in words if not _is_replaced(_key(word), key)]
    options = [] if run.config_dir is None else ["--config-dir", str(run.config_dir)]
    return " ".join(["mbrl train", *map(shlex.quote, [*options, *kept, change])])


def _is_replaced(old: str, new: str) -> bool:
    return old == new or (new in GROUPS and old.startswith(f"{new}."))


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]
