"""One worker of a search: takes a job, runs its seeds, records what they returned."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.train_in_process import train_until
from mbrl_cli.errors import DiskFault, UserError
from mbrl_cli.lock import is_locked, locked
from mbrl_cli.run_files import CHECKPOINTS, FAULT_FILE
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import Journal
from mbrl_cli.search.sampling import distributions_of, is_worse, suggest
from mbrl_cli.search.schedule import Job
from mbrl_cli.search.trial_record import SeedResult, TrialRecord

OUTPUT = "output.log"  # what a run prints
PATIENCE = 0.2  # seconds between two looks at the journal while other workers run the last jobs
SILENT_WAITS = 10  # after which a waiting worker says so
MAX_FAILED = 3  # failed trials after which the search ends, if no run has reached a rung


class Worker:
    """Runs jobs of a search until it is complete. Any number of workers share the folder.

    A job is one trial up to one rung. It is claimed by the lock of the trial's folder, so the job
    of a worker that was killed is free at once, and its runs continue from their checkpoints.

    Args:
        folder: of the search.
        definition: the search.
    """

    def __init__(self, folder: Path, definition: Definition) -> None:
        self._folder = folder
        self._definition = definition
        self._journal = Journal(folder)
        self._schedule = definition.schedule()

    def run(self) -> list[TrialRecord]:
        """Run jobs until none is left; return all trials."""
        waits = 0
        while True:
            with contextlib.ExitStack() as claim:
                with self._journal.exclusive():
                    self._settle()
                    job = self._schedule.next_job(self._journal.records(), self._is_busy)
                    if isinstance(job, Job):
                        record = self._accepted(job)
                        trial_folder = self._trial_folder(record.number)
                        trial_folder.mkdir(parents=True, exist_ok=True)
                        claim.enter_context(locked(trial_folder))
                    elif job is None:
                        return self._finish()
                if isinstance(job, Job):
                    self._run_job(record, job.rung)
                    waits = 0
                    continue
            waits += 1
            if waits == SILENT_WAITS:
                print("waiting for the last runs of other workers", flush=True)
            time.sleep(PATIENCE)

    def records(self) -> list[TrialRecord]:
        """Return all trials as they are now."""
        return self._journal.records()

    def _accepted(self, job: Job) -> TrialRecord:
        """Record that a job was taken: a new trial, or a higher rung of one."""
        if job.trial is None:
            records = self._journal.records()
            values = suggest(
                self._definition.space, records, self._definition.rungs,
                self._definition.settings.sampler, self._definition.settings.search_seed,
            )  # fmt: skip
            return self._journal.add(values, distributions_of(self._definition.space), job.rung)
        if job.rung > job.trial.rung:
            self._journal.promote(job.trial, job.rung)
        return self._journal.records()[job.trial.number]

    def _run_job(self, record: TrialRecord, rung: int) -> None:
        """Run the seeds of a trial up to a rung, those first that were not run yet."""
        rungs, seeds = self._definition.rungs, self._definition.settings.seeds
        for seed in seeds:
            if seed in record.results.get(rung, {}):
                continue
            try:
                result = self._run_seed(record, rung, seed)
            except DiskFault:
                raise
            except UserError as error:
                self._fail(record, f"seed={seed}: {error}")
                return
            except (OSError, MemoryError):
                raise
            except Exception as error:  # the trace is in the run's fault.txt
                trace = self._run_folder(record.number, seed) / FAULT_FILE
                if not trace.is_file():
                    raise
                self._fail(record, f"seed={seed}: {type(error).__name__}: {error}; see {trace}")
                return
            with self._journal.exclusive():
                self._journal.add_result(record, rung, seed, result)
                records = self._journal.records()
                record = records[record.number]
                if self._schedule.is_at_rest(record):
                    # In the same block: afterwards another worker may end the trial.
                    self._journal.report(record, rungs[rung], record.mean(rung))
                elif self._is_worse(record, records, rung):
                    done = len(record.results[rung])
                    self._journal.end(
                        record, "pruned", f"worse than the best after {done} of {len(seeds)} seeds"
                    )
                    print(self._line(record, rung, "pruned"), flush=True)
                    return
        print(self._line(record, rung), flush=True)

    def _run_seed(self, record: TrialRecord, rung: int, seed: int) -> SeedResult:
        """Start or continue one run up to a rung."""
        rungs = self._definition.rungs
        folder = self._run_folder(record.number, seed)
        words = self._definition.run_words(record.values)
        run = ComposedRun([*words, f"seed={seed}", "console=false"], self._definition.config_dir)
        before = record.results.get(rung - 1, {}).get(seed)
        folder.mkdir(parents=True, exist_ok=True)
        with _printed_into(folder / OUTPUT):
            is_last = rung == len(rungs) - 1
            step, mean = train_until(run, folder, None if is_last else rungs[rung])
        return SeedResult(mean, step - (before.saved_step if before else 0), _saved_step(folder))

    def _is_worse(self, record: TrialRecord, records: list[TrialRecord], rung: int) -> bool:
        """Return whether a trial is worse than the best one at a rung on the seeds so far."""
        if not self._definition.settings.pruning:
            return False
        seeds = self._definition.settings.seeds
        others = [
            other
            for other in records
            if other.number != record.number and len(other.results.get(rung, {})) == len(seeds)
        ]
        if not others:
            return False
        best = max(others, key=lambda other: other.mean(rung))
        returns, best_returns = (
            {seed: result.mean_return for seed, result in one.results[rung].items()}
            for one in (record, best)
        )
        return is_worse(returns, best_returns)

    def _fail(self, record: TrialRecord, reason: str) -> None:
        with self._journal.exclusive():
            self._journal.end(record, "failed", reason)
            records = self._journal.records()
        print(f"trial {record.number} failed: {reason}", flush=True)
        failed = [other for other in records if other.end == "failed"]
        if len(failed) >= MAX_FAILED and not any(other.results for other in records):
            raise UserError(f"{len(failed)} trials failed and none has a result: {reason}")

    def _settle(self) -> None:
        """End the trials that have reached the last rung."""
        last = len(self._definition.rungs) - 1
        for record in self._journal.records():
            if not record.end and record.rung == last and self._schedule.is_at_rest(record):
                self._journal.end(record, "complete")

    def _finish(self) -> list[TrialRecord]:
        """End the trials that were not promoted; return all."""
        for record in self._journal.records():
            if not record.end:
                self._journal.end(record, "pruned")
        return self._journal.records()

    def _is_busy(self, number: int) -> bool:
        return is_locked(self._trial_folder(number))

    def _trial_folder(self, number: int) -> Path:
        return self._folder / f"trial_{number:04d}"

    def _run_folder(self, number: int, seed: int) -> Path:
        return self._trial_folder(number) / f"seed_{seed}"

    def _line(self, record: TrialRecord, rung: int, what: str = "") -> str:
        steps = f"{self._definition.rungs[rung]:,}"
        returns = ", ".join(f"{value:.4g}" for value in record.returns(rung))
        values = " ".join(f"{key}={value}" for key, value in record.values.items())
        number = f"{record.number + 1}/{self._definition.settings.trials}"
        note = f" {what}" if what else ""
        mean = f"{record.mean(rung):.4g}"
        return f"[{number}] {steps} steps: return {mean} ({returns}){note}  {values}"


def _saved_step(folder: Path) -> int:
    """Return the step of the newest checkpoint of a run, 0 if there is none."""
    names = (path.stem for path in (folder / CHECKPOINTS).glob("*.safetensors"))
    return max((int(name) for name in names if name.isdecimal()), default=0)


@contextlib.contextmanager
def _printed_into(path: Path) -> Iterator[None]:
    """Append what the block prints to a file."""
    with (
        path.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield
