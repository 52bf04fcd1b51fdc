"""uvicorn's HTTP/1.1 protocol with a time limit for request heads."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""Seconds within which the head of a request must arrive."""


class TimedProtocol(H11Protocol):
    """Closes a connection on which the head of a request does not arrive within `HEAD_SECONDS`.

    uvicorn alone waits for ever, both on a silent new connection and within a head, and answers 503 to
    everyone while `limit_concurrency` connections are open. Between requests, its `timeout_keep_alive`
    applies.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Stop the timer once a head is complete; start it if only a part of one has arrived."""
        super().data_received(data)
        # h11 is idle until the head of the next request is complete.
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
