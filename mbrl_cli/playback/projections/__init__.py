"""Where the states of an environment lie in its rendered image, one class for each environment."""
