"""Token ids to numbers: one file per engine."""
