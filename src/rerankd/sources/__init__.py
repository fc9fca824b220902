"""Where models' files come from: one file per source."""
