"""The one path from a request to a ranking."""
