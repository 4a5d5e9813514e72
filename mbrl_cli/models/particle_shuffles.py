"""Random assignments of particles to members at every step: TS1 of PETS (section 5)."""

from __future__ import annotations

import torch
from torch import Tensor


class ParticleShuffles:
    """Assign P particles to P slots, with a new order at each of H steps.

    A slot belongs to the same member during the whole unroll. Particles change slots between steps,
    so that the networks always read their inputs from the same memory.

    Attributes:
        first: [P] the particle that each slot holds at the first step.
        after_step: [H, P] the slot whose particle each slot takes over after a step. After the last
            step slot p holds particle p.
        slot_of_particle: [H + 1, P] the slot that holds each particle at a step, and at the end.
    """

    def __init__(
        self, horizon: int, num_particles: int, generator: torch.Generator, device: torch.device
    ) -> None:
        """Draw H random orders of the particles."""
        uniform = torch.rand(horizon, num_particles, generator=generator, device=generator.device)
        in_order = torch.arange(num_particles, device=uniform.device)[None]
        particle_of_slot = torch.cat([uniform.argsort(1), in_order]).to(device)  # [H + 1, P]
        self.first = particle_of_slot[0]
        self.slot_of_particle = particle_of_slot.argsort(1)
        self.after_step = self.slot_of_particle[:-1].gather(1, particle_of_slot[1:])

    def in_particle_order(self, trajectory: Tensor) -> Tensor:
        """Reorder the slots of a trajectory [H + 1, F, P, M] by particle."""
        order = self.slot_of_particle[:, None, :, None].expand_as(trajectory)
        return trajectory.gather(2, order)
