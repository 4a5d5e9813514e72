"""Configuration: compose and check a config, build the objects of a run, run the subcommands.

Only this package imports hydra and omegaconf.
"""
