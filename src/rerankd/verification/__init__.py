"""The parity certificate: our scores beside those of a model's reference implementation."""
