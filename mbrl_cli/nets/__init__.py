"""Networks, distributions and their optimiser; they know sizes, not environments."""
