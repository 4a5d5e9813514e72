"""Worker of `tdmpc2_peer.py` that runs TD-MPC2's public implementation on the CPU, one thread.

Three texts of the checkout are replaced in a temporary copy. The device "cuda:0" becomes "cpu". The
optimisers' `capturable=True`, which torch allows on a GPU alone, becomes `capturable=False`. The
model is not moved to its device, where it is already: tensordict 0.14 keeps parameters without data
in it, which cannot be moved. This file runs in a virtual environment without this package.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROWS, EPISODE = 20_000, 500  # random transitions in the replay, and transitions of an episode
REPLACED = {
    "cuda:0": "cpu",
    "capturable=True": "capturable=False",
    "WorldModel(cfg).to(self.device)": "WorldModel(cfg)",
}

Jobs = Mapping[str, Callable[[], object]]


def transitions(obs_dim: int, action_dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random episodes: obs [N, T + 1, O], actions [N, T, A] and rewards [N, T]."""
    rng = np.random.default_rng(0)
    shape = ROWS // EPISODE, EPISODE
    obs = rng.normal(size=(shape[0], EPISODE + 1, obs_dim)).astype(np.float32)
    action = rng.uniform(-1, 1, (*shape, action_dim)).astype(np.float32)
    return obs, action, rng.uniform(0, 1, shape).astype(np.float32)


def serve(jobs: Jobs) -> None:
    """Answer each line "job seconds" on stdin with a JSON list: calls, wall and CPU seconds.

    A job is called until the process has used so many CPU seconds, in all of its threads.
    The answers are the only output on stdout.
    """
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        name, seconds = line.split()
        job, count = jobs[name], 0
        wall, cpu = time.perf_counter(), time.process_time()
        while time.process_time() - cpu < float(seconds):
            job()
            count += 1
        numbers = count, time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps(numbers), file=answers, flush=True)


def cpu_copy(checkout: Path, folder: Path) -> None:
    """Copy the implementation's sources to a folder and make them importable from there."""
    source = checkout / "tdmpc2"
    shutil.copytree(source / "common", folder / "common")
    for name in ("tdmpc2.py", "config.yaml"):
        shutil.copy(source / name, folder)
    for path in folder.rglob("*.py"):
        text = path.read_text()
        for old, new in REPLACED.items():
            text = text.replace(old, new)
        path.write_text(text)
    sys.path.insert(0, str(folder))


def peer_jobs(folder: Path, sizes: dict[str, Any]) -> Jobs:
    """Return the jobs of the implementation in `folder`; `sizes` replace keys of its config."""
    from omegaconf import OmegaConf

    config = OmegaConf.merge(OmegaConf.load(folder / "config.yaml"), sizes)
    config.bin_size = (config.vmax - config.vmin) / (config.num_bins - 1)

    from common.buffer import Buffer
    from common.parser import cfg_to_dataclass
    from tdmpc2 import TDMPC2
    from tensordict import TensorDict

    torch.manual_seed(0)
    settings = cfg_to_dataclass(config)
    agent, buffer = TDMPC2(settings), Buffer(settings)
    torch.cuda.mem_get_info = lambda *_: (0, 0)  # so that the replay is stored on the CPU
    obs_dim, action_dim = sizes["obs_shape"]["state"][0], sizes["action_dim"]
    for obs, action, reward in zip(*transitions(obs_dim, action_dim), strict=True):
        first = np.full((1, action_dim), np.nan, np.float32)  # no action led to the first obs
        episode = {
            "obs": torch.from_numpy(obs),
            "action": torch.from_numpy(np.concatenate([first, action])),
            "reward": torch.from_numpy(np.append(np.float32(np.nan), reward)),
            "terminated": torch.zeros(EPISODE + 1),
        }
        buffer.add(TensorDict(episode, batch_size=(EPISODE + 1,)))

    class FixedBatch:
        batch = buffer.sample()

        def sample(self) -> Any:
            return self.batch

    fixed, first_obs = FixedBatch(), torch.from_numpy(obs[0])
    return {
        "update": lambda: agent.update(buffer),
        "learn": lambda: agent.update(fixed),
        "decide": lambda: agent.act(first_obs),
    }


def repair_compiler() -> None:
    """Leave out two parts of torch 2.13's compiler that stop it on this implementation.

    One is an optimisation of permuted indices that fails if all of them are used, here with two
    critics: https://github.com/pytorch/pytorch/issues/158457. The other is a check of the types of
    tensors that tensordict 0.14 creates inside of a compiled function.
    """
    misc_patterns = importlib.import_module("torch._inductor.fx_passes.misc_patterns")
    misc_patterns._misc_patterns_init = lambda *_: None
    guard = importlib.import_module("torch._guards").Guard
    create = guard.create

    def create_if_possible(self: Any, builder: Any) -> Any:
        return None if "SYNTHETIC_LOCAL" in self.name else create(self, builder)

    guard.create = create_if_possible


def main() -> None:
    """Serve the jobs; arguments: checkout, and sizes as JSON."""
    checkout, sizes = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    if sizes["compile"]:
        repair_compiler()
    with tempfile.TemporaryDirectory() as name:
        cpu_copy(checkout, Path(name))
        answers, sys.stdout = sys.stdout, sys.stderr  # the implementation prints its settings
        jobs = peer_jobs(Path(name), sizes)
        sys.stdout = answers
        serve(jobs)


if __name__ == "__main__":
    main()
