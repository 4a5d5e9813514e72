"""A diagnosis of saved runs, end to end, with a small planner."""

import json
import shutil

import numpy as np
import pytest
import torch

from mbrl_cli.api.loading import load_run
from mbrl_cli.api.training import train
from mbrl_cli.diagnosis.attribution import attribute
from mbrl_cli.diagnosis.diagnose import Effort, diagnose
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.known_functions import known_function_errors
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.diagnosis.variant_returns import VariantReturns
from mbrl_cli.diagnosis.variants import AS_IS, first_variants, model_parts

SMALL = [
    "env=cartpole", "env.max_episode_steps=12", "total_steps=60", "prefill_steps=40",
    "eval_every=0", "final_eval_episodes=1", "console=false", "device=cpu", "threads=1",
]  # fmt: skip
PLANS = ["planner.horizon=4", "planner.population=12", "planner.iterations=1"]


def no_report(name, done):
    pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a small run once for each set of words."""
    runs = {}

    def train_once(*words):
        if words not in runs:
            folder = tmp_path_factory.mktemp("run") / "run"
            runs[words] = train([*SMALL, *words, f"hydra.run.dir={folder}"])
        return DiagnosedRun(runs[words])

    return train_once


def upright_is_over(obs, action, next_obs):
    """Return a wrong termination: it is true where the pole leans to the right."""
    return next_obs[..., 2] > 0.0


WRONG = "env.termination=tests.test_diagnose:upright_is_over"


def test_episodes_of_a_diagnosis_repeat_and_are_cut(trained):
    run = trained("agent=pets", *PLANS)
    one, other = (run.play(run.seeds(2)) for _ in range(2))
    assert [episode.seed for episode in one] == run.seeds(2)
    for first, second in zip(one, other, strict=True):
        assert first.obs.tolist() == second.obs.tolist()
        assert first.obs.shape == (len(first) + 1, 4)
        assert first.action.shape == (len(first), 2)
        assert first.total == len(first)  # one reward for each step
        assert first.terminated or (first.truncated and len(first) == 12)
    cut = run.play(run.seeds(2), max_steps=3)
    assert [len(episode) for episode in cut] == [3, 3]
    assert not cut[0].terminated
    assert not cut[0].truncated
    assert cut[0].obs.tolist() == one[0].obs[:4].tolist()


def test_the_replay_of_a_diagnosis_is_that_of_the_run(trained):
    run = trained("agent=pets", *PLANS)
    replay = run.replay
    assert replay.total_added >= 40
    fields = replay.transitions(0, replay.total_added)
    assert np.isfinite(fields["obs"]).all()
    assert fields["episode"][-1] < replay.num_episodes


def test_a_known_function_is_compared_with_the_data(trained):
    assert known_function_errors(trained("agent=pets", *PLANS))["termination"].share == 0.0
    wrong = trained("agent=pets", *PLANS, WRONG, "check_known=false")
    error = known_function_errors(wrong)["termination"]
    replay = wrong.replay
    batch = replay.batch(np.arange(len(replay)))
    differs = (batch.next_obs[:, 2] > 0.0) != batch.terminated.bool()
    assert error.share == pytest.approx(float(differs.float().mean()))
    assert error.rows == len(replay)


def names(run, truth):
    found = Truth(run.objects.env, run.new_env, run.objects.device) if truth else None
    return [variant.name for variant in first_variants(run, found, model_parts(run, found))]


def test_variants_fit_the_agent(trained):
    planner = ["10 times the plans", "2 times the horizon", "5 times the horizon"]
    single = ["true model", "true dynamics", "true reward", "true termination"]
    pets = trained("agent=pets", *PLANS)
    assert names(pets, truth=True) == [AS_IS, *single, *planner]
    assert names(pets, truth=False) == [AS_IS, *planner]
    value = trained("agent=pets", *PLANS, "agent.terminal_value=true")
    assert names(value, truth=True) == [
        AS_IS, *single, *planner, "no terminal value", "policy alone",
    ]  # fmt: skip
    assert names(trained("agent=sac"), truth=True) == [AS_IS, "planning in the true model"]
    mcts = trained("agent=alphazero", "model=mlp", "planner.num_simulations=4")
    assert names(mcts, truth=True)[-1] == "10 times the plans"
    small = ["model.batch_size=4", "model.fit_steps=3"]
    planet = trained("agent=planet", "env=pendulum", *PLANS, *small)
    replaced = ["planning in the true model", "true reward", "true termination"]
    assert names(planet, truth=True) == [AS_IS, *replaced, *planner]
    assert names(planet, truth=False) == [AS_IS, *planner]


def test_a_policy_of_which_copies_are_assessed_is_improved_by_planning(trained):
    run = trained("agent=sac", "agent.assess_rounds=1")
    truth = Truth(run.objects.env, run.new_env, run.objects.device)
    as_is, improved = first_variants(run, truth, [])
    assert as_is.make() is run.agent
    assert improved.make().planning.sac is run.agent


def test_parts_of_latent_agents_are_replaced(trained, generator):
    small = ["model.batch_size=4", "model.fit_steps=3"]
    planet = trained("agent=planet", "env=pendulum", *PLANS, *small)
    truth = Truth(planet.objects.env, planet.new_env, planet.objects.device)
    by_name = {variant.name: variant for variant in first_variants(planet, truth, [])}
    agent = by_name["true reward"].make()
    state = agent.planning.model.branch(agent.planning.model.initial(1), 1)
    action = torch.full((1, 1), 0.5)
    step = agent.planning.model.step(state, action, generator)
    decoded = [agent.planning.model.decode(each)[0] for each in (state, step.state)]
    reward = truth.reward(decoded[0], action, decoded[1])
    assert float(step.reward) == pytest.approx(float(reward), rel=1e-5)
    tdmpc2 = trained(
        "agent=tdmpc2", "env=pendulum", "planner.population=24", "planner.iterations=1"
    )
    values = {v.name: v for v in first_variants(tdmpc2, None, [])}["values by imagined rollouts"]
    one, other = (tdmpc2.play(tdmpc2.seeds(1), each) for each in (None, values.make()))
    assert np.isfinite(other[0].reward).all()
    assert one[0].action.tolist() != other[0].action.tolist()


def test_all_variants_start_in_the_same_states(trained, monkeypatch):
    run = trained("agent=pets", *PLANS)
    starts = []
    play = run.play

    def recording(*arguments, **options):
        episodes = play(*arguments, **options)
        starts.append([episode.obs[0].tolist() for episode in episodes])
        return episodes

    monkeypatch.setattr(run, "play", recording)
    attribute(run, 1.0, 2, no_report)
    first_round = [start for start in starts if start[0] == starts[0][0]]
    assert len(first_round) >= 2
    # A variant is tried for one step of the first episode before the round is played.
    assert all(start in (starts[0], first_round[-1]) for start in first_round)
    assert first_round[-1][:1] == starts[0]


class Steps:
    """Stands for a run whose variants take the given seconds for each step."""

    def __init__(self, limit, clock):
        self.objects = self.env = self
        self.spec = self
        self.max_episode_steps = limit
        self.clock = clock

    def seeds(self, episodes, first=0):
        return list(range(first, first + episodes))

    def play(self, seeds, agent, max_steps, report=None):
        for step in range(max_steps):
            self.clock.now += agent
            if report is not None:
                report(step + 1)
        return []


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(
    ("seconds", "kept", "max_steps"),
    [(100.0, "abc", None), (24.01, "abc", 80), (6.0, "ab", 31), (0.1, "a", 25)],
)
def test_episodes_are_cut_before_the_slowest_variant_is_left_out(
    monkeypatch, seconds, kept, max_steps
):
    clock = Clock()
    monkeypatch.setattr("mbrl_cli.diagnosis.variant_returns.time", clock)
    cost = {"a": 0.09, "b": 0.1, "c": 0.11}
    variants = [Variant(name, frozenset(), "", lambda n=name: cost[n]) for name in "abc"]
    returns = VariantReturns(Steps(100, clock), 2)
    assert "".join(v.name for v in returns.choose(variants, seconds)) == kept
    assert returns.max_steps == max_steps
    assert sorted(returns.too_slow) == sorted(set("abc") - set(kept))


def test_a_variant_that_is_much_too_slow_is_played_for_one_step_of_one_episode(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("mbrl_cli.diagnosis.variant_returns.time", clock)
    cost = {"a": 0.1, "slow": 60.0}
    variants = [Variant(name, frozenset(), "", lambda n=name: cost[n]) for name in cost]
    returns = VariantReturns(Steps(100, clock), 8)
    assert [v.name for v in returns.choose(variants, 20.0)] == ["a"]
    assert clock.now == pytest.approx(60.0 + 5 * 0.1)  # four more steps of "a"
    assert returns.too_slow == {"slow": 60.0 * 8 * 100}


def test_a_whole_diagnosis(trained):
    wrong = trained("agent=pets", *PLANS, WRONG, "check_known=false")
    found = diagnose(wrong, Effort(2.0, 2), no_report, ["budget=0.03"])
    assert found.fault == "termination"
    assert found.command == (
        "mbrl train env=cartpole model=gaussian_ensemble planner=cem agent=pets seed=0 "
        "env.termination=known"
    )
    assert found.sections[0].name == "substitution"
    assert found.sections[0].tables[0].rows[0][0] == AS_IS
    sections = {section.name: section for section in found.sections}
    assert {"data", "observations", "plans", "learning"} <= sections.keys()
    chosen, random = sections["plans"].tables[-1].rows
    assert (chosen[0], random[0]) == ("chosen", "random")
    # One reward for each step until the pole falls, at most 4 within the horizon.
    assert 1.0 <= random[2] <= chosen[2] + 0.5 <= 4.5
    assert found.episodes >= 2
    assert found.mean_return.low <= found.mean_return.value <= found.mean_return.high
    assert found.costs["substitution"].seconds > 0.0


def test_the_command_prints_and_writes_the_diagnosis(trained, mbrl, tmp_path):
    run = trained("agent=pets", *PLANS)
    done = mbrl(
        "diagnose", str(run.folder), "budget=0.02", "--html", "page.html", "--json", "numbers.json",
        "--tensorboard", "events",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith("verdict ")
    assert "What the return gains when one part is replaced" in done.out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert [part["name"] for part in numbers["sections"]][:2] == ["substitution", "data"]
    assert numbers["settings"] == ["budget=0.02"]
    assert "<html" in (tmp_path / "page.html").read_text()
    assert list((tmp_path / "events").iterdir())


def test_two_runs_are_compared(trained, mbrl):
    folders = [str(trained(*words).folder) for words in (("agent=pets", *PLANS), ("agent=sac",))]
    done = mbrl("diagnose", *folders, "budget=0.02")
    assert done.code == 0, done.err
    assert all(folder in done.out for folder in folders)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["RUN", "budget=soon"], "budget=soon: must be a number of minutes > 0"),
        (["RUN", "budget=0"], "budget=0: must be a number of minutes > 0"),
        (["RUN", "budget=1", "--quick"], "--quick: cannot be used together with budget="),
        (["RUN", "RUN", "RUN"], "diagnose takes one run, or two to compare"),
        (["RUN", "--html", "page.txt"], "--html page.txt: must end in .html"),
        (["nothing"], "nothing: is not a run folder"),
        (["RUN", "planner.horizn=3"], "planner.horizn: unknown key; did you mean horizon?"),
        (["RUN", "--tensorboard", "RUN"], "is the folder of a run"),
    ],
)
def test_mistakes_are_explained_in_one_line(trained, mbrl, words, text):
    folder = str(trained("agent=pets", *PLANS).folder)
    done = mbrl("diagnose", *(folder if word == "RUN" else word for word in words))
    assert done.code == 2
    assert text in done.err
    assert done.err.count("\n") == 1


def test_a_run_without_a_replay_is_diagnosed_as_far_as_possible(trained, tmp_path):
    source = trained("agent=pets", *PLANS).folder
    shutil.copytree(source, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "replay")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    found = diagnose(DiagnosedRun(load_run(tmp_path / "run")), Effort(2.0, 2), no_report)
    skipped = [line for section in found.sections for line in section.skipped]
    assert any("has no replay" in line for line in skipped)
