"""Reward and termination of Gymnasium's MuJoCo tasks as functions of observations."""
