"""Plant faults in a sweep on SLURM and compare its runs with runs without faults.

    bash benchmarks/slurm_sweep.sh [--scratch FOLDER]

The shell script starts a SLURM of one node, then this script. The faults:

    killed        kill -9 of the run's process
    time limit    the limit is set to one minute, so SLURM sends USR2
    drained       the node is drained and its jobs are requeued, as for maintenance; later resumed
    node failure  kill -9 of slurmd and all processes of its jobs; slurmd is started again later

The exit code is 1 if a run does not finish, or is not equal to the bit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from fault_sweep import RUNS, FaultSweep, scratch_folder


def main(arguments: list[str]) -> int:
    """Run the sweep with faults; return 1 if a run differs."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with scratch_folder(arguments, __doc__) as root:
        sweep = FaultSweep(root)
        sweep.run_without_faults()
        sweep.say("the sweep without faults is finished")
        sweep.launch(
            "hydra/launcher=slurm",
            "hydra.launcher.timeout_min=20",
            "hydra.launcher.signal_delay_s=30",
            "hydra.launcher.mem_gb=2",
        )
        try:
            kill(sweep, RUNS[0])
            reach_time_limit(sweep, RUNS[1])
            drain(sweep, RUNS[2:4])
            fail_node(sweep, RUNS[4:6])
            code = sweep.wait_for_launcher()
        except BaseException:
            sweep.stop_launcher()
            for path in sorted(root.glob("sweep/.submitit/*/*.err")):
                print(f"{path.name}:\n{path.read_text()[-2000:]}")
            raise
        print(command("sacct", "--duplicates", "-X", "-o", "JobID,State,ExitCode,Elapsed"))
        return int(sweep.compare(restarts()) > 0 or code != 0)


def kill(sweep: FaultSweep, run: str) -> None:
    """Kill the process of a run."""
    sweep.wait_for(f"{run} has a checkpoint", lambda: sweep.is_saved(run))
    os.kill(sweep.process(run), signal.SIGKILL)
    sweep.add_fault(run, "killed")


def reach_time_limit(sweep: FaultSweep, run: str) -> None:
    """Let SLURM send USR2, and give the requeued job its old limit."""
    sweep.wait_for(f"{run} has a checkpoint", lambda: sweep.is_saved(run))
    job = job_id(run)
    command("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    sweep.add_fault(run, "time limit")
    sweep.wait_for(f"{run} is requeued", lambda: "Restarts=1" in show(job))
    command("scontrol", "update", f"JobId={job}", "TimeLimit=20")


def drain(sweep: FaultSweep, runs: list[str]) -> None:
    """Drain the node while a run is on it, and requeue what runs there."""
    sweep.wait_for(
        f"a run of {', '.join(runs)} has a checkpoint", lambda: any(map(sweep.is_saved, runs))
    )
    node = os.uname().nodename.partition(".")[0]
    command("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=maintenance")
    for run in RUNS:
        if job_state(run) == "RUNNING":
            command("scontrol", "requeue", job_id(run))
            sweep.add_fault(run, "drained")
    sweep.wait_for(
        "the node is drained", lambda: command("sinfo", "-h", "-o", "%T").strip() == "drained"
    )
    time.sleep(20)
    running = [run for run in RUNS if job_state(run) == "RUNNING"]
    sweep.say(f"20 seconds later {len(running)} jobs run")
    command("scontrol", "update", f"NodeName={node}", "State=RESUME")


def fail_node(sweep: FaultSweep, runs: list[str]) -> None:
    """Kill slurmd and the processes of its jobs, wait until SLURM notices, and start it again."""
    sweep.wait_for(
        f"a run of {', '.join(runs)} has a checkpoint", lambda: any(map(sweep.is_saved, runs))
    )
    hit = [run for run in RUNS if job_state(run) == "RUNNING"]
    daemon = int((Path(os.environ["SLURM_NODE_FOLDER"]) / "slurmd.pid").read_text())
    victims = [daemon, *(pid for run in hit for pid in processes(job_id(run)))]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    for run in hit:
        sweep.add_fault(run, "node failure")
    sweep.wait_for(
        "SLURM knows that the node is down", lambda: "down" in command("sinfo", "-h", "-o", "%T")
    )
    subprocess.run(["slurmd", "-f", os.environ["SLURM_CONF"]], check=True)
    sweep.say("slurmd is started again")


def processes(job: str) -> list[int]:
    """Return the processes of a job: slurmstepd, the batch script and the run."""
    fields = dict(part.split("=", 1) for part in show(job).split() if "=" in part)
    raw = fields["JobId"].encode()
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            is_step = (folder / "cmdline").read_bytes().startswith(b"slurmstepd: [%s." % raw)
            environ = (folder / "environ").read_bytes().split(b"\0")
            is_ours = f"SLURM_CONF={os.environ['SLURM_CONF']}".encode() in environ
            if is_step or (is_ours and b"SLURM_JOB_ID=" + raw in environ):
                pids.append(int(folder.name))
    return pids


def job_id(run: str) -> str:
    """Return SLURM's id of a run's job: the runs are an array."""
    array = command("sacct", "-n", "-X", "-o", "JobID%20").split()[0].partition("_")[0]
    return f"{array}_{RUNS.index(run)}"


def job_state(run: str) -> str:
    """Return PENDING, RUNNING or another state."""
    return command("squeue", "-h", "-j", job_id(run), "-o", "%T").strip()


def restarts() -> dict[str, str]:
    """Return how often SLURM started each run again."""
    return {run: show(job_id(run)).partition("Restarts=")[2].partition(" ")[0] for run in RUNS}


def show(job: str) -> str:
    """Return what SLURM knows about a job."""
    return command("scontrol", "show", "job", job)


def command(*words: str) -> str:
    """Return the output of a command."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
