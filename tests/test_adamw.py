"""AdamW equals torch's, and does not import what torch.optim imports."""

import subprocess
import sys

import torch

from mbrl_cli.nets.adamw import AdamW


def test_it_takes_the_steps_of_torch_optim(generator):
    start = [torch.randn(shape, generator=generator) for shape in ((3, 4), (5,))]
    ours = [part.clone() for part in start]
    theirs = [part.clone().requires_grad_() for part in start]
    optimiser = AdamW(ours, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs, lr=1.0, weight_decay=0.1)
    for step in range(5):
        gradients = [torch.randn(part.shape, generator=generator) for part in start]
        learning_rate = 0.1 / (step + 1)
        reference.param_groups[0]["lr"] = learning_rate
        for part, gradient in zip(theirs, gradients, strict=True):
            part.grad = gradient
        optimiser.step(gradients, learning_rate)
        reference.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.detach())


def test_a_restored_optimiser_takes_the_same_steps(generator):
    start = torch.randn(4, generator=generator)
    whole, interrupted = [start.clone()], [start.clone()]
    optimiser, saved = AdamW(whole), AdamW(interrupted)
    gradients = torch.randn(6, 4, generator=generator)
    for gradient in gradients[:3]:
        optimiser.step([gradient], 0.1)
        saved.step([gradient], 0.1)
    restored = AdamW(interrupted)
    restored.load_state_dict(saved.state_dict())
    for gradient in gradients[3:]:
        optimiser.step([gradient], 0.1)
        restored.step([gradient], 0.1)
    assert torch.equal(whole[0], interrupted[0])


def test_it_does_not_import_torch_s_compiler():
    script = (
        "import sys, torch; from mbrl_cli.nets.adamw import AdamW\n"
        "AdamW([torch.zeros(1)]).step([torch.ones(1)], 0.1)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
