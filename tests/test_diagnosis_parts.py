"""Replaced parts of a model, Shapley shares, and what a gain says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mbrl_cli.diagnosis.attribution import Attribution, Effect
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.harmless_faults import mark_harmless
from mbrl_cli.diagnosis.mixed_model import MixedModel
from mbrl_cli.diagnosis.paired_interval import PairedInterval, gain_interval, paired_interval
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.shapley import shapley_shares
from mbrl_cli.diagnosis.substitution_findings import fault_of, substitution_finding
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.diagnosis.verdict import verdict
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError
from mbrl_cli.models.markov import MarkovModel

CPU = torch.device("cpu")


class Wrong(MarkovModel):
    """Predicts that nothing changes, the reward 7, and the end of the task with 25 %."""

    is_fitted = True

    def transition(self, obs, action, generator, common_noise):
        return obs.clone(), torch.full(obs.shape[:2], 7.0)

    def continues(self, obs, action, next_obs):
        return torch.full(obs.shape[:-1], 0.75)


def truth_of(env_id, **changes):
    return Truth(make_env(env_id, **changes), lambda: make_env(env_id, **changes), CPU)


def one_step(env_id, true_parts, generator, env=None):
    """Return obs, next obs, reward and continue probability of a mixed model, and the truth."""
    env = make_env(env_id) if env is None else env
    model = MixedModel(Wrong(env.spec, CPU), truth_of(env_id), true_parts)
    obs = env.reset(3)
    action = torch.zeros(1, env.spec.action.dim)
    action[0, 0] = 1.0
    state = model.observe(
        model.initial(1), torch.zeros_like(action), torch.tensor(obs[None]), [env]
    )
    step = model.step(model.branch(state, 1), action, generator)
    next_obs, reward, *_ = env.step(action[0].numpy())
    imagined = model.decode(step.state)[0, 0].numpy()
    return obs, imagined, float(step.reward), float(step.continues), next_obs, reward


@pytest.mark.parametrize("env_id", ["CartPole-v1", "InvertedPendulum-v5"])
@pytest.mark.parametrize(
    "true_parts",
    [
        [], ["dynamics"], ["reward"], ["termination"], ["dynamics", "reward"],
        ["dynamics", "termination"], ["reward", "termination"],
        ["dynamics", "reward", "termination"],
    ],
)  # fmt: skip
def test_each_part_is_the_truth_or_the_model_s(env_id, true_parts, generator):
    obs, imagined, reward, continues, next_obs, true_reward = one_step(
        env_id, true_parts, generator
    )
    assert imagined == pytest.approx(next_obs if "dynamics" in true_parts else obs, abs=1e-5)
    assert reward == pytest.approx(true_reward if "reward" in true_parts else 7.0)
    assert continues == (1.0 if "termination" in true_parts else 0.75)


def test_a_wrong_function_of_the_config_is_part_of_the_model_not_of_the_truth(generator):
    env = make_env("CartPole-v1", reward=f"{__name__}:minus_one")
    assert one_step("CartPole-v1", ["dynamics"], generator, env)[2] == -1.0
    assert one_step("CartPole-v1", ["reward"], generator, env)[2] == 1.0


def minus_one(obs, action, next_obs):
    return torch.full(obs.shape[:-1], -1.0)


def test_images_have_no_truth():
    with pytest.raises(UserError, match="observes images"):
        truth_of("CartPole-v1", obs="pixels")


def test_shapley_shares_of_two_interacting_parts():
    # a alone gains 1, b alone nothing, both 5: orders a, b -> 1 + 4; b, a -> 0 + 5
    values = {(): 10.0, ("a",): 11.0, ("b",): 10.0, ("a", "b"): 15.0}
    by_set = {frozenset(key): np.array([value, 2 * value]) for key, value in values.items()}
    shares = shapley_shares(["a", "b"], by_set)
    assert shares["a"].tolist() == [3.0, 6.0]
    assert shares["b"].tolist() == [2.0, 4.0]


def test_an_interval_of_equal_differences_has_no_width():
    assert paired_interval(np.full(4, 2.5)) == (2.5, 2.5, 2.5)
    wide = paired_interval(np.array([0.0, 10.0, 0.0, 10.0]))
    assert wide.low < 0.0 < 5.0 < 10.0 < wide.high  # t interval: 5 +- 3.18 * 5.77 / 2


def test_an_interval_of_a_gain_counts_half_an_unrelated_pair_more():
    # Equal differences of 50. Both variances are 5 / 3, so the half pair adds
    # 3.182 * sqrt(0.5 * 10 / 3 / (4 * 3)) = 1.186; 3.182 is the t quantile of 3 degrees.
    base = np.array([50.0, 51.0, 52.0, 53.0])
    gain = gain_interval(base + 50.0, base)
    assert gain == pytest.approx((50.0, 50.0 - 1.186, 50.0 + 1.186), abs=1e-3)
    constant = np.full(4, 200.0)
    assert gain_interval(constant, constant) == (0.0, 0.0, 0.0)
    one = gain_interval(constant[:1], constant[:1])
    assert one.mean == 0.0
    assert np.isnan([one.low, one.high]).all()


RUN = SimpleNamespace(
    model=None,
    objects=SimpleNamespace(planner=None, env=SimpleNamespace(spec=None)),
    run=SimpleNamespace(total_steps=500),
)


def finding(parts, base, other):
    base, other = np.asarray(base, float), np.asarray(other, float)
    variant = Variant("changed", frozenset(parts), "with a change", make=None)
    return substitution_finding(RUN, variant, gain_interval(other, base), base, other, 5.0)


def test_a_gain_is_a_problem_a_loss_is_fine_and_a_wide_interval_is_inconclusive():
    gain = finding({"dynamics"}, [50, 51, 52, 53], [100, 101, 102, 103])
    assert (gain.fault, gain.severity) == ("dynamics", "problem")
    assert (
        "51.5 as saved, 101.5 with a change (gain +50, 95 % interval +48.81 to +51.19" in gain.text
    )
    assert gain.command == "mbrl resume RUN total_steps=1000"
    loss = finding({"dynamics"}, [100, 101, 102, 103], [50, 51, 52, 53])
    assert loss.severity == "fine"
    assert "the learned part is better than the truth" in loss.text
    same = finding({"dynamics"}, [100, 101, 102, 103], [101, 100, 103, 102])
    assert same.severity == "fine"
    unclear = finding({"dynamics"}, [0, 100, 0, 100], [100, 0, 90, 60])
    assert unclear.severity == "note"
    assert "inconclusive" in unclear.text


def effect(parts, gain, severity="problem"):
    variant = Variant("+".join(parts), frozenset(parts), "", make=None)
    interval = PairedInterval(gain, gain - 1.0, gain + 1.0)
    return Effect(variant, interval, Finding(fault_of(variant), severity, "Text.", 0.975))


def attribution(*effects, shares=None, findings=()):
    section = Section("substitution", "")
    section.findings = [*findings, *(e.finding for e in effects)]
    return Attribution(section, [], list(effects), shares or {})


def test_the_verdict_is_the_part_with_the_largest_gain():
    both = attribution(effect(["dynamics"], 10.0), effect(["planner"], 20.0))
    assert verdict(both, []).fault == "planner"
    whole = ["dynamics", "reward", "termination"]
    assert verdict(attribution(effect(whole, 90.0), effect(["reward"], 5.0)), []).fault == "reward"
    assert verdict(attribution(effect(whole, 90.0)), []).fault == "model"
    shares = {"reward": PairedInterval(50, 40, 60), "dynamics": PairedInterval(40, 30, 50)}
    assert verdict(attribution(effect(whole, 90.0), shares=shares), []).fault == "reward"


def test_wrong_data_come_before_every_gain():
    data = Section("data", "", [Finding("shifted_actions", "problem", "Shifted.", 0.99, "fix it")])
    found = verdict(attribution(effect(["dynamics"], 10.0)), [data])
    assert found == ("shifted_actions", "The data are wrong: Shifted.", data.findings[0])
    unsure = Section("data", "", [Finding("shifted_actions", "problem", "Shifted.", 0.5)])
    assert verdict(attribution(effect(["dynamics"], 10.0)), [unsure]).fault == "dynamics"


def test_wrong_values_are_the_cause_if_longer_plans_gain():
    longer = effect(["horizon"], 10.0)
    learning = Section("learning", "", [Finding("value_bias", "problem", "Too low.", 0.95)])
    found = verdict(attribution(longer), [learning])
    assert (found.fault, found.finding) == ("value_bias", longer.finding)
    assert verdict(attribution(longer), []).fault == "horizon"
    more = attribution(longer, effect(["planner"], 20.0))
    assert verdict(more, [learning]).fault == "planner"


def test_a_known_function_that_is_wrong_comes_before_a_larger_gain():
    wrong = Finding("termination", "problem", "Differs.", 1.0)
    found = verdict(attribution(effect(["planner"], 10.0), findings=[wrong]), [])
    assert found.fault == "termination"


def test_a_run_is_healthy_only_if_every_variant_was_decided():
    assert verdict(attribution(effect(["planner"], 0.0, "fine")), []).fault == "healthy"
    unclear = attribution(effect(["planner"], 0.0, "fine"), effect(["dynamics"], 1.0, "note"))
    assert verdict(unclear, []).fault == "inconclusive"
    assert verdict(attribution(), []).fault == "inconclusive"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (("dynamics", "reward", "planner"), "dynamics, reward and planner gain none."),
        (("dynamics",), "dynamics gains none."),
        (("planner", "horizon"), "planner and horizon gain none; the truth was not tried."),
    ],
)
def test_a_healthy_verdict_names_what_was_tried(parts, text):
    found = verdict(attribution(*(effect([part], 0.0, "fine") for part in parts)), [])
    assert found.sentence == f"No part loses the return: {text}"


def episode(steps, terminated=False):
    zeros = np.zeros((steps + 1, 1), np.float32)
    rewards = np.ones(steps)
    return Episode(0, zeros, zeros[1:], rewards, terminated, False, rewards)


@pytest.mark.parametrize(
    "effects",
    [[effect(["planner"], 0.0, "fine")], [effect(["planner"], 1.0, "note")],
     [effect(["planner"], 9.0)]],
)  # fmt: skip
def test_the_verdict_says_after_how_many_steps_episodes_were_cut(effects):
    for episodes, text in (
        (
            [episode(30, True), episode(161)],
            "Only the first 161 steps of an episode were compared.",
        ),
        ([episode(30, True)], None),
    ):
        found = attribution(*effects)
        found.episodes.extend(episodes)
        sentence = verdict(found, []).sentence
        assert sentence.endswith(text) if text else "Only the first" not in sentence


def test_values_that_are_wrong_are_a_note_if_planning_does_not_improve_the_policy():
    def learning():
        return Section("learning", "", [Finding("value_bias", "problem", "Biased.", 0.95, "more")])

    improved = ["policy", "dynamics", "reward", "termination"]
    changed = learning()
    assert mark_harmless(attribution(effect(improved, 0.5, "fine")), [changed])
    assert changed.findings[0].severity == "note"
    for found in (effect(improved, 9.0), effect(["terminal_value"], 0.0, "fine")):
        kept = learning()
        assert not mark_harmless(attribution(found), [kept])
        assert kept.findings[0].severity == "problem"


def test_other_problems_decide_only_what_the_gains_leave_open():
    bias = Section("learning", "", [Finding("value_bias", "problem", "Biased.", 0.99)])
    assert verdict(attribution(effect(["planner"], 0.0, "fine")), [bias]).fault == "healthy"
    unclear = attribution(effect(["planner"], 0.0, "note"))
    assert verdict(unclear, [bias]).fault == "value_bias"
    text = "No replacement gains for sure; the surest problem is value_bias: Biased."
    assert verdict(unclear, [bias]).sentence == text
    assert verdict(attribution(effect(["planner"], 9.0)), [bias]).fault == "planner"


def test_wrong_predictions_whose_replacement_gains_nothing_are_notes():
    def section():
        text = "0 of 13 real terminations are predicted."
        return Section("", "", [Finding("termination_model", "problem", text, 0.97, "more data")])

    harmless = attribution(
        effect(["dynamics", "reward", "termination"], 0.5, "fine"),
        effect(["termination"], 0.25, "fine"),
    )
    changed = section()
    notes = mark_harmless(harmless, [changed])
    assert notes == changed.findings
    assert (notes[0].severity, notes[0].confidence, notes[0].command) == ("note", 0.97, "more data")
    assert "It costs no return now: the termination gains +0.25" in notes[0].text
    found = verdict(harmless, [changed], notes)
    assert found.fault == "healthy"
    assert found.sentence.endswith(
        "Wrong, but without a loss in the visited states: termination_model."
    )
    for severity in ("problem", "note"):  # a gain, or an interval that decides nothing
        kept = section()
        assert not mark_harmless(attribution(effect(["termination"], 9.0, severity)), [kept])
        assert kept.findings[0].severity == "problem"
    kept = section()  # the whole model was replaced together with a policy
    assert not mark_harmless(
        attribution(effect(["policy", "dynamics", "reward", "termination"], 0.0, "fine")), [kept]
    )
