"""Control a cart with a trained run, without the runner; type: python control_loop.py RUN."""

import sys

from rail_cart import RailCart

import mbrl_cli as mbrl

run = mbrl.load_run(sys.argv[1])
policy, env = run.policy(), RailCart()
obs, _ = env.reset(seed=0)
policy.reset()
for _ in range(40):
    action = policy.act(obs)
    predicted = run.model.predict(obs, action)
    obs, reward, terminated, truncated, _ = env.step(action)
    print(f"{obs['position'][0]:+.3f} m  predicted {predicted.obs['position'][0]:+.3f} m")
