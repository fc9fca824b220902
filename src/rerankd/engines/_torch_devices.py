"""The GPUs that torch uses in this process, for the metrics. None where torch is not loaded."""

import sys
from collections.abc import Sequence
from typing import Any, cast

from rerankd.metrics import Device


def devices() -> Sequence[Device]:
    """Describe every CUDA device as it is now; none before the first model has been put on one."""
    torch = cast("Any", sys.modules.get("torch"))  # never imported for this: that takes seconds and gigabytes
    if torch is None or not torch.cuda.is_initialized():
        return ()
    found: list[Device] = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        held = torch.cuda.memory_reserved(index)
        found.append(Device(f"cuda:{index}", int(total), int(free), int(held), _busy(torch, index)))
    return found


def _busy(torch: Any, index: int) -> float | None:
    """Ask the driver, through nvidia-ml-py where that is installed."""
    try:
        return float(torch.cuda.utilization(index)) / 100
    except (ImportError, RuntimeError):
        return None
