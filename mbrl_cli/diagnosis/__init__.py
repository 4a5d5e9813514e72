"""Find out which part of a saved run loses the return: `mbrl diagnose RUN`."""
