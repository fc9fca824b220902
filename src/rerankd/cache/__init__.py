"""Where raw scores are remembered: one file per scheme."""
