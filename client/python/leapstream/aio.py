"""The client for asyncio.

    async with leapstream.aio.Client("localhost:50051") as client:
        async with client.stream(policy={"wait_k": {"k": 3}}, sentences=True) as stream:
            stream.send("Sound can be included ")
            stream.send("in presentations.")
            stream.close()
            async for event in stream:
                if isinstance(event, leapstream.Delta):
                    print(event.text, end="", flush=True)
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, AsyncIterator, List, Mapping, Optional, Union

import grpc
import grpc.aio

from . import glossary as terms, wire
from .connection import Connection
from .errors import LeapstreamError, from_rpc
from .session import FIRST_PAUSE, LONGEST_PAUSE, Session
from .stream_types import (BeamSearch, Event, Hypothesis, Model, Policy, Resumed, Started, StreamOptions, Summary,
                    Translation)

MAX_UNSENT_BYTES = 256 << 10
MAX_EVENTS = 1024  # With so many that nobody takes, the server is slowed down.


class Client:
    """Connections to the replicas of a service: "a:50051,b:50051". Any number of streams may use it."""

    def __init__(self, address: str = "localhost:50051", *, tls: bool = False, ca: Optional[bytes] = None,
                 certificate: Optional[bytes] = None, key: Optional[bytes] = None, token: Optional[str] = None) -> None:
        """`ca`, `certificate` and `key` are the content of PEM files. ValueError: the settings do not fit together."""
        self._connection = Connection(address, tls, ca, certificate, key, token)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()

    def stream(self, *, model: str = "", source_language: str = "", target_language: str = "",
               policy: Optional[Policy] = None, sentences: bool = False, glossary: Optional[Mapping[str, str]] = None,
               keep_markup: bool = False, options: Optional[StreamOptions] = None) -> Stream:
        """Opens a session. `options` has all settings, and then stands for the others."""
        return Stream(self._connection, options or StreamOptions(
            model, source_language, target_language, policy or Policy(), sentences, glossary=glossary,
            keep_markup=keep_markup))

    async def translate(self, text: str, *, model: str = "", source_language: str = "", target_language: str = "",
                        policy: Optional[Policy] = None, sentences: bool = True,
                        beam_search: Optional[BeamSearch] = None, glossary: Optional[Mapping[str, str]] = None,
                        keep_markup: bool = False, retry_timeout: float = 60) -> Translation:
        """Translates a whole text; a line stays a line. A call that breaks is made again: it changes nothing."""
        request = wire.TranslateRequest(
            text=text, model=model, source_language_code=source_language, target_language_code=target_language,
            text_segmentation="TEXT_SEGMENTATION_SENTENCES" if sentences else "TEXT_SEGMENTATION_OFF",
            policy=dict(policy) if policy else None, beam_search=dict(beam_search) if beam_search else None,
            glossary=None if glossary is None else terms.message(glossary), keep_markup=keep_markup)
        answer = await self._call("Translate", request, wire.TranslateResponse, retry_timeout)
        return Translation(answer.text, tuple(tuple(Hypothesis(each.text, each.score) for each in segment.hypotheses)
                                              for segment in answer.segments))

    async def models(self, *, retry_timeout: float = 10) -> List[Model]:
        found: List[Model] = []
        token = ""
        while True:
            answer = await self._call("ListModels", wire.ListModelsRequest(page_token=token), wire.ListModelsResponse,
                                      retry_timeout)
            found += [Model(each.name, tuple(each.source_language_codes), tuple(each.target_language_codes),
                            each.source_kind == 2, tuple(each.policies), each.default_k, each.compute_type,
                            each.checksum, each.license, each.origin, each.state_type) for each in answer.models]
            token = answer.next_page_token
            if not token:
                return found

    async def _call(self, method: str, request: Any, answer: Any, retry_timeout: float) -> Any:
        turn, failures, end = self._connection.turn(), 0, time.monotonic() + retry_timeout
        while True:
            try:
                call = self._connection.unary(turn, method, type(request), answer)
                return await call(request, metadata=self._connection.metadata)
            except grpc.aio.AioRpcError as rpc_error:
                error = from_rpc(rpc_error)
            failures, turn = failures + 1, turn + 1
            if error.code != "UNAVAILABLE":
                raise error
            pause = 0.0
            if failures >= len(self._connection):  # All were asked.
                if time.monotonic() >= end:
                    raise error
                pause = max(error.retry_delay, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 10)))
            await asyncio.sleep(pause * random.uniform(1, 1.5))


class Stream:
    """A session, carried by as many calls as it takes. Iterate over it for its events; after a Summary it ends. A
    LeapstreamError ends it, too. It keeps itself alive while it is open."""

    def __init__(self, connection: Connection, options: StreamOptions) -> None:
        self._connection = connection
        self._session = Session(options)
        self._changed = asyncio.Event()  # Something is to be sent, or the call is over.
        self._drained = asyncio.Event()
        self._drained.set()
        self._events: asyncio.Queue[Union[Event, Exception, None]] = asyncio.Queue()
        self._taken = asyncio.Event()  # Somebody took an event.
        self._over = False
        self._task = asyncio.ensure_future(self._run())

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()

    def send(self, content: Union[str, bytes]) -> None:
        """Appends text, or samples of audio, to the open segment. Never blocks: see drain()."""
        self._session.append(content)
        self._wake()

    def end_segment(self) -> None:
        """The next source opens a new segment."""
        self._session.end_segment()
        self._wake()

    def close(self) -> None:
        """No more source comes. What was sent is still translated."""
        self._session.close()
        self._wake()

    async def drain(self) -> None:
        """Waits until little of the source waits to be sent."""
        await self._drained.wait()

    async def cancel(self) -> None:
        """Ends the stream where it is."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._over and self._events.empty():
            raise StopAsyncIteration
        event = await self._events.get()
        self._taken.set()
        if event is None:
            raise StopAsyncIteration
        if isinstance(event, Exception):
            raise event
        return event

    def _wake(self) -> None:
        if self._session.unsent_bytes > MAX_UNSENT_BYTES:
            self._drained.clear()
        self._changed.set()

    async def _run(self) -> None:
        end: Optional[Exception] = None
        try:
            await self._make_calls()
        except Exception as error:
            end = error
        finally:
            self._over = True
            self._drained.set()
            self._events.put_nowait(end)

    async def _make_calls(self) -> None:
        turn = self._connection.turn()
        while True:
            self._session.begin(time.monotonic())
            self._wake()
            call = self._connection.stream(turn)(metadata=self._connection.metadata)
            answered = asyncio.Event()
            sender = asyncio.ensure_future(self._send(call, answered))
            error = LeapstreamError("UNAVAILABLE", "the call ended without a summary")
            try:
                async for response in call:
                    answered.set()
                    for event in self._session.receive(response, time.monotonic()):
                        self._events.put_nowait(event)
                        if isinstance(event, Summary):
                            return
                        if isinstance(event, (Started, Resumed)):
                            self._wake()  # The time for keep_alive is known now.
                    while self._events.qsize() >= MAX_EVENTS:
                        self._taken.clear()
                        await self._taken.wait()
            except grpc.aio.AioRpcError as rpc_error:
                error = from_rpc(rpc_error)
            finally:
                sender.cancel()
                await asyncio.wait([sender])
                call.cancel()
            pause, events = self._session.broken(error, len(self._connection), time.monotonic())
            for event in events:
                self._events.put_nowait(event)
            turn += 1
            await asyncio.sleep(pause)

    async def _send(self, call: Any, answered: asyncio.Event) -> None:
        """Sends all source of a call; its end is the half-close."""
        try:
            # A refusal must not meet a write: grpc.aio would give that write's error as the call's.
            await call.write(self._session.next_request())
            await answered.wait()
            await self._send_source(call)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass  # The reader of the call knows why.

    async def _send_source(self, call: Any) -> None:
        session = self._session
        while True:
            self._changed.clear()
            while session.outgoing:
                await call.write(session.next_request())
                if session.unsent_bytes <= MAX_UNSENT_BYTES // 2:
                    self._drained.set()
            if session.closed:
                await call.done_writing()
                return
            try:
                await asyncio.wait_for(self._changed.wait(), session.idle_timeout / 3 or None)
            except asyncio.TimeoutError:
                session.keep_alive()
