"""Returns of all variants of an agent, over episodes that start in the same states."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.agents.base import Agent
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.paired_interval import PairedInterval, gain_interval
from mbrl_cli.diagnosis.variant import Variant

PROBED_STEPS = 3  # steps from which the duration of an episode is estimated
FAST = 2.0  # seconds of a first step that are never too many: it loads and allocates
MIN_STEPS = 25  # shorter episodes say little
MIN_FRACTION = 0.25  # of the length of an episode as it is
# Called with the name of the variant, and the fraction of the work that is done.
Report = Callable[[str, float], None]


class VariantReturns:
    """Plays rounds of episodes; episode k starts in the same state in every variant.

    Attributes:
        max_steps: steps after which episodes are cut, so that all variants fit into the budget;
            None: they are not cut.
        returns: by name of the variant; equal positions belong to equal first states.
        too_slow: names of variants that do not fit into the budget -> estimated seconds.
    """

    def __init__(self, run: DiagnosedRun, episodes: int) -> None:
        """Start without results; `episodes` are played in one round, in parallel."""
        self.run = run
        self.episodes = episodes
        self.max_steps: int | None = None
        self.returns: dict[str, NDArray[np.float64]] = {}
        self.too_slow: dict[str, float] = {}
        self.first_episodes: list[Episode] = []
        self._agents: dict[str, Agent] = {}
        self._seconds: dict[str, float] = {}  # per step of one round
        self._limit = run.objects.env.spec.max_episode_steps or 1000  # steps of a whole episode

    def choose(self, variants: Sequence[Variant], seconds: float) -> list[Variant]:
        """Return the variants of which one round fits into `seconds`, and choose `max_steps`.

        Episodes are cut before a variant is left out, but not below a quarter of their length or 25
        steps. The slowest variant is left out first, the first one never.
        """
        limit = self._limit
        lowest = min(limit, max(MIN_STEPS, round(MIN_FRACTION * limit)))
        for variant in variants:
            self._probe(variant, seconds / lowest)
        kept = list(variants)
        while True:
            steps = int(seconds / max(sum(self._seconds[v.name] for v in kept), 1e-9))
            if steps >= lowest or len(kept) == 1:
                break
            slowest = max(kept[1:], key=lambda variant: self._seconds[variant.name])
            self.too_slow[slowest.name] = self._seconds[slowest.name] * limit
            kept.remove(slowest)
        self.max_steps = None if steps >= limit else max(steps, lowest)
        return kept

    def fits(self, variant: Variant, seconds: float) -> bool:
        """Return whether one more round of a variant fits into `seconds`."""
        self._probe(variant, seconds / min(MIN_STEPS, self._limit))
        steps = self.max_steps or self._limit
        fits = self._seconds[variant.name] * steps <= seconds
        if not fits and variant.name not in self.returns:
            self.too_slow[variant.name] = self._seconds[variant.name] * steps
        return fits

    def play(self, variant: Variant, report: Callable[[int], None] | None = None) -> None:
        """Play the next round of a variant and store its returns."""
        played = self.returns.get(variant.name, np.zeros(0))
        start = time.monotonic()
        seeds = self.run.seeds(self.episodes, len(played))
        episodes = self.run.play(seeds, self._agent(variant), self.max_steps, report=report)
        longest = max(map(len, episodes))
        self._seconds[variant.name] = (time.monotonic() - start) / longest
        if not variant.parts and not self.first_episodes:
            self.first_episodes = episodes
        totals = [episode.total for episode in episodes]
        self.returns[variant.name] = np.concatenate([played, totals])

    def gain(self, name: str, base: str) -> PairedInterval:
        """Return what a variant gains over another one, in the episodes that both have played."""
        one, other = self.returns[name], self.returns[base]
        count = min(len(one), len(other))
        return gain_interval(one[:count], other[:count])

    def _agent(self, variant: Variant) -> Agent:
        if variant.name not in self._agents:
            self._agents[variant.name] = variant.make()
        return self._agents[variant.name]

    def _probe(self, variant: Variant, allowed: float) -> None:
        """Measure the seconds of a step, the first one excluded: it allocates memory.

        If the first step of a single episode takes more than is allowed for a round, this is all
        that is measured: in copies of an environment a plan can take minutes.
        """
        if variant.name in self._seconds:
            return
        agent, start = self._agent(variant), time.monotonic()
        self.run.play(self.run.seeds(1), agent, 1)
        first = time.monotonic() - start
        if first > max(allowed, FAST):
            self._seconds[variant.name] = first * self.episodes
            return
        times = [time.monotonic()]
        self.run.play(
            self.run.seeds(self.episodes),
            agent,
            PROBED_STEPS + 1,
            report=lambda _: times.append(time.monotonic()),
        )
        steps = np.diff(times)
        self._seconds[variant.name] = float(np.median(steps[1:] if len(steps) > 1 else steps))
