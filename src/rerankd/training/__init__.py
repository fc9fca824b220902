"""Training rerankers on one's own data: what `rerankd train` does, and what the recipe of the bundled model builds on.

Needs the extra `train`. `encoder`, `late_interaction`, `trainee`, `late` and `cross` import torch; nothing else does.
"""
