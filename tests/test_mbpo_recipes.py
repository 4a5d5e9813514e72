"""MBPO's recipes: the budgets of Janner et al. 2019, and half of them for Hopper."""

import pytest

LAYERS = [200, 200, 200, 200]


@pytest.mark.parametrize(
    ("recipe", "env_id", "updates", "rollouts", "target_entropy", "rollout_length"),
    [
        ("mbpo_hopper", "Hopper-v5", 10, 200, -1, [20000, 150000, 1, 15]),
        ("mbpo_halfcheetah", "HalfCheetah-v5", 40, 400, -3, 1),
        ("mbpo_walker2d", "Walker2d-v5", 20, 400, -3, 1),
    ],
)
def test_a_recipe_has_its_share_of_the_budgets_of_the_paper(
    compose_run, recipe, env_id, updates, rollouts, target_entropy, rollout_length
):
    config = compose_run(f"experiment={recipe}")
    agent, model = config.agent, config.model
    assert (config.env.id, config.env.termination) == (env_id, "known")
    assert (agent.sac.updates_per_step, agent.sac.target_entropy) == (updates, target_entropy)
    assert agent.rollout_length == rollout_length
    assert (model.num_members, model.num_elites, model.hidden) == (7, 5, LAYERS)
    assert agent.rollouts / agent.rollout_every == rollouts
    assert agent.real_ratio == 0.05
    assert config.prefill_steps == 5000


def test_a_recipe_takes_changes_from_the_command_line(compose_run):
    config = compose_run("experiment=mbpo_hopper", "total_steps=300", "agent.rollout_length=2")
    assert config.total_steps == 300
    assert config.agent.rollout_length == 2
