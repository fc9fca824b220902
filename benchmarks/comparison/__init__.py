"""What the scenarios in this folder share: models, texts, rivals, rounds, results."""
