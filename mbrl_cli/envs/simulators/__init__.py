"""True dynamics of known environments as batched torch functions (`types.Simulator`)."""
