"""How each kind of model reads pairs and gives scores: one file per family."""
