"""Kill tiny runs of every agent with every model, resume them, and compare with uninterrupted runs.

    python benchmarks/kill_and_resume.py [--kills 200] [--seed 0] [--out kills.json]
    python benchmarks/kill_and_resume.py --only "mpc linear" --observations dmc

A case is an agent, a model, a kind of observation and the phase in which the process is killed:

    fit      `Agent.update`
    eval     evaluation episodes
    write    a checkpoint is being written
    resume   `mbrl resume` has started, and the resumed run has not taken a step yet
    act      planning and the environment; used for agents that never learn

The process is killed by another one at a random moment. It writes its phase to shared memory, so
the recorded phase is exact. Every fifth case uses SIGTERM instead of SIGKILL, every third evaluates
in the training environment (`eval_envs=0`). In half of the cases of "resume" the run is extended.

Final weights, generators, replay, metrics.csv and TensorBoard's points (except `time/`) must be
equal to the bit. The exit code is 1 if a case differs.

The file has more than 300 lines because killing and comparing share the scratch folder's state.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from forked_mbrl import TOO_LONG, Done, import_everything, start_mbrl, wait_for
from kill_cases import EXTENDED, KILLED_IN, LEARNERS, OBSERVATIONS, Case, all_cases
from phase_recorder import PhaseRecorder, Visit
from run_outcome import outcome

HERE = Path(__file__).parent
TRIES = 4  # at most, until a kill hits the wanted phase


class Laboratory:
    """Runs, kills and resumes in a scratch folder."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        """Work in `root`."""
        self.root, self.rng = root, rng
        self.recorder = PhaseRecorder()
        self.log = root / "phases.txt"
        shutil.copy(HERE / "moving_target.py", root)

    def finish(self, *words: str) -> tuple[Done, list[Visit]]:
        """Run a command to its end; also return the visited phases."""

        def before() -> None:
            self.recorder.install(self.log, words[0] == "resume")

        done = wait_for(start_mbrl(list(words), self.root, before), self.root)
        rows = [line.split() for line in self.log.read_text().splitlines()]
        return done, [Visit(phase, float(seconds)) for phase, seconds in rows]

    def finish_in_new_interpreter(self, *words: str) -> Done:
        """Run a command to its end in a process that is not forked from this one."""
        done = subprocess.run(
            [sys.executable, "-m", "mbrl_cli", *words],
            cwd=self.root, env=os.environ | {"PYTHONPATH": str(HERE.parent)},
            capture_output=True, text=True,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def kill(self, words: list[str], visits: list[Visit], phase: str, number: int) -> str:
        """Run a command, send the signal at a random moment of a phase; return the phase it hit.

        `visits` are those of a run that nobody killed: each moment is chosen with equal
        probability. The result is "finished" if the process ended before.
        """
        seconds = [visit.seconds for visit in visits if visit.phase == phase]
        index = self.rng.choices(range(len(seconds)), seconds)[0]
        delay = self.rng.uniform(0.0, seconds[index])
        read_end, self.recorder.signal_end = os.pipe()

        def before() -> None:
            os.close(read_end)
            self.recorder.target = (phase, index)
            self.recorder.install(self.log, words[0] == "resume")

        child = start_mbrl(words, self.root, before)
        os.close(self.recorder.signal_end)
        ready, _, _ = select.select([read_end], [], [], TOO_LONG)
        started = bool(ready) and os.read(read_end, 1) == b"x"
        os.close(read_end)
        hit = "finished"
        if started:
            time.sleep(delay)
            hit = self.recorder.phase()
            os.kill(child, number)
        done = wait_for(child, self.root)
        if number == signal.SIGKILL and done.code == -signal.SIGKILL:
            hit = self.recorder.phase()
        if done.code == 0:
            return "finished"
        if done.code not in (-number, 128 + number):
            raise RuntimeError(f"{' '.join(words)}: {done}")
        return hit


class Reference(NamedTuple):
    """An uninterrupted run."""

    outcome: dict[str, Any]
    visits: list[Visit]


def until_hit(phase: str, kill: Callable[[], str]) -> str:
    """Call `kill` until it hits the phase, or a few times; return the phase that it hit last."""
    hit, tries = "finished", 0
    while hit == "finished" or (hit != phase and tries < TRIES):
        hit, tries = kill(), tries + 1
    return hit


class Campaign:
    """Plays cases and compares them with uninterrupted runs, each of which is made once."""

    def __init__(self, laboratory: Laboratory, keep: Path | None) -> None:
        """Use a laboratory; folders of cases that differ are copied to `keep`."""
        self.laboratory, self.keep = laboratory, keep
        self.references: dict[tuple[str, ...], Reference | str] = {}

    def reference(self, words: list[str]) -> Reference | str:
        """Return the uninterrupted run, or the line with which `mbrl train` refuses it."""
        key = tuple(words)
        if key not in self.references:
            folder = self.laboratory.root / "reference"
            done, visits = self.laboratory.finish("train", *words, "hydra.run.dir=reference")
            if done.code == 2:
                self.references[key] = done.err.strip()
            elif done.code != 0:
                raise RuntimeError(f"{' '.join(words)}: {done}")
            else:
                self.references[key] = Reference(outcome(folder), visits)
            shutil.rmtree(folder, ignore_errors=True)
        return self.references[key]

    def play(self, case: Case) -> dict[str, Any] | None:
        """Kill, resume and compare; None if the learner and the observations do not combine."""
        words = case.words()
        plain = self.reference(words)
        if isinstance(plain, str):
            return None
        expected = self.reference([*words, EXTENDED]) if case.is_extended else plain
        assert isinstance(expected, Reference)
        changes = [EXTENDED] if case.is_extended else []
        laboratory, run = self.laboratory, self.laboratory.root / "run"
        first = case.phase
        if case.phase == "resume":
            first = "eval"
        elif not any(visit.phase == case.phase and visit.seconds > 1e-3 for visit in plain.visits):
            first = "act"  # an agent that learns nothing

        def kill_train() -> str:
            shutil.rmtree(run, ignore_errors=True)
            start = ["train", *words, "hydra.run.dir=run"]
            return laboratory.kill(start, plain.visits, first, case.number)

        hit = until_hit(first, kill_train)
        row: dict[str, Any] = case._asdict() | {"hit": hit, "differ": [], "error": ""}
        if case.phase == "resume":
            self._compare("run", "whole", changes, expected, row)
            before, visits = laboratory.root / "before", self.visits
            shutil.copytree(run, before)

            def kill_resume() -> str:
                shutil.rmtree(run)
                shutil.copytree(before, run)
                return laboratory.kill(["resume", "run", *changes], visits, "resume", case.number)

            row["hit"] = until_hit("resume", kill_resume)
            shutil.rmtree(before)
        row["unfinished"] = len([*run.glob(".*.tmp"), *run.glob("*/.*.tmp")])
        metrics = run / "metrics.csv"
        rows = metrics.read_text().splitlines() if metrics.exists() else []
        row["after"] = rows[-1] if rows else ""
        self._compare("run", "run", changes, expected, row, case.is_new_interpreter)
        if self.keep is not None and (row["differ"] or row["error"]):
            shutil.copytree(run, self.keep / str(len(list(self.keep.iterdir()))))
        shutil.rmtree(run)
        return row

    def _compare(
        self,
        source: str,
        name: str,
        changes: list[str],
        expected: Reference,
        row: dict[str, Any],
        is_new_interpreter: bool = False,
    ) -> None:
        """Resume a copy of a run (or the run itself) and add to `row` what differs."""
        root = self.laboratory.root
        if name != source:
            shutil.copytree(root / source, root / name)
        if is_new_interpreter:
            done = self.laboratory.finish_in_new_interpreter("resume", name, *changes)
        else:
            done, self.visits = self.laboratory.finish("resume", name, *changes)
        if done.code != 0 or "Traceback" in done.err:
            row["error"] += f"exit code {done.code}: {done.err[-2000:]}"
        else:
            now = outcome(root / name)
            row["differ"] += [part for part in now if now[part] != expected.outcome[part]]
            row["out"] = done.out
        if name != source:
            shutil.rmtree(root / name)


def summary(results: list[dict[str, Any]]) -> str:
    """Return the number of kills by phase and observations, and by learner."""
    lines = []
    for key in ("hit", "observation", "learner"):
        counts = Counter(str(row[key]) for row in results)
        lines.append(f"{key}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Play the cases; return 1 if one differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=LEARNERS, default=list(LEARNERS))
    parser.add_argument("--observations", nargs="+", choices=OBSERVATIONS, default=[*OBSERVATIONS])
    parser.add_argument("--phases", nargs="+", choices=KILLED_IN, default=[*KILLED_IN])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="file for the results as JSON")
    parser.add_argument("--keep", type=Path, help="folder for copies of runs that differ")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import_everything()
    observations = options.observations
    if importlib.util.find_spec("dm_control") is None:
        observations = [name for name in observations if name != "dmc"]
    else:
        import_dm_control()
    rng = random.Random(options.seed)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    refused: set[str] = set()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_STATE_HOME"] = str(Path(scratch) / "state")
        campaign = Campaign(Laboratory(Path(scratch), rng), options.keep)
        for case in all_cases(options.only, observations, options.phases, rng):
            if len(results) == options.kills:
                break
            name = f"{case.learner}, {case.observation}"
            if name in refused:
                continue
            row = campaign.play(case)
            if row is None:
                refused.add(name)
                print(f"    {name}: {campaign.reference(case.words())}", flush=True)
                continue
            results.append(row)
            verdict = row["error"] or (f"DIFFERENT {row['differ']}" if row["differ"] else "equal")
            print(
                f"{len(results):3} {name}, {signal.Signals(case.number).name} in {row['hit']} "
                f"after {row.get('after') or 'nothing'}: {verdict}",
                flush=True,
            )
            if options.out:
                options.out.write_text(json.dumps(results, indent=2) + "\n")
    wrong = sum(bool(row["differ"] or row["error"]) for row in results)
    print(summary(results))
    print(f"{len(results) - wrong} of {len(results)} are equal to the bit")
    return 1 if wrong else 0


def import_dm_control() -> None:
    """Import dm_control and what registers its tasks."""
    from mbrl_cli.envs.make import make_env

    env = make_env("dm_control/cartpole-swingup-v0")
    env.close()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
