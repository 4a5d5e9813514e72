"""Check what the agent has learned.

Values, critics, policy, units, imagined returns, gradients, and falls of the return.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.categorical import Categorical
from mbrl_cli.agents.mpc import MPC
from mbrl_cli.agents.sac import SAC
from mbrl_cli.diagnosis.advised_command import longer, without_terminal_value
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding, Severity
from mbrl_cli.diagnosis.gradient_norms import gradient_finding, gradient_norms
from mbrl_cli.diagnosis.imagined_policy import (
    imagined_policy,
    imagined_policy_finding,
    imagined_policy_returns,
    return_gap,
)
from mbrl_cli.diagnosis.model_accuracy import imagined_horizon
from mbrl_cli.diagnosis.return_fall import changes, return_fall
from mbrl_cli.diagnosis.saved_values import saved_values, soft_actor_critic
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.diagnosis.value_bias import ValueBias, value_bias
from mbrl_cli.nets.stacked_mlp import StackedMLP
from mbrl_cli.nets.stacked_network import StackedNetwork

# Of the scale of the returns. The interval of a problem excludes the bias of a note.
NOTE_BIAS = 0.25
PROBLEM_BIAS = 0.5
DISAGREEMENT = 0.5  # of the scale of the returns
COLLAPSED = 0.01  # of the entropy of uniform choices
DEAD = 0.5  # fraction of a network's units
ORDER = {"problem": 0, "note": 1, "fine": 2}
SHOWN_CHANGES = 8


def learning_health(
    run: DiagnosedRun, episodes: Sequence[Episode], generator: torch.Generator
) -> Section:
    """Check what the agent has learned.

    Args:
        run: a saved run.
        episodes: that the saved agent played now.
        generator: for models that draw random numbers.
    """
    section = Section("learning", "Learning health")
    table = Table("Learning health", ["measured", "value"])
    bias = _values(run, episodes, generator, section, table)
    sac = soft_actor_critic(run.agent)
    if sac is not None:
        obs = torch.from_numpy(np.concatenate([e.obs[:-1] for e in episodes])).to(sac.device)
        action = torch.from_numpy(np.concatenate([e.action for e in episodes])).to(sac.device)
        _critics(sac, obs, action, bias, section, table)
        _policy(run, sac, obs, section, table)
        _units(sac, obs, action, section, table)
    _imagined(run, episodes, generator, section, table)
    _gradients(run, section, table)
    _logged(run, table)
    if table.rows:
        section.tables.insert(0, table)
    _fall(run, section)
    section.findings.sort(key=lambda finding: ORDER[finding.severity])
    return section


def _values(
    run: DiagnosedRun,
    episodes: Sequence[Episode],
    generator: torch.Generator,
    section: Section,
    table: Table,
) -> ValueBias | None:
    saved = saved_values(run.agent, episodes, generator)
    if saved is None:
        section.skipped.append("value bias: the agent has no value function")
        return None
    sac = soft_actor_critic(run.agent)
    bonus = 0.0 if sac is None else _entropy_bonus(sac, episodes)
    bias = value_bias(episodes, saved.values, saved.discount, bonus)
    if bias is None:
        section.skipped.append("value bias: fewer than 3 episodes are long enough to compare")
        return None
    table.rows.extend(
        [
            ["mean value of visited states", bias.mean_value],
            ["mean discounted return from there", bias.mean_return],
            ["bias of the values", bias.bias],
            ["lower end of its 95 % interval", bias.low],
            ["upper end of its 95 % interval", bias.high],
            ["correlation of values and returns", _finite(bias.correlation)],
        ]
    )
    section.findings.append(bias_finding(bias, _help(run)))
    return bias


def bias_finding(bias: ValueBias, command: str) -> Finding:
    """Return what a bias means.

    Args:
        bias: of the values.
        command: the advice if it is a problem.
    """
    relative = bias.bias / bias.scale
    nearest = 0.0 if bias.low <= 0.0 <= bias.high else min(abs(bias.low), abs(bias.high))
    sure = nearest / bias.scale
    numbers = (
        f"the critics' values of visited states are {bias.mean_value:.4g} on average, the "
        f"discounted returns from there {bias.mean_return:.4g} (bias {bias.bias:+.4g}, 95 % "
        f"interval {bias.low:.4g} to {bias.high:.4g})"
    )
    direction = "too high" if bias.bias > 0.0 else "too low"
    if abs(relative) >= PROBLEM_BIAS and sure >= NOTE_BIAS:
        text = f"the values are {direction}: {numbers}"
        return Finding("value_bias", "problem", text, 0.95, command)
    if abs(relative) >= NOTE_BIAS and sure > 0.0:
        return Finding("value_bias", "note", f"the values are somewhat {direction}: {numbers}", 0.9)
    return Finding("value_bias", "fine", numbers)


def _help(run: DiagnosedRun) -> str:
    if isinstance(run.agent, MPC):
        return without_terminal_value(run)
    return longer(run)


def _entropy_bonus(sac: SAC, episodes: Sequence[Episode]) -> float:
    """Return the temperature times the mean entropy, in the unit of the rewards."""
    obs = torch.from_numpy(np.concatenate([episode.obs[:-1] for episode in episodes]))
    entropy = mean_entropy(sac, obs.to(sac.device))
    return float(sac.reward_scale.restore(sac.log_temperature.detach().exp())) * entropy


@torch.no_grad()
def mean_entropy(sac: SAC, obs: Tensor) -> float:
    """Return the mean entropy in nats of the policy at obs [n, O], in the environment's unit."""
    noise = torch.randn(
        len(obs), sac.spec.action.dim, generator=torch.Generator().manual_seed(0)
    ).to(sac.device)
    weights = sac.critics.network.detached()
    _, entropy = sac.expected_q_and_entropy(sac.normalizer(obs), weights, noise)
    return float(entropy.mean())


