"""Networks: plain modules without any knowledge of environments."""
