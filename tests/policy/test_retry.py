from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.errors import ServerError
from vya_backupd.policy.retry import Budget, decide

LOST = ServerError("gone", code="server_lost", retryable=True)
REFUSED = ServerError("no", code="login_refused")
BUDGET = Budget(attempts=4, first_wait=10, growth=4, longest_wait=100)


def test_waits_grow_up_to_the_longest() -> None:
    waits = [decide(LOST, attempt, BUDGET).delay for attempt in (1, 2, 3)]
    assert waits == [10, 40, 100]


def test_what_cannot_pass_is_not_tried_again() -> None:
    decision = decide(REFUSED, 1, BUDGET)
    assert not decision.again
    assert "login_refused" in decision.reason


def test_the_budget_ends_it() -> None:
    assert decide(LOST, 3, BUDGET).again
    assert not decide(LOST, 4, BUDGET).again


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_wait_stays_in_its_bounds(attempt: int, roll: float) -> None:
    decision = decide(LOST, attempt, Budget(attempts=10**7, longest_wait=100), roll=roll)
    assert decision.again
    assert 7.5 <= decision.delay <= 125
