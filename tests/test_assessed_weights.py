"""The copy of the weights that acts, and the best copy, which acts in evaluations."""

import numpy as np
import torch

from mbrl_cli.agents.assessed_weights import AssessedWeights
from mbrl_cli.replay.buffer import ReplayBuffer


class Run:
    """A replay, and weights that grow by 1 before each round of episodes."""

    def __init__(self, rounds):
        self.replay = ReplayBuffer(100, 1, 1)
        self.weight = torch.tensor([0.0])
        self.assessed = AssessedWeights([self.weight], rounds)

    def play(self, *rewards):
        """Play an episode with these rewards; return the copies that act and that is best."""
        obs = np.zeros(1)
        for step, reward in enumerate(rewards):
            self.replay.add(obs, obs, reward, obs, False, step == len(rewards) - 1)
            if step < len(rewards) - 1:
                self.assessed.update(self.replay)
        return self.learn()

    def learn(self):
        self.weight += 1.0
        self.assessed.update(self.replay)
        return self.copies()

    def copies(self):
        with self.assessed.acting():
            acting = self.weight.item()
        with self.assessed.best():
            return acting, self.weight.item()


def test_a_copy_that_equals_the_best_round_acts_in_evaluations():
    run = Run(rounds=2)
    assert run.play(9.0) == (1.0, 1.0)  # the prefill is no round of the weights
    assert run.play(1.0, 3.0) == (2.0, 2.0)  # the first round is the best one: a copy acts
    assert not run.assessed.explores
    assert run.assessed.target == 4.0
    assert run.play(4.0) == (2.0, 3.0)  # one round of two
    assert run.play(5.0) == (4.0, 2.0)  # done: the weights explore again
    assert run.assessed.explores
    assert run.assessed.best_rounds == 2
    assert run.play(3.0) == (5.0, 2.0)  # no best round: nothing to assess
    assert run.assessed.explores
    assert run.play(6.0) == (6.0, 6.0)  # a better round: the copy that equalled 4 must not act
    assert run.assessed.best_rounds == 0
    assert run.play(5.0) == (7.0, 7.0)  # the new copy misses it
    assert run.assessed.explores
    assert run.assessed.target == 6.0
    assert run.weight.item() == 7.0


def test_the_next_copy_must_equal_the_best_round_more_often():
    run = Run(rounds=1)
    run.play(0.0)
    run.play(5.0)
    assert run.play(5.0) == (3.0, 2.0)
    run.play(5.0)
    assert run.play(5.0) == (4.0, 2.0)
    assert run.play(7.0) == (6.0, 4.0)  # a copy that was better does not raise the target
    assert (run.assessed.target, run.assessed.best_rounds) == (5.0, 2)
    run.play(5.0)
    run.play(5.0)
    run.play(5.0)
    assert run.play(4.0) == (10.0, 4.0)  # it failed in the third round
    assert run.assessed.best_rounds == 2


def test_a_better_round_does_not_end_a_copy_that_was_as_good():
    run = Run(rounds=1)
    for reward in (0.0, 2.0, 7.0):
        run.play(reward)
    assert run.play(6.0) == (4.0, 2.0)  # above the target of 2, but the best copy had 7
    assert run.assessed.target == 6.0
    assert run.play(6.5) == (5.0, 2.0)  # worse than the best copy
    run.play(6.0)
    assert run.play(8.0) == (7.0, 6.0)


def test_a_copy_acts_until_all_parallel_episodes_have_ended():
    run, obs = Run(rounds=1), np.zeros(1)
    run.play(0.0)
    run.play(2.0)
    copies = []
    for episode, reward, ends in ((2, 1.0, False), (3, 5.0, False), (2, 1.0, True), (3, 5.0, True)):
        run.replay.add(obs, obs, reward, obs, False, ends, episode)
        copies.append(run.learn())
    # The worse of the two episodes has the return of the best round.
    assert copies == [(2.0, 3.0), (2.0, 4.0), (2.0, 5.0), (6.0, 2.0)]


def test_averages_may_be_copied_in_place_of_the_weights():
    run, average = Run(rounds=1), torch.tensor([0.5])
    run.assessed = AssessedWeights([run.weight], 1, [average])
    run.play(0.0)
    assert run.play(0.0) == (0.5, 0.5)
    assert run.weight.item() == 2.0


def test_an_assessment_continues_after_a_checkpoint():
    run = Run(rounds=2)
    for reward in (0.0, 3.0, 3.0, 3.0, 3.0, 3.0):
        run.play(reward)
    restored = AssessedWeights([run.weight], 2)
    restored.load_state_dict(run.assessed.state_dict())
    first, run.assessed = run.assessed, restored
    assert run.copies() == (5.0, 2.0)
    run.play(3.0)
    assert run.play(4.0) == (8.0, 5.0)
    first.update(run.replay)
    assert (first.target, restored.target) == (3.0, 3.0)


def test_without_assessments_the_weights_themselves_act():
    run = Run(rounds=0)
    run.play(1.0)
    assert run.play(1.0) == (2.0, 2.0)
    run.weight += 1.0
    assert run.copies() == (3.0, 3.0)
    assert run.assessed.explores
