"""The providers' APIs: one file per dialect, pure functions, no I/O."""
