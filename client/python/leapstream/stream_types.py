"""The settings of calls, and the events of a stream. The names and meanings are those of the proto."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Mapping, Optional, Tuple, TypedDict, Union

EarlyEnd = Literal["EARLY_END_STOP", "EARLY_END_SUPPRESS", "EARLY_END_READ_ON", "EARLY_END_FORCE_FINISH"]
InputFormat = Literal["INPUT_FORMAT_TEXT", "INPUT_FORMAT_PCM_S16LE", "INPUT_FORMAT_PCM_F32LE"]


class WaitK(TypedDict, total=False):
    k: int
    write_stride: int
    count_words: bool


class LocalAgreement(TypedDict, total=False):
    n: int
    max_lag: int


class HoldN(TypedDict, total=False):
    n: int
    max_lag: int


class AlignAtt(TypedDict, total=False):
    frames: int
    max_lag: int


class AdaptiveWaitK(TypedDict, total=False):
    min_k: int
    max_k: int
    min_k_threshold: float
    max_k_threshold: float


class Nothing(TypedDict):
    """A rule without numbers: {}."""


class BeamSearch(TypedDict, total=False):
    beam: int
    length_penalty: float
    max_length_a: float
    max_length_b: int
    min_length: int
    no_repeat_ngram: int
    n_best: int
    unnormalized: bool
    unknown_penalty: float
    temperature: float
    match_source_length: bool


class Policy(TypedDict, total=False):
    """DecodingPolicy of the proto: one of the first seven, and options. Example: {"wait_k": {"k": 3}}."""

    wait_k: WaitK
    offline: Nothing
    learned: Nothing
    local_agreement: LocalAgreement
    hold_n: HoldN
    align_att: AlignAtt
    adaptive_wait_k: AdaptiveWaitK
    max_target_tokens: int
    max_length_a: float
    max_length_b: int
    early_end: EarlyEnd
    max_target_tokens_after_source: int
    continue_in_next_segment: bool
    beam_search: BeamSearch
    read_tokens: int
    read_words: int
    past: Literal["PAST_FROZEN", "PAST_REFRESHED"]
    prefix_end: bool
    read_ms: int


@dataclass(frozen=True)
class Token:
    """A target token."""

    id: int
    piece: str
    source_tokens_read: int
    log_prob: float
    source_audio_ms: float


@dataclass(frozen=True)
class Started:
    """The first event: a server has taken the session."""

    session_id: str
    model: str
    model_checksum: str
    source_language_code: str
    target_language_code: str


@dataclass(frozen=True)
class Delta:
    """Text to append to that of the segment. It is never taken back."""

    segment: int
    text: str
    source_tokens_read: int
    source_audio_ms: float
    tokens: Tuple[Token, ...] = ()


@dataclass(frozen=True)
class Lagging:
    """How far a segment's translation lagged behind its source: in tokens, for speech in ms."""

    average_lagging: float
    length_adaptive_average_lagging: float
    average_proportion: float
    differentiable_average_lagging: float
    source_tokens: int
    target_tokens: int


@dataclass(frozen=True)
class SegmentCompleted:
    """A segment's whole text: that of its deltas."""

    segment: int
    text: str
    finish_reason: str
    continues: bool  # The rest of the source belongs to the next segment.
    source_dropped: bool
    untranslated_source_tokens: int
    lagging: Lagging


@dataclass(frozen=True)
class GoingAway:
    """The server gives the stream up soon; the stream then goes on at another one by itself."""

    remaining: float  # Seconds.
    reason: str


@dataclass(frozen=True)
class Interrupted:
    """The server is lost. Another one is being looked for."""

    error: Exception


@dataclass(frozen=True)
class Resumed:
    """The stream goes on at a server, and nothing was lost."""

    gap: float  # Seconds without a server.


@dataclass(frozen=True)
class Usage:
    """What the last call of a session counted for its principal. All are 0 if the server is older than 0.4."""

    source_characters: int = 0
    source_audio_ms: float = 0.0
    target_tokens: int = 0


@dataclass(frozen=True)
class Summary:
    """The last event."""

    segments: int
    source_tokens: int
    target_tokens: int
    untranslated_source_tokens: int
    dropped_source_bytes: int
    usage: Usage = Usage()


Event = Union[Started, Delta, SegmentCompleted, GoingAway, Interrupted, Resumed, Summary]


@dataclass(frozen=True)
class Hypothesis:
    text: str
    score: float  # See Hypothesis in the proto.


@dataclass(frozen=True)
class Translation:
    """The answer of translate()."""

    text: str  # A line for each line of the source.
    segments: Tuple[Tuple[Hypothesis, ...], ...] = ()  # With beam_search: the best of each segment, the best first.


@dataclass(frozen=True)
class Model:
    """A model that a server has."""

    name: str
    source_language_codes: Tuple[str, ...]  # Each goes with each of the targets.
    target_language_codes: Tuple[str, ...]
    speech: bool  # It takes audio, not text.
    policies: Tuple[str, ...]
    default_k: int
    compute_type: str
    checksum: str
    license: str
    origin: str
    state_type: str = ""  # "float16": LeaP's states in half the memory.


@dataclass(frozen=True)
class StreamOptions:
    """The settings of a stream. What is not set is left to the server and the model."""

    model: str = ""
    source_language: str = ""  # BCP-47, or a model's own code.
    target_language: str = ""
    policy: Policy = field(default_factory=lambda: Policy())
    sentences: bool = False  # Text: the server ends a segment where a sentence ends.
    input_format: Optional[InputFormat] = None
    sample_rate: int = 0  # Audio, in Hz; 0: 16000.
    pause: Optional[float] = None  # Audio: a pause of so many seconds ends a segment; 0: none does.
    pause_threshold_db: float = 0
    idle_timeout: float = 0  # Seconds.
    token_details: bool = False  # Fills Delta.tokens.
    log_probs: bool = False
    resume_timeout: float = 60  # Seconds to look for a server in, when one is lost.
    # Text: the target of each source term; "": the term is not translated. None: the server's own glossary holds.
    glossary: Optional[Mapping[str, str]] = None
    keep_markup: bool = False  # Text: tags, placeholders, addresses and numbers stand in the target as they are.
