"""Config in, live objects out: the only room that knows hydra and omegaconf."""
