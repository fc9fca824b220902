"""The HTTP rim: the only folder that imports the web framework."""
