from pathlib import Path

import numpy as np
import pytest

from rerankd.engines.base import Encoding, Graph
from rerankd.engines.fake import ENGINE, STATES, WIDTH, logit, states

ENCODING = Encoding(np.array([50, 97], np.int64), np.array([0, 1], np.int64))


def test_the_logit_can_be_worked_out_by_hand() -> None:
    engine = ENGINE.open(Graph(Path("unused"), "fp32"))
    # Values 50 - 48 = 2 and (97 + 1) % 97 - 48 = -47: their mean.
    assert engine.run([ENCODING])[0].tolist() == [-22.5] == [logit(ENCODING)]


def test_the_states_can_be_worked_out_by_hand() -> None:
    engine = ENGINE.open(Graph(Path("unused"), STATES))
    (found,) = engine.run([ENCODING])
    assert found.shape == (2, WIDTH)
    assert found[0].tolist() == pytest.approx([2 / 48, 4 / 48, 6 / 48, 8 / 48])
    assert np.array_equal(found, states(ENCODING))
