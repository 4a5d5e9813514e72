"""The process's global random generators, from which some environments draw.

Only environments use them: everything else of this package has generators of its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_global_generators(seed: int) -> None:
    """Seed the generators of `random`, `numpy.random` and torch's CPU."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (environments draw from it)
    torch.default_generator.manual_seed(seed)


def global_generators_used(seed: int) -> bool:
    """Return whether a global generator has drawn since `seed_global_generators(seed)`."""
    after = _states()
    with restored_global_generators():
        seed_global_generators(seed)
        return _states() != after


def _states() -> tuple[str, ...]:
    """Return the states of the global generators as comparable values."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002
    state = numpy["state"]
    torch_state = torch.default_generator.get_state().tolist()
    parts = (random.getstate(), state["key"].tolist(), state["pos"], torch_state)
    return tuple(map(repr, parts))


@contextmanager
def restored_global_generators() -> Iterator[None]:
    """Restore the states of the global generators when the block ends."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    cpu = torch.default_generator.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.default_generator.set_state(cpu)
