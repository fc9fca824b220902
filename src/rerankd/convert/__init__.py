"""Weights and configuration to a graph an engine can run; no torch."""
