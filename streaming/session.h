#ifndef LEAPSTREAM_STREAMING_SESSION_H_
#define LEAPSTREAM_STREAMING_SESSION_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "metrics/lagging.h"
#include "model/api/languages.h"
#include "model/api/speech.h"
#include "model/api/translator.h"
#include "streaming/beam_search.h"
#include "streaming/policy.h"

namespace leapstream {

class Glossary;  // See streaming/glossary.h.

// The ways to treat an early </s>: it is the best next token, but the source's </s> has not been
// read.
enum class EarlyEnd {
  kStop,      // The segment's translation ends there, as with fairseq's text agent.
  kSuppress,  // The best other token is written. No agent of fairseq does so.
  kReadOn,    // Nothing is written; one more source token is read and the step is decided again.
  // Nothing is written, but the step counts for the policy, and its token is fed again
  // (SessionState::Repeat()), as by fairseq's speech agent with --force-finish.
  kForceFinish,
};

// The past that a bidirectional encoder's decoder sees at a step: the rows of the committed target.
enum class Past {
  kDefault,    // The better one for the policy: see docs/policies.md.
  kFrozen,     // Each row stays as it was computed, with the source that had been read then.
  kRefreshed,  // All rows are computed anew whenever source has been read.
};

// A place in the source of a session: after so many chunks, and so many samples, bytes of text,
// pieces or token ids of the chunk after them.
struct SourcePosition {
  int64_t chunks = 0;
  int64_t samples = 0;
  int64_t audio = 0;  // Of audio: the number of all samples before the place.
  bool operator<(const SourcePosition& other) const {
    return chunks != other.chunks ? chunks < other.chunks : samples < other.samples;
  }
};

struct SessionOptions {
  LanguagePair languages;  // By the model's own codes. Empty: see ModelInfo::source_language.
  Policy policy = WaitK();
  EarlyEnd early_end = EarlyEnd::kReadOn;
  // For text: if a segment's translation ends before its source does, the next segment begins with
  // the source that is left. A translation ends at a limit; with kStop at an early </s>; with
  // kReadOn once </s> has been the best next token for kEndsInARow READs in a row, and for a
  // quarter as many as were made before them. (With fewer READs the translation may only be shorter
  // than its source.)
  bool next_segments = false;
  // The most target tokens of a segment, </s> not counted. 0: max_length_a * S + max_length_b, with
  // S the number of source tokens read so far, </s> included.
  int max_target_tokens = 0;
  double max_length_a = 2;
  int max_length_b = 100;
  // The most source tokens of a segment, </s> included; for speech, encoder states of 40 ms. The
  // model's own limit also holds.
  int max_source_tokens = 10000;
  // The most target tokens of a segment after its source has been read to its end; 0: no limit.
  // fairseq's speech agent writes --max-len-after-finish-read and one more.
  int max_target_tokens_after_source = 0;
  // The most target tokens of a segment, whatever the limits above allow; 0: no limit.
  int max_target_tokens_cap = 0;
  // Set: once a segment's source has been read to its end, the rest of its target, with Offline all
  // of it, is found by a beam search and put out at once. What was written before stays. Its limits
  // of length are those of BeamOptions, and max_target_tokens and max_target_tokens_cap.
  std::optional<BeamOptions> beam;
  // The source that is read between two looks at whether to write: so many tokens or so many words.
  // Both 0: one token for policies that decide of each token, one word for LocalAgreement, HoldN
  // and AlignAtt.
  int read_tokens = 0;
  int read_words = 0;
  // For speech: the audio of one READ in ms, whole encoder states. wait-k counts such READs. 0: the
  // model's own, SpeechInput::SamplesPerRead().
  int read_ms = 0;
  Past past = Past::kDefault;
  // Whether the encoder sees </s> behind a source that is not finished, as some offline models
  // expect. nullopt: the better one for the policy.
  std::optional<bool> prefix_end;
  // For text, and for policies that decide of one token at a time: the terms that the target must
  // have, and whether mark-up of the source stands in the target as it is. Null: no terms.
  std::shared_ptr<const Glossary> glossary;
  bool keep_markup = false;
  int64_t max_queued_bytes = 256 << 10;  // See Session::HasRoom().
  int sample_rate = kSpeechSampleRate;   // For models of speech: the rate of the audio pushed.
};

// See SessionOptions::next_segments.
inline constexpr int kEndsInARow = 8;

struct TargetToken {
  TokenId id = 0;
  std::string piece;
  int source_tokens_read = 0;
  absl::Duration source_audio;  // For speech: the length of the audio read.
  absl::Duration audio_offset;  // For speech: the end of that, from the session's first sample on.
  float log_prob = 0;
  absl::Duration emit_offset;  // The time since the session opened.
};

// One token was written. `text` is to be appended to the segment's text; it may be empty.
struct TargetDelta {
  int64_t segment = 0;  // The number of the segment, from 1.
  std::string text;
  TargetToken token;
};

enum class FinishReason { kEndOfSentence, kMaxLength, kSourceLimit };

struct SegmentStats {
  int source_tokens = 0;        // </s> included.
  int target_tokens = 0;        // </s> not included.
  absl::Duration source_audio;  // For speech: the length of all audio.
  // The lagging in tokens, </s> included on both sides, as in the evaluation of fairseq's agent;
  // for speech in ms. |Y| is |D|.
  metrics::Lagging lagging;
  // The lagging of whole target words, in source words; for speech in ms. A target word is complete
  // when white space or the end of the segment follows. nullopt if the source came as pieces or
  // ids.
  std::optional<metrics::Lagging> words;
  // For speech: the lagging of tokens and of words if the delays include the time in which the
  // session could act but had not yet. Text has no time of its own to which that could be added.
  std::optional<metrics::Lagging> computation_aware, words_computation_aware;
  absl::Duration
      first_token;         // The time from the segment's first source to its first target token.
  absl::Duration compute;  // The whole time in the model of the batches that it took part in.
  absl::Duration queue;    // The time it could act but waited for the step loop or other turns.
  StateCost cost;          // The rows that the model computed for it.
  int64_t decoder_steps = 0;  // The turns in which it had rows in the decoder.
};

struct SessionSummary {
  int64_t segments = 0;
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  SegmentStats totals;  // Sums. Of the lagging figures only AL and LAAL, as means over segments.
  // The sum of SegmentCompleted::untranslated_source_tokens; and the bytes of source that was
  // dropped without being read: of text without white space, of pieces, ids and audio.
  int64_t untranslated_source_tokens = 0;
  int64_t dropped_source_bytes = 0;
};

// One of the best translations that a beam search has found.
struct Hypothesis {
  std::string text;  // Of the whole segment.
  float score = 0;   // See BeamHypothesis.
};

struct SegmentCompleted {
  int64_t segment = 0;
  std::string text;    // The concatenated texts of the deltas, and `unsent`.
  std::string unsent;  // The text that the segment's end completed. It is to be appended.
  FinishReason reason = FinishReason::kEndOfSentence;
  SegmentStats stats;
  SessionSummary so_far;  // Includes this segment. Its lagging figures are sums, not means.
  // The number of the segment's source tokens that are known not to be translated: tokens that were
  // read while </s> was the best next token, up to the source's end, and tokens of a word that a
  // limit cut. Tokens with which the next segment begins do not count.
  int untranslated_source_tokens = 0;
  // The source had not been read to its end when the translation ended, and the rest of it, if
  // there is one, is dropped.
  bool source_dropped = false;
  // The segment's source goes on: its end has not been taken from the inbox yet.
  bool ended_early = false;
  // For speech: the places in the session's audio at which the segment begins, and to which it was
  // read. Both are zero if it got no audio.
  absl::Duration audio_begin, audio_end;
  // The beginning of the source that is left, if the next segment begins with it. The next segment
  // may turn out to be empty.
  std::optional<SourcePosition> continues_at;
  // Text: tokens of the text came before the word at continues_at. A tokenizer needs to know, since
  // a text's first word has no space before it.
  bool continues_in_text = false;
  // The tokens to skip of the word at continues_at, which was too long for one segment.
  int continues_after_tokens = 0;
  // With SessionOptions::beam: the best hypotheses, n_best at most. The first one is `text`.
  std::vector<Hypothesis> hypotheses;
};

inline constexpr char kCommittedTargetPayload[] = "leapstream/committed_target";

// The place at which a session goes on that another stream, maybe of another server, began. Policy
// and model must be those of the first stream. The source of the open segment is pushed again from
// its start. If that gives less target than `committed`, or the policy would not have written a
// committed token at its source_read, the session ends with INVALID_ARGUMENT and
// kCommittedTargetPayload.
struct ResumeFrom {
  int64_t segment = 1;             // The number of the open segment.
  std::vector<TokenId>
      committed;          // Its target so far, which is taken as it is and not put out again.
  SessionSummary before;  // SegmentCompleted::so_far of the last completed segment.
  // TargetToken::source_tokens_read of each of `committed`. With these the model takes the tokens
  // at once, if it can (Translator::can_replay()) and EarlyEnd is not kForceFinish. Empty: each
  // token is decided again.
  std::vector<int> source_read;
  // The open segment goes on within a text: SegmentCompleted::continues_in_text.
  bool in_text = false;
  // The tokens to skip of the first word: SegmentCompleted::continues_after_tokens.
  int skip_tokens = 0;
  // The session is open here already, and ends when this one has begun: for that moment the memory
  // of both states is there, whatever the StateBudget says.
  bool takes_place = false;
};

using SessionEvent = std::variant<TargetDelta, SegmentCompleted, SessionSummary>;

// Receives a session's output, on the step thread. A sink must not block and must not call the
// model. Calls do not overlap. OnFinished() is called exactly once and last: with OK after a
// SessionSummary, otherwise with the error that ended the session. The sink must live until then.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  virtual void OnEvent(SessionEvent event) = 0;
  // Called once after HasRoom() was false, when there is room again, unless the session ends.
  virtual void OnRoom() {}
  virtual void OnFinished(absl::Status status) = 0;
};

