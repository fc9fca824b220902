"""Whose turn it is, and who runs it."""
