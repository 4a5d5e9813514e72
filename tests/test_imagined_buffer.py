"""The buffer of imagined transitions."""

import torch

from mbrl_cli.replay.imagined import ImaginedBuffer
from mbrl_cli.types import Batch

CPU = torch.device("cpu")


def transitions_of(*numbers):
    """Return one transition for each number, all fields computed from it."""
    column = torch.tensor(numbers)
    obs = column[:, None].expand(-1, 2)
    return Batch(obs, column[:, None], column + 0.5, -obs, (column > 3).float())


def test_the_buffer_stores_the_last_transitions():
    buffer = ImaginedBuffer(4, 2, 1, CPU)
    for numbers in ((1.0, 2.0, 3.0), (4.0, 5.0)):
        buffer.add(transitions_of(*numbers))
    assert len(buffer) == 4
    batch = buffer.batch(torch.tensor([[0, 1], [2, 3]]))  # the fifth replaced the first
    assert batch.obs[..., 1].tolist() == [[5.0, 2.0], [3.0, 4.0]]
    assert batch.action[..., 0].tolist() == [[5.0, 2.0], [3.0, 4.0]]
    assert batch.reward.tolist() == [[5.5, 2.5], [3.5, 4.5]]
    assert batch.next_obs[..., 0].tolist() == [[-5.0, -2.0], [-3.0, -4.0]]
    assert batch.terminated.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_of_more_transitions_than_the_capacity_the_last_are_stored():
    buffer = ImaginedBuffer(3, 2, 1, CPU)
    buffer.add(transitions_of(9.0))
    buffer.add(transitions_of(*(float(number) for number in range(7))))
    assert sorted(buffer.batch(torch.arange(3)).obs[:, 0].tolist()) == [4.0, 5.0, 6.0]
    restored = ImaginedBuffer(3, 2, 1, CPU)
    restored.load_state_dict(buffer.state_dict())
    for each in (buffer, restored):
        each.add(transitions_of(8.0))
    assert torch.equal(buffer.batch(torch.arange(3)).obs, restored.batch(torch.arange(3)).obs)
