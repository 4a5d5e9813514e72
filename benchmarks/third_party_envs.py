"""Short runs with environments of other packages: which ones work, and what the others print.

Each id is tried with every agent of `AGENTS`, as a user types it, for 200 steps; an environment
that is refused is tried once, because it is built before the agent. A cell of the
table is "runs", or the line with which the run was refused. Everything else is a fault: a
traceback, no end within the time limit, an unexpected exit code, lines of other libraries, or a
return that is not finite.

The packages are not dependencies of mbrl. Install those that you want to try; ids of other packages
are skipped. Results are kept in a JSON file, so that several virtual environments fill one table:

    python benchmarks/third_party_envs.py --out results.json
    python benchmarks/third_party_envs.py --out results.json --table
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from mbrl_cli.config.composition import compose_config
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError
from mbrl_cli.reports.space_entries import short_space

SMALL = [
    "total_steps=200", "prefill_steps=100", "eval_every=100", "eval_episodes=1",
    "final_eval_episodes=2", "device=cpu", "console=false", "threads=1",
]  # fmt: skip
AGENTS = {
    "random": ["agent=random"],
    "mpc": [
        "agent=mpc", "planner=cem", "planner.horizon=5", "planner.population=50",
        "planner.iterations=2", "model.max_steps=200",
    ],
    "sac": ["agent=sac"],
    "dreamer": ["agent=dreamer", "agent.pretrain_steps=5", "agent.replay_ratio=0.05"],
}  # fmt: skip
TIMEOUT = 600  # seconds for one run


class Case(NamedTuple):
    """One environment, as it is named on the command line."""

    package: str  # distribution on PyPI
    id: str
    words: tuple[str, ...] = ()  # further overrides of `env.`


def _wrapped(package: str, id: str, *wrappers: str) -> Case:
    return Case(package, id, (f"env.wrappers=[{','.join(wrappers)}]",))


MINIGRID = "minigrid.wrappers."
FILTER = "{_target_:gymnasium.wrappers.FilterObservation,filter_keys:["
SHORT = "env.max_episode_steps=200"  # episodes of Atari last up to 27,000 steps
CASES = [
    Case("ale-py", "ALE/Pong-v5", (SHORT,)),
    Case("ale-py", "ALE/Breakout-v5", ("env.kwargs.obs_type=ram", SHORT)),
    Case("ale-py", "ALE/Pong-v5", ("env.obs=pixels", "env.pixel_size=32", SHORT)),
    Case(
        "ale-py",
        "ALE/Pong-v5",
        (
            "env.kwargs.frameskip=1",
            "env.wrappers=[{_target_:gymnasium.wrappers.AtariPreprocessing,screen_size:64}]",
            SHORT,
        ),
    ),
    Case("bsuite", "bsuite/catch-v0"),
    Case("bsuite", "bsuite/cartpole-v0"),
    Case("crafter", "crafter:CrafterReward-v1"),
    Case("flappy-bird-gymnasium", "flappy_bird_gymnasium:FlappyBird-v0"),
    Case(
        "flappy-bird-gymnasium",
        "flappy_bird_gymnasium:FlappyBird-v0",
        ("env.kwargs.use_lidar=false",),
    ),
    Case("gym-anytrading", "gym_anytrading:stocks-v0"),
    Case("gym-electric-motor", "gym_electric_motor:Cont-CC-PMSM-v0"),
    Case("gym-electric-motor", "gym_electric_motor:Finite-SC-SeriesDc-v0"),
    Case("gymnasium-robotics", "gymnasium_robotics:FetchReach-v4"),
    Case("gymnasium-robotics", "gymnasium_robotics:FetchPushDense-v4"),
    Case("gymnasium-robotics", "gymnasium_robotics:HandReach-v3"),
    Case("gymnasium-robotics", "gymnasium_robotics:FrankaKitchen-v1"),
    Case("gymnasium-robotics", "gymnasium_robotics:PointMaze_UMaze-v3"),
    Case("gymnasium-robotics", "gymnasium_robotics:AdroitHandDoor-v1"),
    Case("highway-env", "highway_env:highway-fast-v0"),
    Case("highway-env", "highway_env:parking-v0"),
    Case("highway-env", "highway_env:racetrack-v0"),
    Case("highway-env", "highway_env:intersection-multi-agent-v0"),
    Case("memory-gym", "memory_gym:MortarMayhem-Grid-v0"),
    Case("metaworld", "metaworld:Meta-World/MT1", ("env.kwargs.env_name=reach-v3",)),
    Case("minigrid", "minigrid:MiniGrid-Empty-5x5-v0"),
    _wrapped("minigrid", "minigrid:MiniGrid-Empty-5x5-v0", f"{MINIGRID}FlatObsWrapper"),
    _wrapped("minigrid", "minigrid:MiniGrid-Empty-5x5-v0", f"{MINIGRID}ImgObsWrapper"),
    _wrapped(
        "minigrid", "minigrid:MiniGrid-DoorKey-5x5-v0", f"{MINIGRID}RGBImgPartialObsWrapper",
        f"{MINIGRID}ImgObsWrapper",
    ),
    _wrapped("minigrid", "minigrid:BabyAI-GoToLocal-v0", FILTER + "image,direction]}"),
    Case("minigrid", "minigrid:BabyAI-GoToLocal-v0", ("env.obs=pixels",)),
    Case("mo-gymnasium", "mo_gymnasium:deep-sea-treasure-v0"),
    Case(
        "mo-gymnasium",
        "mo_gymnasium:deep-sea-treasure-v0",
        ("env.wrappers=[{_target_:mo_gymnasium.wrappers.LinearReward,weight:[0.8,0.2]}]",),
    ),
    _wrapped(
        "mo-gymnasium", "mo_gymnasium:mo-hopper-v5", "mo_gymnasium.wrappers.LinearReward"
    ),
    Case("panda-gym", "panda_gym:PandaReach-v3"),
    Case("panda-gym", "panda_gym:PandaPushDense-v3"),
    Case("pettingzoo", "pettingzoo:connect_four_v3"),
    Case("popgym", "popgym:popgym-RepeatPreviousEasy-v0"),
    Case("popgym", "popgym:popgym-PositionOnlyCartPoleEasy-v0"),
    Case("popgym", "popgym:popgym-BattleshipEasy-v0"),
    Case("pybullet-envs-gymnasium", "pybullet_envs_gymnasium:HopperBulletEnv-v0"),
    Case("pybullet-envs-gymnasium", "pybullet_envs_gymnasium:InvertedPendulumBulletEnv-v0"),
    Case("tetris-gymnasium", "tetris_gymnasium.envs:tetris_gymnasium/Tetris"),
    _wrapped(
        "tetris-gymnasium", "tetris_gymnasium.envs:tetris_gymnasium/Tetris",
        "tetris_gymnasium.wrappers.observation.FeatureVectorObservation",
    ),
    Case("tetris-gymnasium", "tetris_gymnasium:Tetris-v0"),
    Case("vizdoom", "vizdoom.gymnasium_wrapper:VizdoomBasic-v1", (SHORT,)),
    Case(
        "vizdoom",
        "vizdoom.gymnasium_wrapper:VizdoomBasic-v1",
        ("env.wrappers=[" + FILTER + "screen]}]", SHORT),
    ),
]  # fmt: skip


class Result(NamedTuple):
    """What a user saw of one run."""

    package: str
    version: str
    command: str  # without the agent and the size of the run
    agent: str
    exit_code: int | None  # None: no end within the time limit
    seconds: float
    error: str  # everything on stderr
    output: str  # everything on stdout
    result: float | None  # mean return of the final evaluation
    spaces: str


def try_case(case: Case, agent: str, folder: Path) -> Result:
    """Run `mbrl train` once in `folder`."""
    words = ["env=gym", f"env.id={case.id}", *case.words]
    run = folder / "run"
    command = [
        sys.executable, "-m", "mbrl_cli", "train", *words, *AGENTS[agent], *SMALL,
        f"hydra.run.dir={run}",
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
        code, output, error = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as expired:
        code, output, error = None, _text(expired.stdout), _text(expired.stderr)
    seconds = time.monotonic() - start
    version = importlib.metadata.version(case.package)
    shown = " ".join(words[1:]).replace("env.id=", "", 1)
    return Result(
        case.package, version, shown, agent, code, round(seconds, 1),
        error.replace(str(run), "RUN"), output.replace(str(run), "RUN"), _final_return(run), "",
    )  # fmt: skip


def describe_spaces(case: Case) -> str:
    """Return the observation and the action space, separated by `; `, or an empty text."""
    register_resolvers()
    config = compose_config(["env=gym", f"++env.id={case.id}", *(f"++{w}" for w in case.words)])
    arguments: Any = OmegaConf.to_container(config.env)
    del arguments["_target_"], arguments["recommended"]
    try:
        env = make_env(**arguments).gym
    except UserError:
        return ""
    return f"{short_space(env.observation_space)}; {short_space(env.action_space)}"


def _text(stream: bytes | str | None) -> str:
    return stream.decode(errors="replace") if isinstance(stream, bytes) else stream or ""


def _final_return(run: Path) -> float | None:
    path = run / "metrics.csv"
    if not path.exists():
        return None
    with path.open(newline="") as file:
        values = [row["value"] for row in csv.DictReader(file) if row["tag"] == "eval/return"]
    return float(values[-1]) if values else None


def _refused_environment(results: dict[str, Any], case: Case, agent: str) -> Result | None:
    """Return the result of another agent if the environment itself was refused.

    The environment is built before the agent, so the line does not depend on the agent.
    """
    for other in AGENTS:
        values = results.get(" ".join([case.id, *case.words, other]))
        if values is not None and values["exit_code"]:
            result = Result(**values)
            if not fault(result) and own_lines(result.error)[-1].startswith("env."):
                return result._replace(agent=agent)
    return None


def own_lines(error: str) -> list[str]:
    """Return the lines of mbrl on stderr, without the prefix."""
    return [line.removeprefix("mbrl: ") for line in error.splitlines() if line.startswith("mbrl: ")]


def fault(result: Result) -> str:
    """Return what is wrong with a run, or an empty text."""
    if result.exit_code is None:
        return f"no end within {TIMEOUT} seconds"
    if "Traceback" in result.error + result.output:
        return "traceback"
    if result.exit_code not in (0, 2, 3):
        return f"exit code {result.exit_code}"
    others = [
        line for line in result.error.splitlines() if line.strip() and not line.startswith("mbrl: ")
    ]
    if others:
        return f"foreign line: {others[0][:200]}"
    if result.exit_code == 0 and (result.result is None or not math.isfinite(result.result)):
        return f"return {result.result}"
    if result.exit_code and len(own_lines(result.error)) != 1:
        return f"{len(own_lines(result.error))} lines"
    return ""


def table(results: list[Result]) -> str:
    """Return a Markdown table with one row for each environment."""
    rows: dict[tuple[str, str, str], dict[str, Result]] = {}
    for result in results:
        rows.setdefault((result.package, result.version, result.command), {})[result.agent] = result
    lines: list[str] = []
    notes: list[str] = []
    header = ["package", "environment", "observation", "action", *AGENTS]
    lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for (package, version, command), by_agent in sorted(rows.items()):
        spaces = next((r.spaces for r in by_agent.values() if r.spaces), "; ").split("; ")
        cells = [f"{package} {version}", f"`{command}`", *spaces]
        for agent in AGENTS:
            cells.append(_cell(by_agent.get(agent), notes))
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {text}" for number, text in enumerate(notes, 1))]
    return "\n".join(lines) + "\n"


def _cell(result: Result | None, notes: list[str]) -> str:
    if result is None:
        return ""
    wrong = fault(result)
    if wrong:
        return f"**{wrong}**"
    if result.exit_code == 0:
        return "runs"
    line = re.sub(
        r"\S+ observes images \[.*?\]", "ID observes images SHAPE", own_lines(result.error)[-1]
    )
    text = f"`{line}`"
    if text not in notes:
        notes.append(text)
    return f"line {notes.index(text) + 1}"


def main() -> None:
    """Run the cases that are missing in the results, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file with the results")
    parser.add_argument("--only", default="", help="regular expression of package and id")
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=list(AGENTS))
    parser.add_argument("--again", action="store_true", help="repeat runs that have a result")
    parser.add_argument("--table", action="store_true", help="print the table and stop")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    if options.out.exists():
        results = json.loads(options.out.read_text())
    if options.table:
        print(table([Result(**value) for value in results.values()]))
        return
    for case in CASES:
        if not re.search(options.only, f"{case.package} {case.id} {' '.join(case.words)}"):
            continue
        try:
            importlib.metadata.version(case.package)
        except importlib.metadata.PackageNotFoundError:
            continue
        for agent in options.agents:
            key = " ".join([case.id, *case.words, agent])
            if key in results and not options.again:
                continue
            refused = _refused_environment(results, case, agent)
            with tempfile.TemporaryDirectory() as folder:
                result = refused or try_case(case, agent, Path(folder))
            if result.exit_code == 0 and agent == options.agents[0]:
                result = result._replace(spaces=describe_spaces(case))
            results[key] = result._asdict()
            options.out.write_text(json.dumps(results, indent=1))
            shown = fault(result) or ("runs" if not result.exit_code else "refused")
            print(f"{result.seconds:6.1f} s  {result.result}  {key}  {shown}", flush=True)
            for line in result.error.splitlines():
                print(f"          {line[:300]}", flush=True)


if __name__ == "__main__":
    main()
