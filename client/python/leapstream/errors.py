"""The errors of calls."""

from __future__ import annotations

from typing import Any

import grpc

from . import wire


class LeapstreamError(Exception):
    """A call failed. docs/protocol.md has the table of codes and reasons, with what to do."""

    def __init__(self, code: str, message: str, reason: str = "", retry_delay: float = 0.0) -> None:
        super().__init__(message)
        self.code = code  # The name of a gRPC code, such as "INVALID_ARGUMENT".
        self.message = message
        self.reason = reason  # Such as "MODEL_NOT_FOUND"; "": no leapstream server said it, and the connection broke.
        self.retry_delay = retry_delay  # Seconds to wait, as the server asks; 0: it does not.

    def __str__(self) -> str:
        return f"{self.message} ({self.code}{' ' + self.reason if self.reason else ''})"


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


def from_rpc(error: Any) -> LeapstreamError:
    """The error of a call of grpc.aio. The code in the details, if there is one, is the server's own."""
    trailing = {key: value for key, value in error.trailing_metadata() or ()}
    status, info, retry = wire.Status(), wire.ErrorInfo(), wire.RetryInfo()
    try:
        status = wire.Status.FromString(trailing.get("grpc-status-details-bin", b""))
        for detail in status.details:
            for found in (info, retry):
                if detail.type_url.endswith("/" + found.DESCRIPTOR.full_name):
                    found.MergeFromString(detail.value)
    except ValueError:  # A proxy's details need not be these messages; then they say nothing.
        pass
    code = _NAMES.get(status.code, "") if status.code else error.code().name
    reason = info.reason if info.domain == "leapstream" else ""
    return LeapstreamError(code or "UNKNOWN", status.message or error.details() or "", reason,
                           wire.seconds(retry.retry_delay))
