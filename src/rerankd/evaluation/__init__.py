"""How good a ranking is: metrics, data, runs, reports."""
