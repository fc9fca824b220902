"""What several processes behind one address do when one of them keeps dying."""

from hypothesis import given
from hypothesis import strategies as st

from rerankd.http.processes import pause_s


@given(st.integers(0, 1_000_000))
def test_a_place_is_filled_again_at_once_at_first_and_never_later_than_half_a_minute(short_lives: int) -> None:
    assert pause_s(0) == pause_s(1) == 0
    assert pause_s(short_lives) <= pause_s(short_lives + 1) <= 30
