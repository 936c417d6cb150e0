"""Translates text while it is still arriving, with a leapstream server.

Client is for programs that block, aio.Client for asyncio. Streams survive the loss of their server: they go on at
another one, and nothing is lost. docs/python.md has examples; docs/protocol.md says what the settings mean.
"""

from . import aio
from .client import Client, Stream
from .errors import LeapstreamError
from .glossary import parse_glossary, read_glossary
from .stable_source import StableSource
from .stream_types import (AdaptiveWaitK, AlignAtt, BeamSearch, Delta, Event, GoingAway, HoldN, Hypothesis, Interrupted, Lagging,
                    LocalAgreement, Model, Policy, Resumed, SegmentCompleted, Started, StreamOptions, Summary, Token,
                    Translation, Usage, WaitK)

__all__ = [
    "AdaptiveWaitK", "AlignAtt", "BeamSearch", "Client", "Delta", "Event", "GoingAway", "HoldN", "Hypothesis",
    "Interrupted", "Lagging", "LeapstreamError", "LocalAgreement", "Model", "Policy", "Resumed", "SegmentCompleted",
    "StableSource", "Started", "Stream", "StreamOptions", "Summary", "Token", "Translation", "Usage", "WaitK",
    "aio", "parse_glossary", "read_glossary",
]
