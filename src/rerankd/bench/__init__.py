"""What this machine can do with a model, and how another server compares."""