// Audio at SessionOptions::sample_rate. Samples have the values of 16-bit integers.
using AudioSamples = std::vector<float>;
// Source in one of the forms of the wire: text, pieces, token ids, or audio for models of speech. A
// segment has one form; with several, its session ends with INVALID_ARGUMENT. Text may be cut
// anywhere.
using SourceInput =
    std::variant<std::string, std::vector<std::string>, std::vector<TokenId>, AudioSamples>;

// One stream of segments, seen from its client's side. Made by Scheduler::Open(). Thread-safe; no
// call blocks or computes. After OnFinished() every call is ignored.
class Session {
 public:
  virtual ~Session() = default;
  // Appends source to the open segment, or opens one if none is open. `at`: the place at which the
  // source begins; continues_at, and for speech the offsets, are counted from there.
  virtual void Push(SourceInput source, SourcePosition at) = 0;
  void Push(SourceInput source) { Push(std::move(source), SourcePosition()); }
  enum class End {
    kUsual,
    // If the open segment is complete, but for the end of its source, an empty one is completed as
    // well: whoever waits for this end is told of it.
    kAnswered,
  };
  // Ends the open segment's source; completes an empty segment if none is open.
  virtual void EndSegment(End end) = 0;
  void EndSegment() { EndSegment(End::kUsual); }
  // Ends the session's source (half-close): completes the open segment, if any, and the session.
  virtual void EndSource() = 0;
  // Ends the session with `why` once all that was pushed is translated as far as it can be without
  // more source. Nothing may be pushed after that.
  virtual void StopSource(absl::Status why) = 0;
  // Ends the session within one step, with OnFinished(why).
  virtual void Cancel(absl::Status why) = 0;
  // Ends the session with `why` when the open segment is complete, or at once if none is open. If
  // the source ends with that segment, the call has no effect: the session completes.
  virtual void EndAfterSegment(absl::Status why) = 0;

  // Whether more may be pushed: less than max_queued_bytes bytes and budget::kQueuedInputs inputs
  // wait to be translated. If not, OnRoom() is called when half of the room is free again.
  virtual bool HasRoom() = 0;
  // Stops further steps, and so most output, until Release(). For a sink that is full.
  virtual void Hold() = 0;
  virtual void Release() = 0;
  virtual const SessionOptions& options() const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SESSION_H_
