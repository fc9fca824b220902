"""API keys: what is kept of one, the file they stand in, and who a key belongs to."""
