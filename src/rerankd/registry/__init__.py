"""What could be loaded: names, cards, and the store of prepared models."""
