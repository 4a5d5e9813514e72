"""`mbrl fork RUN_DIR at=STEP`: start a new run from a checkpoint of another.

The folder of the fork is written as that of a run that was interrupted at the step of the
checkpoint: the rows of metrics.csv and the transitions up to there, and one checkpoint with the new
config. Then it is resumed, so a fork without a changed key is equal to the original to the bit.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.checkpoint import SUFFIX, save_checkpoint
from mbrl_cli.checkpoint_store import CONFIGS, REPLAY, load_replay, segment_name
from mbrl_cli.config.build import build
from mbrl_cli.config.choice_record import record_choices, recorded_choices
from mbrl_cli.config.config_changes import Changes, find_changes, refuse_fixed_keys
from mbrl_cli.config.disk_faults import disk_faults
from mbrl_cli.config.fork_record import write_fork
from mbrl_cli.config.fork_source import (
    checkpoint_steps,
    describe_checkpoints,
    load_checkpoint_at,
)
from mbrl_cli.config.hparams import OVERRIDES_FILE, typed_words
from mbrl_cli.config.job_name import job_name
from mbrl_cli.config.output_folder import check_output_folder, check_run_folder
from mbrl_cli.config.overrides import apply_overrides
from mbrl_cli.config.own_runs import record_origin, training_folder
from mbrl_cli.config.saved_config import (
    CONFIG,
    config_record,
    load_saved_config,
    parse_config_record,
    refuse_other_config,
)
from mbrl_cli.config.state_shapes import refuse_other_shapes
from mbrl_cli.config.sweep_folder import refuse_sweep_folder
from mbrl_cli.config.train import resume_run
from mbrl_cli.config.versions import VERSIONS, collect_versions
from mbrl_cli.errors import UserError, printable
from mbrl_cli.metrics_csv import METRICS_CSV, check_metrics_csv
from mbrl_cli.run_files import CHECKPOINTS, read_regular, write_atomically
from mbrl_cli.seeding import torch_generator

FREE_KEYS = ("seed",)  # a resumed run keeps them, a fork does not
MAX_METRICS = 2**31  # bytes
MAX_PARENT = 120  # characters of the run's name that are part of the fork's name
# Keys in the state of an agent.
GENERATOR = "generator"  # of a random generator's state
FIRST_STEP = "first_step"  # of the environment step at which gradient steps began


def fork_saved_run(
    source: Path,
    env_step: int | None,
    overrides: Sequence[str],
    folder: Path | None,
    trust: bool,
    user_dir: Path | None,
) -> float:
    """Fork the run in `source`, train the fork to its end, and return its final mean return.

    Args:
        source: a run folder, which is not changed.
        env_step: the step of one of its checkpoints; None: not given.
        overrides: `key=value`, or `planner=NAME` for another planner.
        folder: the folder of the fork; None: a new one beside `source`.
        trust: whether the config of the run may name any code.
        user_dir: the folder of `--config-dir`; its YAML files name code that is allowed.

    Raises:
        UserError: if there is no checkpoint at this step, or a change does not fit it. Then nothing
            is written.
    """
    refuse_sweep_folder("fork", source)
    config = load_saved_config(source, trust, user_dir)
    check_run_folder(source)
    if env_step is None:
        steps = checkpoint_steps(source)
        raise UserError(f"at: must be given; {describe_checkpoints(source, steps)}")
    before = _plain(config)
    new_choices = apply_overrides(config, overrides, user_dir)
    changes = find_changes(before, _plain(config))
    refuse_fixed_keys(changes, source, "a fork", FREE_KEYS)
    state = load_checkpoint_at(source, env_step)
    refuse_other_config(source, state.get(CONFIGS, []), env_step)
    load_replay(source, state)  # all segments are intact
    check_metrics_csv(source, state["log"]["csv"], state["log"].get("csv_crc"))
    state = _fitting_state(config, state, changes, source)
    choices = recorded_choices(source) | new_choices
    target = folder or _path_beside(source, env_step, overrides)
    check_output_folder(target)
    _write_folder(target, source, config, state, overrides, choices)
    print(f"fork        {target} of {source} at step {env_step:,}")
    for key, (old, new) in changes.items():
        print(printable(f"  {key}: {old} -> {new}"))
    return resume_run(target, config, trust, user_dir)


def _fitting_state(
    config: DictConfig, state: dict[str, Any], changes: Changes, source: Path
) -> dict[str, Any]:
    """Return the state for the fork's checkpoint; raise UserError if it does not fit the config.

    With another seed all random generators start anew. With another setting of the agent its
    ratio of gradient steps to environment steps counts from the fork on.
    """
    run_objects = build(config, restored=True)
    try:
        built = run_objects.agent.state_dict()
        settings = run_objects.settings
    finally:
        for env in run_objects.envs:
            env.close()
    if settings.total_steps <= state["env_step"]:
        raise UserError(
            f"total_steps={settings.total_steps}: must be > {state['env_step']}, the step of the "
            "fork"
        )
    keys = [key for key in changes if key.startswith(("model.", "agent."))]
    hint = f"{', '.join(keys) or source}: the saved state does not fit"
    refuse_other_shapes(state["agent"], built, hint, "agent")
    agent = state["agent"]
    if any(key.startswith("agent.") for key in changes):
        agent = _renewed(agent, built, FIRST_STEP)
    if "seed" not in changes:
        return state | {"agent": agent}
    generators = {
        name: torch_generator(settings.seed, name).get_state() for name in state["generators"]
    }
    return state | {"generators": generators, "agent": _renewed(agent, built, GENERATOR)}


def _renewed(saved: Mapping[Any, Any], built: Mapping[Any, Any], name: str) -> dict[Any, Any]:
    """Return the saved state of an agent with the values called `name` of a new one, nested too."""
    result = dict(saved)
    for key, value in saved.items():
        if key == name and key in built:
            result[key] = built[key]
        elif isinstance(value, Mapping) and isinstance(built.get(key), Mapping):
            result[key] = _renewed(value, built[key], name)
    return result


def _write_folder(
    target: Path,
    source: Path,
    config: DictConfig,
    state: dict[str, Any],
    words: Sequence[str],
    choices: Mapping[str, str],
) -> None:
    """Write the folder of the fork; its config.yaml is last, which makes it a run."""
    content = OmegaConf.to_yaml(_plain(config)).encode()
    record = parse_config_record(content, target / CONFIG)
    log = state["log"]
    # The event file starts at the fork: TensorBoard shows the past with the curve of the source.
    position = {**log, "events": 0, "shared": log["csv"]}
    with disk_faults(target, "then type the command again"):
        target.mkdir(parents=True, exist_ok=True)
        (target / REPLAY).mkdir(exist_ok=True)
        for start, stop in state["segments"]:
            name = f"{segment_name(start, stop)}{SUFFIX}"
            shutil.copyfile(source / REPLAY / name, target / REPLAY / name, follow_symlinks=False)
        metrics = read_regular(source / METRICS_CSV, MAX_METRICS)[: log["csv"]]
        write_atomically(target / METRICS_CSV, metrics)
        name = f"{state['env_step']:010d}"
        checkpoint = state | {"log": position, CONFIGS: [record]}
        save_checkpoint(target / CHECKPOINTS, name, checkpoint)
        versions = json.dumps(collect_versions(), indent=2) + "\n"
        write_atomically(target / VERSIONS, versions.encode())
        record_choices(target, choices)
        (target / OVERRIDES_FILE).parent.mkdir(exist_ok=True)
        typed = OmegaConf.to_yaml([*typed_words(source), *words])
        write_atomically(target / OVERRIDES_FILE, typed.encode())
        write_fork(target, source, state["env_step"], words)
        started_in = training_folder(source, config_record(source))
        if started_in is not None:
            record_origin(target, [record], started_in)
        write_atomically(target / CONFIG, content)


def _path_beside(source: Path, env_step: int, words: Sequence[str]) -> Path:
    """Return a path beside the run that says how it was forked, such as RUN_at1000_icem."""
    name = source.absolute().name[:MAX_PARENT]
    name = "_".join(filter(None, [name, f"at{env_step}", job_name(words) if words else ""]))
    parent = source.parent if source.name not in ("", "..") else source.absolute().parent
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(path for path in (parent / name for name in names) if not path.exists())


def _plain(config: DictConfig) -> dict[str, Any]:
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}
