"""A session that survives its server, without any input or output: docs/protocol.md explains each step.

The caller makes the calls. It gives begin() each time, sends what is in `outgoing`, hands each answer to receive(), and
asks broken() what to do when a call ends without a summary.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Deque, Dict, List, Optional, Tuple, Union

from . import glossary, wire
from .errors import LeapstreamError
from .stream_types import (Delta, Event, GoingAway, Interrupted, Lagging, Resumed, SegmentCompleted, Started, StreamOptions,
                    Summary, Token, Usage)

MAX_FUTILE = 5  # Calls in a row that somebody answered and that brought nothing: the session itself may break them.
LONG_CALL = 10.0  # Seconds; a call of this length was of use.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # Seconds between two calls, once all servers were asked.
CHUNK_LENGTH, CHUNK_BYTES = 8000, 32000  # Characters of a message, and whole samples of it: below any server's limit.
BUSY = ("QUOTA_EXCEEDED", "SERVER_FULL")  # A server that has not noticed that it lost us still counts the session.


@dataclass
class _Segment:
    chunks: Deque[Tuple[int, Union[str, bytes]]] = field(default_factory=deque)
    ended: bool = False
    complete: bool = False
    dropped: bool = False  # Complete in an earlier call, so that this one is told nothing of it.


class SourceLog:
    """The source of a session from its first incomplete segment on, which has to be sent again when a call breaks."""

    def __init__(self) -> None:
        self._segments: Deque[_Segment] = deque()  # All but the last one are ended.
        self._sequence = 0

    def _open(self) -> _Segment:
        if not self._segments or self._segments[-1].ended:
            self._segments.append(_Segment())
        return self._segments[-1]

    def append(self, content: Union[str, bytes]) -> Optional[Any]:
        """Returns the request to send, if there is one."""
        segment = self._open()
        if segment.dropped:
            return None
        self._sequence += 1
        segment.chunks.append((self._sequence, content))
        return _chunk(self._sequence, content)

    def end_segment(self) -> Optional[Any]:
        segment = self._open()
        segment.ended = True
        self._forget()
        return None if segment.dropped else wire.StreamTranslateRequest(end_segment={})

    def _incomplete(self) -> Optional[_Segment]:
        return next((segment for segment in self._segments if not segment.complete), None)

    def complete(self) -> None:
        """The translation of the first incomplete segment is complete."""
        segment = self._incomplete()
        if segment is not None:
            segment.complete = True
            segment.chunks.clear()
            self._forget()

    def consume_open(self, sequence: int) -> None:
        """The first incomplete segment's chunks up to this one are needed no longer, and it stays incomplete."""
        segment = self._incomplete()
        while segment is not None and segment.chunks and segment.chunks[0][0] <= sequence:
            segment.chunks.popleft()

    def consume(self, sequence: int) -> None:
        """Where pauses end segments: the chunks up to this one are needed no longer, whatever their segment."""
        for segment in self._segments:
            while segment.chunks and segment.chunks[0][0] <= sequence:
                segment.chunks.popleft()
            if segment.chunks or not segment.ended:
                break
            segment.complete = True
        self._forget()

    def _forget(self) -> None:
        while self._segments and self._segments[0].complete and self._segments[0].ended:
            self._segments.popleft()

    def rewind(self) -> Tuple[int, List[Any]]:
        """Begins another call. Returns the number of its first chunk, and all requests that are due."""
        first, requests = self._sequence + 1, []
        for segment in self._segments:
            if segment.complete:
                segment.dropped = True
                continue
            for sequence, content in segment.chunks:
                first = min(first, sequence)
                requests.append(_chunk(sequence, content))
            if segment.ended:
                requests.append(wire.StreamTranslateRequest(end_segment={}))
        return first, requests


def _chunk(sequence: int, content: Union[str, bytes]) -> Any:
    kind = "text" if isinstance(content, str) else "audio"
    return wire.StreamTranslateRequest(source={"sequence": sequence, kind: content})


