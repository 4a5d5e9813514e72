"""Plant faults in a sweep on a Ray cluster and compare its runs with runs without faults.

    python benchmarks/ray_sweep.py [--scratch FOLDER]

The cluster is on the loopback interface: a head node without CPUs and two workers with one CPU
each. The faults:

    killed        kill -9 of the process of a run
    node failure  kill -9 of all processes of one worker; the other one does the rest

The exit code is 1 if a run does not finish, or is not equal to the bit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fault_sweep import RUNS, FaultSweep, scratch_folder

HEAD = "127.0.0.2"  # Ray replaces 127.0.0.1 by the address of another interface
TRIES = 5  # to start a node
RAY = Path(sys.executable).parent / "ray"
ADDRESS = f"{HEAD}:26379"


class Cluster:
    """A Ray cluster of processes on this machine."""

    def __init__(self, folder: Path) -> None:
        """Use `folder` for logs and sockets."""
        self.folder = folder
        self.nodes: list[subprocess.Popen[bytes]] = []

    def add_head(self) -> None:
        """Start the head node, which has no CPU for tasks."""
        self._add(
            HEAD, "--head", "--port=26379", "--num-cpus=0", f"--temp-dir={self.folder}",
            "--include-dashboard=false", "--ray-client-server-port=26380",
        )  # fmt: skip

    def add_worker(self) -> None:
        """Start a node with one CPU."""
        self._add(f"127.0.0.{2 + len(self.nodes)}", f"--address={ADDRESS}", "--num-cpus=1")

    def processes(self, node: int) -> list[int]:
        """Return a node's processes, children of its `ray start` first."""
        return descendants(self.nodes[node].pid)

    def stop(self) -> None:
        """End all processes that this object started."""
        for node in reversed(range(len(self.nodes))):
            for pid in self.processes(node):
                kill(pid)
            self.nodes[node].wait()

    def _add(self, host: str, *words: str) -> None:
        """Start a node and wait for it; Ray gives up after 30 seconds, so try it several times."""
        command = [
            str(RAY), "start", "--block", *words, f"--node-ip-address={host}",
            "--disable-usage-stats", "--object-store-memory=80000000",
        ]  # fmt: skip
        log = self.folder / f"node{len(self.nodes)}.log"
        for _ in range(TRIES):
            with log.open("wb") as out:
                node = subprocess.Popen(command, stdout=out, stderr=out, env=ray_environ())
            self.nodes.append(node)
            while node.poll() is None:
                if status().count("node_") == len(self.nodes):
                    return
                time.sleep(1.0)
            self.nodes.pop()
        raise RuntimeError(log.read_text())


def main(arguments: list[str]) -> int:
    """Run the sweep with faults; return 1 if a run differs."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with (
        scratch_folder(arguments, __doc__) as root,
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder,
    ):
        sweep = FaultSweep(root)
        sweep.run_without_faults()
        sweep.say("the sweep without faults is finished")
        cluster = Cluster(Path(folder))
        try:
            cluster.add_head()
            cluster.add_worker()
            cluster.add_worker()
            sweep.say("the head node and two workers are up")
            os.environ["RAY_ADDRESS"] = ADDRESS
            sweep.launch("hydra/launcher=ray")
            sweep.wait_for(f"{RUNS[0]} has a checkpoint", lambda: sweep.is_saved(RUNS[0]))
            kill(sweep.process(RUNS[0]))
            sweep.add_fault(RUNS[0], "killed")
            sweep.wait_for(f"{RUNS[2]} has a checkpoint", lambda: sweep.is_saved(RUNS[2]))
            fail_node(sweep, cluster, RUNS[2])
            code = sweep.wait_for_launcher()
        except BaseException:
            sweep.stop_launcher()
            raise
        finally:
            cluster.stop()
        return int(sweep.compare({}) > 0 or code != 0)


def fail_node(sweep: FaultSweep, cluster: Cluster, run: str) -> None:
    """Kill all processes of the worker on which a run is."""
    process = sweep.process(run)
    node = next(n for n in (1, 2) if process in cluster.processes(n))
    for pid in cluster.processes(node):
        kill(pid)
    sweep.add_fault(run, "node failure")


def status() -> str:
    """Return the output of `ray status`, empty if the head node does not answer yet."""
    words = [str(RAY), "status", f"--address={ADDRESS}"]
    return subprocess.run(words, capture_output=True, text=True, env=ray_environ()).stdout


def ray_environ() -> dict[str, str]:
    """Return the environment of the nodes, whose workers import `mbrl_cli` from this clone."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}


def descendants(pid: int) -> list[int]:
    """Return a process and all processes below it, the deepest last."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in children for below in descendants(int(child)))]


def kill(pid: int) -> None:
    """Kill a process that may have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
