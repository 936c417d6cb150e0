"""Channels to the replicas of a service."""

from __future__ import annotations

import random
from typing import Any, List, Optional, Sequence, Tuple, Union

import grpc
import grpc.aio

from . import wire

LOCAL = ("localhost:", "127.", "[::1]:", "unix:")


def is_local(address: str) -> bool:
    return address.startswith(LOCAL)


class Connection:
    """The servers, and what they are told of who calls."""

    def __init__(self, address: str, tls: bool, ca: Optional[bytes], certificate: Optional[bytes], key: Optional[bytes],
                 token: Optional[str]) -> None:
        addresses = [part.strip() for part in address.split(",") if part.strip()]
        if not addresses:
            raise ValueError("expected an address such as localhost:50051, got none")
        if (ca or certificate) and not tls:
            raise ValueError("certificates are part of TLS: give tls=True")
        if token and not tls and not all(map(is_local, addresses)):
            raise ValueError("the token would be sent unencrypted to another machine: give tls=True")
        self.metadata: Sequence[Tuple[str, str]] = (("authorization", f"Bearer {token}"),) if token else ()
        self._credentials = grpc.ssl_channel_credentials(ca, key, certificate) if tls else None
        self._channels = [self._open(address) for address in addresses]
        self._turn = random.randrange(len(addresses))

    def _open(self, address: str) -> Any:
        # Calls take turns at all addresses of a name; gRPC looks for a new one when one is lost.
        options: List[Tuple[str, Union[str, int]]] = [("grpc.lb_policy_name", "round_robin"),
                                                      ("grpc.dns_min_time_between_resolutions_ms", 1000),
                                                      ("grpc.initial_reconnect_backoff_ms", 100),
                                                      ("grpc.max_reconnect_backoff_ms", 1000)]
        if is_local(address):
            options.append(("grpc.enable_http_proxy", 0))  # No proxy reaches this machine's loopback.
        if self._credentials is not None:
            return grpc.aio.secure_channel(address, self._credentials, options)
        return grpc.aio.insecure_channel(address, options)

    def __len__(self) -> int:
        return len(self._channels)

    def turn(self) -> int:
        """The number of a server: streams begin at one after the other."""
        self._turn += 1
        return self._turn

    def unary(self, turn: int, method: str, request: Any, answer: Any) -> Any:
        return self._channels[turn % len(self)].unary_unary(
            wire.SERVICE + method, request_serializer=request.SerializeToString, response_deserializer=answer.FromString)

    def stream(self, turn: int) -> Any:
        return self._channels[turn % len(self)].stream_stream(
            wire.SERVICE + "StreamTranslate",
            request_serializer=wire.StreamTranslateRequest.SerializeToString,
            response_deserializer=wire.StreamTranslateResponse.FromString)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
