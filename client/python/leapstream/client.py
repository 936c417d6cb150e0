"""The client for programs without asyncio: that of aio.py, in a thread of its own.

    with leapstream.Client("localhost:50051") as client:
        print(client.translate("Sound can be included in presentations.").text)
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Coroutine, Iterator, List, Mapping, Optional, TypeVar, Union

from . import aio
from .stream_types import BeamSearch, Event, Model, Policy, StreamOptions, Translation

T = TypeVar("T")


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="leapstream", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, too: what nobody waits for must not go on.
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Client:
    """Connections to the replicas of a service: "a:50051,b:50051". Any number of streams and threads may use it."""

    def __init__(self, address: str = "localhost:50051", *, tls: bool = False, ca: Optional[bytes] = None,
                 certificate: Optional[bytes] = None, key: Optional[bytes] = None, token: Optional[str] = None) -> None:
        """`ca`, `certificate` and `key` are the content of PEM files. ValueError: the settings do not fit together."""
        self._loop = _Loop()

        async def open_client() -> aio.Client:
            return aio.Client(address, tls=tls, ca=ca, certificate=certificate, key=key, token=token)

        try:
            self._client = self._loop.run(open_client())
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._loop.run(self._client.close())
        self._loop.close()

    def stream(self, *, model: str = "", source_language: str = "", target_language: str = "",
               policy: Optional[Policy] = None, sentences: bool = False, glossary: Optional[Mapping[str, str]] = None,
               keep_markup: bool = False, options: Optional[StreamOptions] = None) -> Stream:
        """Opens a session. `options` has all settings, and then stands for the others."""

        async def open_stream() -> aio.Stream:
            return self._client.stream(model=model, source_language=source_language, target_language=target_language,
                                       policy=policy, sentences=sentences, glossary=glossary, keep_markup=keep_markup,
                                       options=options)

        return Stream(self._loop, self._loop.run(open_stream()))

    def translate(self, text: str, *, model: str = "", source_language: str = "", target_language: str = "",
                  policy: Optional[Policy] = None, sentences: bool = True, beam_search: Optional[BeamSearch] = None,
                  glossary: Optional[Mapping[str, str]] = None, keep_markup: bool = False,
                  retry_timeout: float = 60) -> Translation:
        """Translates a whole text; a line stays a line. A call that breaks is made again: it changes nothing."""
        return self._loop.run(self._client.translate(
            text, model=model, source_language=source_language, target_language=target_language, policy=policy,
            sentences=sentences, beam_search=beam_search, glossary=glossary, keep_markup=keep_markup,
            retry_timeout=retry_timeout))

    def models(self, *, retry_timeout: float = 10) -> List[Model]:
        return self._loop.run(self._client.models(retry_timeout=retry_timeout))


class Stream:
    """A session: aio.Stream for other threads. One may send while another one iterates."""

    def __init__(self, loop: _Loop, stream: aio.Stream) -> None:
        self._loop, self._stream = loop, stream

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def send(self, content: Union[str, bytes]) -> None:
        """Appends text, or samples of audio, to the open segment. Waits while much waits to be sent."""

        async def send() -> None:
            self._stream.send(content)
            await self._stream.drain()

        self._loop.run(send())

    def end_segment(self) -> None:
        """The next source opens a new segment."""

        async def end_segment() -> None:
            self._stream.end_segment()

        self._loop.run(end_segment())

    def close(self) -> None:
        """No more source comes. What was sent is still translated."""

        async def close() -> None:
            self._stream.close()

        self._loop.run(close())

    def cancel(self) -> None:
        """Ends the stream where it is."""
        self._loop.run(self._stream.cancel())

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self._loop.run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Event:
        return await self._stream.__anext__()
