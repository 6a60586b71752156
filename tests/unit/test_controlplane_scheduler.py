"""The ticker knows whether its ticks end well."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from controlplane.errors import Busy
from controlplane.loop.scheduler import Ticker


class Ticking:
    """A ticker whose tick does what it is told, and whose time stands still."""

    def __init__(self, every: timedelta = timedelta(seconds=1)) -> None:
        self.seconds = 0.0
        self.error: Exception | None = None
        self.ticker = Ticker(self._tick, every, lambda: self.seconds)

    def _tick(self) -> None:
        if self.error is not None:
            raise self.error

    def after(self, seconds: float, error: Exception | None = None) -> str | None:
        self.seconds, self.error = self.seconds + seconds, error
        try:
            self.ticker.once()
        except RuntimeError:
            assert error is not None
        return self.ticker.trouble()


@pytest.mark.parametrize("error", [RuntimeError("secret"), OperationalError("select", {}, Exception("secret")), Busy()])
def test_ticks_that_fail_for_long_are_trouble_until_one_ends_well(error):
    ticking = Ticking()
    assert ticking.after(1) is None
    assert ticking.after(1, error) is None, "one that fails is tried again"
    told = ticking.after(60, error)
    assert told is not None and type(error).__name__ in told and "secret" not in told
    assert ticking.after(1) is None


def test_ticks_that_do_not_end_are_trouble():
    ticking = Ticking()
    ticking.seconds = 59.0
    assert ticking.ticker.trouble() is None
    ticking.seconds = 61.0
    assert ticking.ticker.trouble() == "no tick ended well for 61 s: none has ended"


def test_a_slow_ticker_is_given_several_intervals():
    ticking = Ticking(every=timedelta(minutes=1))
    ticking.seconds = 599.0
    assert ticking.ticker.trouble() is None
