"""What a run can compute on. Apart from the command line, which does without torch."""


def has_gpu() -> bool:
    """Whether torch sees a CUDA device."""
    import torch

    return torch.cuda.is_available()
