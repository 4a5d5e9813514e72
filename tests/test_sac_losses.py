"""Losses of SAC against numbers derived by hand."""

import torch

from mbrl_cli.agents.sac_losses import actor_loss, critic_loss, temperature_loss


def test_losses_by_hand():
    q = torch.tensor([[1.0, 3.0], [0.0, 2.0]])  # two critics, two rows
    # errors (1, 1) and (0, 0) to the targets (0, 2): 0.5 * mean(1, 1) + 0.5 * mean(0, 0)
    assert critic_loss(q, torch.tensor([0.0, 2.0])).item() == 0.5
    # -mean(1 + 0.5 * 4, 3 + 0.5 * 2)
    entropy = torch.tensor([4.0, 2.0])
    assert actor_loss(q[0], entropy, torch.tensor(0.5)).item() == -3.5
    # log(alpha) = 2, entropy 3, target -1
    assert temperature_loss(torch.tensor(2.0), entropy.mean(), -1.0).item() == 8.0
