"""Seeds: each component's seed depends on the run seed and the component's name alone.

So adding a component does not change the random numbers of the others.
"""

from __future__ import annotations

import hashlib

import torch


def child_seed(seed: int, name: str, index: int = 0) -> int:
    """Return a 31-bit seed that depends on (`seed`, `name`, `index`) alone."""
    digest = hashlib.blake2b(f"{seed}/{name}/{index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") >> 1


def torch_generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on `device`, seeded for the component `name`."""
    return torch.Generator(device=device).manual_seed(child_seed(seed, name))