class Session:
    """See the module. Times are given in seconds, by a clock that never goes back."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._config = _config(options)
        self._source = SourceLog()
        self.outgoing: Deque[Any] = deque()  # The requests that the present call has still to send.
        self.unsent_bytes = 0
        self.closed = False  # No more source comes: once `outgoing` is empty, half-close.
        self._id = ""
        self._segment = 1
        self._text = ""
        self._ids: List[int] = []
        self._reads: List[int] = []
        self._token, self._next_token, self._next_consumed = b"", b"", 0
        self._rest: Optional[Delta] = None  # Only the end of its segment makes it certain.
        self.idle_timeout = 0.0  # The server's; 0: not known yet.
        self._began = 0.0
        self._answered = self._progressed = self._moves = False
        self._lost_at: Optional[float] = None
        self._told = False
        self._failures = self._futile = 0

    def append(self, content: Union[str, bytes]) -> None:
        if self.closed:
            raise ValueError("the source is closed")
        length = CHUNK_LENGTH if isinstance(content, str) else CHUNK_BYTES
        for at in range(0, len(content), length):
            self._send(self._source.append(content[at:at + length]))

    def end_segment(self) -> None:
        if self.closed:
            raise ValueError("the source is closed")
        self._send(self._source.end_segment())

    def keep_alive(self) -> None:
        self._send(wire.StreamTranslateRequest(keep_alive={}))

    def close(self) -> None:
        self.closed = True

    def _send(self, request: Optional[Any]) -> None:
        if request is not None:
            self.outgoing.append(request)
            self.unsent_bytes += request.ByteSize()

    def next_request(self) -> Any:
        request = self.outgoing.popleft()
        self.unsent_bytes -= request.ByteSize()
        return request

    def begin(self, now: float) -> None:
        """Another call begins: `outgoing` has all that it is to be told."""
        self._began, self._answered, self._progressed, self._moves = now, False, False, False
        config = wire.SessionConfig()
        config.CopyFrom(self._config)
        first, requests = self._source.rewind()
        if self._token:
            config.resume.session_id = self._id
            config.resume.resume_token = self._token
            config.resume.next_source_sequence = first
            config.resume.committed_target.ids.extend(self._ids)
            config.resume.committed_source_tokens_read.extend(self._reads)
        self.outgoing = deque([wire.StreamTranslateRequest(config=config), *requests])
        self.unsent_bytes = sum(request.ByteSize() for request in self.outgoing)

    def receive(self, response: Any, now: float) -> List[Event]:
        """Takes an answer and returns the events that it means. After a Summary the session is over."""
        self._answered = True
        kind = response.WhichOneof("event")
        if kind == "started":
            return self._receive_started(response.started, now)
        if kind == "resume_point":
            self._receive_point(response.resume_point)
        elif kind == "target":
            self._progressed = True
            return self._receive_target(response.target)
        elif kind == "segment_completed":
            self._progressed = True
            return self._receive_completed(response.segment_completed)
        elif kind == "going_away":
            self._moves = True
            return [GoingAway(wire.seconds(response.going_away.remaining_duration),
                              wire.enum_name("leapstream.v1.GoingAwayReason", response.going_away.reason))]
        elif kind == "summary":
            summary = response.summary
            return [Summary(summary.segments, summary.source_tokens, summary.target_tokens,
                            summary.untranslated_source_tokens, summary.dropped_source_bytes,
                            Usage(summary.usage.source_characters, summary.usage.source_audio_ms,
                                  summary.usage.target_tokens))]
        return []

    def _receive_started(self, started: Any, now: float) -> List[Event]:
        applied = started.effective_config
        self.idle_timeout = wire.seconds(started.limits.idle_timeout)
        lost_at, first = self._lost_at, not self._id
        self._lost_at, self._told, self._failures = None, False, 0
        self._id = started.session_id
        if not first:
            return [] if lost_at is None else [Resumed(now - lost_at)]
        asked = self._config
        self._config = wire.SessionConfig.FromString(applied.SerializeToString())  # Other servers' defaults may differ.
        self._config.output.CopyFrom(asked.output)
        return [Started(started.session_id, started.model, started.model_checksum, applied.source_language_code,
                        applied.target_language_code)]

    @property
    def _by_pauses(self) -> bool:
        return wire.seconds(self._config.pause_detection.min_duration) > 0

    def _receive_point(self, point: Any) -> None:
        if point.segment == self._segment:
            self._token = point.resume_token
            if self._by_pauses:
                self._source.consume(point.consumed_source_sequence)
        elif point.segment == self._segment + 1:  # Of use once the open segment has ended.
            self._next_token, self._next_consumed = point.resume_token, point.consumed_source_sequence

    def _receive_target(self, target: Any) -> List[Event]:
        tokens = tuple(Token(token.id, token.piece, token.source_tokens_read, token.log_prob, token.source_audio_ms)
                       for token in target.tokens)
        delta = Delta(target.segment, target.text, target.source_tokens_read, target.source_audio_ms,
                      tokens if self._options.token_details else ())
        if not tokens and self._token:
            self._rest = delta
            return []
        self._ids += [token.id for token in tokens]
        self._reads += [token.source_tokens_read for token in tokens]
        self._text += delta.text
        return [delta] if delta.text or delta.tokens else []

    def _receive_completed(self, completed: Any) -> List[Event]:
        events: List[Event] = []
        if self._rest is not None:
            self._text += self._rest.text
            events.append(self._rest)
        if completed.segment != self._segment or completed.text != self._text:
            raise LeapstreamError("INTERNAL", f"the server ended segment {completed.segment} with another text than "
                                  f"that of its deltas; segment {self._segment} was open")
        if completed.continues:
            self._source.consume_open(self._next_consumed)
        elif not self._by_pauses:
            self._source.complete()
        elif self._next_token:
            self._source.consume(self._next_consumed)
        self._segment += 1
        self._text, self._ids, self._reads, self._rest = "", [], [], None
        self._token, self._next_token = self._next_token, b""
        stats = completed.stats
        events.append(SegmentCompleted(
            completed.segment, completed.text,
            wire.enum_name("leapstream.v1.FinishReason", completed.finish_reason), completed.continues,
            completed.source_dropped, completed.untranslated_source_tokens,
            Lagging(stats.average_lagging, stats.length_adaptive_average_lagging, stats.average_proportion,
                    stats.differentiable_average_lagging, stats.source_tokens, stats.target_tokens)))
        return events

    def broken(self, error: LeapstreamError, servers: int, now: float) -> Tuple[float, List[Event]]:
        """The call ended without a summary. Returns the pause before the next one, and events. Raises `error` if there
        should be no next one. `servers`: how many there are to ask."""
        self._rest, self._next_token = None, b""
        if self._lost_at is None:
            self._lost_at = now
        quota = error.retry_delay if error.reason == "QUOTA_EXCEEDED" else 0.0  # It is there again after that time.
        passing = (not error.reason or error.code == "UNAVAILABLE" or error.reason == "RESUME_MODEL_MISMATCH"
                   or (error.reason in BUSY and self._id) or quota > 0)
        resumable = bool(self._token) or (self._segment == 1 and not self._text and not self._ids)
        somebody = self._answered or (not error.reason and error.code != "UNAVAILABLE")
        if self._progressed or (self._answered and now - self._began > LONG_CALL) or self._moves:
            self._futile = 0
        else:
            self._futile += somebody
        if (not passing or not resumable or self._futile >= MAX_FUTILE
                or now + (quota if servers == 1 else 0.0) - self._lost_at >= self._options.resume_timeout):
            raise error
        events: List[Event] = []
        if self._id and not self._told and not self._moves:
            self._told = True
            events.append(Interrupted(error))
        self._failures += 1
        if self._failures < servers or (self._moves and self._failures == 1):
            return 0.0, events
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failures, 10))
        return (quota + pause if quota else max(pause, error.retry_delay) * random.uniform(1, 1.5)), events


def _config(options: StreamOptions) -> Any:
    fields: Dict[str, Any] = {
        "model": options.model,
        "source_language_code": options.source_language,
        "target_language_code": options.target_language,
        "policy": dict(options.policy),
        "output": {"token_details": options.token_details or options.resume_timeout > 0,
                   "log_probs": options.log_probs, "segment_stats": True},
        "sample_rate_hertz": options.sample_rate,
    }
    if options.input_format:
        fields["input_format"] = options.input_format
    if options.sentences:
        fields["text_segmentation"] = "TEXT_SEGMENTATION_SENTENCES"
    if options.glossary is not None:
        fields["glossary"] = glossary.message(options.glossary)
    if options.keep_markup:
        fields["keep_markup"] = True
    if options.pause is not None:
        fields["pause_detection"] = {"min_duration": wire.duration(options.pause),
                                     "threshold_db": options.pause_threshold_db}
    if options.idle_timeout > 0:
        fields["idle_timeout"] = wire.duration(options.idle_timeout)
    return wire.SessionConfig(**fields)
