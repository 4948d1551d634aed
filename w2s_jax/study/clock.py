"""The time of a study, which never runs backwards, whatever is done to the machine's clock."""

import time


class Clock:
    """Seconds since 1970 by the machine's clock; where that is set back, time goes on from where it was.

    A clock that is set forward is believed: it cannot be told from a machine that slept.

    >>> Clock(least=4e9).now()
    4000000000.0

    Args:
      least: the earliest that it can be, as some time that was recorded before.
    """

    def __init__(self, least: float) -> None:
        self._last, self._ahead = least, 0.0

    def now(self) -> float:
        """Seconds since 1970; never less than what was returned before."""
        read = time.time() + self._ahead
        if read < self._last:
            self._ahead += self._last - read
            read = self._last
        self._last = read
        return read