@torch.no_grad()
def _critics(
    sac: SAC, obs: Tensor, action: Tensor, bias: ValueBias | None, section: Section, table: Table
) -> None:
    q = sac.critics.q(sac.normalizer(obs), action, sac.critics.network.detached())  # [2, n]
    q = sac.reward_scale.restore(q)
    difference = float((q[0] - q[1]).abs().mean())
    table.rows.append(["mean difference of both critics", difference])
    if bias is None:
        return
    relative = difference / bias.scale
    text = (
        f"both critics differ by {difference:.4g} on average, {relative:.0%} of the typical return"
    )
    severity: Severity = "note" if relative >= DISAGREEMENT else "fine"
    section.findings.append(Finding("critic_disagreement", severity, text))


def _policy(run: DiagnosedRun, sac: SAC, obs: Tensor, section: Section, table: Table) -> None:
    entropy = mean_entropy(sac, obs)
    table.rows.append(["entropy of the policy (nats)", entropy])
    if isinstance(sac.distribution, Categorical):
        limit = COLLAPSED * math.log(max(2, sac.spec.action.dim))
    else:  # the target is -1 per action entry; one standard deviation of 1e-3 is -5.5
        limit = sac.target_entropy - 4.0 * sac.spec.action.dim
    collapsed = entropy < limit
    text = (
        f"the policy has an entropy of {entropy:.3g} nats on visited states, its target is "
        f"{sac.target_entropy:.3g}"
    )
    if collapsed:
        text += "; it hardly explores"
    severity: Severity = "note" if collapsed else "fine"
    key = "agent.target_entropy" if sac is run.agent else "agent.sac.target_entropy"
    command = f"{longer(run)} {key}=0" if collapsed else None
    section.findings.append(Finding("policy_collapsed", severity, text, 0.8, command))


def _units(sac: SAC, obs: Tensor, action: Tensor, section: Section, table: Table) -> None:
    scaled = sac.normalizer(obs)
    inputs = scaled if sac.critics.discrete else torch.cat([scaled, action], -1)
    shares = {}
    for name, network, x in (
        ("actor", sac.actor, scaled[None]),
        ("critics", sac.critics.network, inputs.expand(2, -1, -1)),
    ):
        share = dead_units(network, x)
        if share is None:
            section.skipped.append("dead units: counted in multilayer perceptrons only")
            return
        shares[name] = share
        table.rows.append([f"constant units of the {name}", share])
    worst = max(shares, key=lambda name: shares[name])
    text = f"{shares[worst]:.0%} of the units of the {worst} are constant on visited states"
    severity: Severity = "note" if shares[worst] >= DEAD else "fine"
    section.findings.append(Finding("dead_units", severity, text))


