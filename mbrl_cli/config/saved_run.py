"""Load a saved run: its config, and the agent with what it learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from omegaconf import OmegaConf

from mbrl_cli.checkpoint_store import CONFIGS, load_newest_agent_state
from mbrl_cli.config.build import RunObjects, build, build_env
from mbrl_cli.config.overrides import apply_overrides
from mbrl_cli.config.saved_config import load_saved_config, refuse_other_config
from mbrl_cli.config.state_errors import state_errors
from mbrl_cli.config.state_shapes import refuse_other_shapes
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import printable
from mbrl_cli.threads_and_malloc import set_threads_and_malloc


def load_saved_run(
    folder: Path,
    overrides: Sequence[str] = (),
    trust: bool = False,
    user_dir: Path | None = None,
) -> tuple[RunObjects, int]:
    """Return the objects of a saved run, with the learned agent, and its environment step.

    Args:
        folder: a run folder.
        overrides: `key=value` for keys of the run's config, and `planner=NAME` for another planner.
        trust: whether the folder's config may name any code.
        user_dir: the folder of `--config-dir`; its YAML files name code that is allowed.

    Raises:
        UserError: if the folder holds no run, an override does not fit, or a file is damaged.
    """
    config = load_saved_config(folder, trust, user_dir)
    learned, damaged = load_newest_agent_state(folder)
    refuse_other_config(folder, learned.get(CONFIGS, []), learned["env_step"])
    for reason in damaged:
        print(f"mbrl: {printable(reason)}; the checkpoint of step {learned['env_step']:,} is used")
    apply_overrides(config, overrides, user_dir)
    run_objects = build(config, restored=True)
    set_threads_and_malloc(run_objects.threads)
    hint = f"{folder}: the saved state does not fit"
    refuse_other_shapes(learned["agent"], run_objects.agent.state_dict(), hint, "agent")
    with state_errors(folder):
        run_objects.agent.load_state_dict(learned["agent"])
    return run_objects, learned["env_step"]


def load_saved_env(
    folder: Path,
    render_mode: str | None = None,
    trust: bool = False,
    user_dir: Path | None = None,
) -> Env:
    """Return a new environment of a saved run, which needs no checkpoint.

    Args:
        folder: a run folder.
        render_mode: how the environment renders, such as "rgb_array" or "human"; None: as in the
            run.
        trust: see `load_saved_run`.
        user_dir: see `load_saved_run`.

    Raises:
        UserError: if the folder holds no run, or its environment cannot be built.
    """
    return saved_env_builder(folder, render_mode, trust, user_dir)()


def saved_env_builder(
    folder: Path,
    render_mode: str | None = None,
    trust: bool = False,
    user_dir: Path | None = None,
) -> Callable[[], Env]:
    """Return a function that builds environments of a saved run; the config is read once.

    Arguments and errors are those of `load_saved_env`.
    """
    config = load_saved_config(folder, trust, user_dir)
    if render_mode is not None and config.env.get("obs") != "pixels":
        OmegaConf.update(config, "env.kwargs.render_mode", render_mode, force_add=True)
    return partial(build_env, config)
