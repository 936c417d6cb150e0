"""The messages and methods of proto/leapstream/v1.

They are made of the descriptors that the build puts beside this file (protoc --descriptor_set_out), in a pool of their
own: no generated code has to fit the protobuf that is installed, and no other program's messages are in the way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS = Path(__file__).with_name("protocol.binpb")
SERVICE = "/leapstream.v1.SimultaneousTranslationService/"


def _load() -> descriptor_pool.DescriptorPool:
    try:
        content = DESCRIPTORS.read_bytes()
    except FileNotFoundError as error:
        raise ImportError(f"{DESCRIPTORS} is missing: this is the source of the package, not the package. "
                          "Install the wheel that ./dev python makes.") from error
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load()


def message(name: str) -> Any:
    """The class of a message."""
    descriptor = _POOL.FindMessageTypeByName(name)
    factory: Any = message_factory
    if hasattr(factory, "GetMessageClass"):
        return factory.GetMessageClass(descriptor)
    return factory.MessageFactory(_POOL).GetPrototype(descriptor)  # protobuf 4.21, Debian 12's.


def enum_name(name: str, number: int) -> str:
    """The name of an enum's value; the number itself if this package is older than the value."""
    value = _POOL.FindEnumTypeByName(name).values_by_number.get(number)
    return value.name if value else str(number)


StreamTranslateRequest = message("leapstream.v1.StreamTranslateRequest")
StreamTranslateResponse = message("leapstream.v1.StreamTranslateResponse")
TranslateRequest = message("leapstream.v1.TranslateRequest")
TranslateResponse = message("leapstream.v1.TranslateResponse")
ListModelsRequest = message("leapstream.v1.ListModelsRequest")
ListModelsResponse = message("leapstream.v1.ListModelsResponse")
SessionConfig = message("leapstream.v1.SessionConfig")
Status = message("google.rpc.Status")
ErrorInfo = message("google.rpc.ErrorInfo")
RetryInfo = message("google.rpc.RetryInfo")


def seconds(duration: Any) -> float:
    """A google.protobuf.Duration in seconds."""
    return float(duration.seconds) + float(duration.nanos) / 1e9


def duration(value: float) -> dict[str, int]:
    """Seconds as the fields of a google.protobuf.Duration."""
    nanos = round(value * 1e9)
    return {"seconds": nanos // 10**9, "nanos": nanos % 10**9}