@torch.no_grad()
def dead_units(network: StackedNetwork, x: Tensor) -> float | None:
    """Return the fraction of hidden units with a constant output on x [E, n, in].

    None: the network is no multilayer perceptron.
    """
    if not isinstance(network, StackedMLP):
        return None
    weights = network.detached()[:-2]
    constant = total = 0
    for layers in range(2, len(weights) + 1, 2):
        out = network.hidden_layers(x, weights[:layers])  # [E, n, hidden]
        constant += int((out.std(1) < 1e-6).sum())
        total += out.shape[0] * out.shape[2]
    return constant / max(1, total)


def _imagined(
    run: DiagnosedRun,
    episodes: Sequence[Episode],
    generator: torch.Generator,
    section: Section,
    table: Table,
) -> None:
    """Compare the policy's return in imagination with the one in the episodes."""
    model, policy = run.model, imagined_policy(run.agent)
    if policy is None or model is None or not model.is_fitted:
        section.skipped.append(
            "imagined return of the policy: the agent does not act by a policy inside its model"
        )
        return
    horizon = imagined_horizon(run)
    returns = imagined_policy_returns(model, policy, episodes, horizon, generator)
    if returns is None:
        section.skipped.append(
            f"imagined return of the policy: no episode has {horizon} steps after a state"
        )
        return
    gap = return_gap(returns)
    table.rows.extend(
        [
            [
                f"return of the policy over {horizon} steps, imagined",
                float(returns.predicted.mean()),
            ],
            ["return of the policy over these steps, real", float(returns.true.mean())],
            ["imagined minus real", gap.value],
            ["lower end of its 95 % interval", _finite(gap.low)],
            ["upper end of its 95 % interval", _finite(gap.high)],
        ]
    )
    section.findings.append(imagined_policy_finding(returns, horizon, longer(run)))


def _gradients(run: DiagnosedRun, section: Section, table: Table) -> None:
    norms = gradient_norms(run.agent)
    if not norms:
        section.skipped.append("gradient norms: the agent trains no network step by step")
        return
    for norm in norms:
        clip = f", clipped at {norm.limit:g}" if norm.limit is not None else ""
        table.rows.append([f"gradient norm of the {norm.name}{clip}", norm.norm])
    section.findings.append(gradient_finding(norms))


def _logged(run: DiagnosedRun, table: Table) -> None:
    """Add the last logged values that describe learning."""
    tags = ("agent/entropy", "agent/imagined_return", "agent/value", "agent/q_real")
    for tag, series in run.run.metrics(tags).items():
        if len(series["value"]):
            table.rows.append([f"{tag}, last logged", float(series["value"][-1])])


def _fall(run: DiagnosedRun, section: Section) -> None:
    series = run.run.metrics()
    returns = series.get("eval/return")
    if returns is None or len(returns["value"]) < 6:
        section.skipped.append("falls of the return: fewer than 6 evaluations")
        return
    fall = return_fall(returns["env_step"], returns["value"])
    if fall is None:
        text = "the return did not fall beyond its noise during training"
        section.findings.append(Finding("return_fell", "fine", text))
        return
    logged = {tag: values for tag, values in series.items() if tag.startswith(("model/", "agent/"))}
    early = [change for change in changes(logged) if change.step <= fall.step]
    first = f"; {early[0].tag} changed first, at step {early[0].step:,}" if early else ""
    text = f"the return fell from {fall.peak:.4g} to {fall.last:.4g} near step {fall.step:,}{first}"
    section.findings.append(
        Finding("return_fell", "problem", text, 0.95, "mbrl eval RUN eval_episodes=50")
    )
    table = Table(
        f"Logged quantities that changed before the return fell (step {fall.step:,})",
        ["quantity", "step", "mean before", "mean after"],
        note="Each series is split where the means of both parts differ most.",
    )
    for change in early[:SHOWN_CHANGES]:
        table.rows.append([change.tag, change.step, change.before, change.after])
    section.tables.append(table)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
