#ifndef LEAPSTREAM_STREAMING_SESSION_H_
#define LEAPSTREAM_STREAMING_SESSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "metrics/lagging.h"
#include "model/api/speech.h"
#include "model/api/translator.h"
#include "streaming/policy.h"

namespace leapstream {

// What happens when the best next token is </s> although the source's </s> has not been read.
enum class EarlyEnd {
  kStop,      // The segment's translation ends there, as with fairseq's text agent.
  kSuppress,  // The best other token is written. No agent of fairseq does so.
  kReadOn,    // Nothing is written; one more source token is read and the step is decided again.
  // What fairseq's speech agent makes of it with --force-finish: nothing is written, but the step
  // counts for the policy, and its token is fed again (SessionState::Repeat()).
  kForceFinish,
};

// A place in the source of a session: so many chunks, and so much of the one after them: samples,
// bytes of text, pieces or token ids.
struct SourcePosition {
  int64_t chunks = 0;
  int64_t samples = 0;
  bool operator<(const SourcePosition& other) const {
    return chunks != other.chunks ? chunks < other.chunks : samples < other.samples;
  }
};

struct SessionOptions {
  Policy policy = WaitK();
  EarlyEnd early_end = EarlyEnd::kReadOn;
  // Text: where a segment's translation ends before its source does, the next segment begins with
  // the source that is left: after its limits, with kStop at an early </s>, and with kReadOn once
  // </s> has been the best next token for kEndsInARow READs in a row, and for a quarter of what had
  // been read before them. Until then, as at the end of a sentence whose translation is shorter, it
  // may be that there is nothing more to say.
  bool next_segments = false;
  int max_target_tokens = 0;  // Per segment, </s> not counted; 0: max_length_a * S + max_length_b.
  double max_length_a = 2;    // S: source tokens read so far, </s> included.
  int max_length_b = 100;
  // Per segment, </s> included; of speech, encoder states of 40 ms. The model's own limit also
  // holds.
  int max_source_tokens = 10000;
  // Per segment, once the source has been read to its end; 0: none. fairseq's speech agent writes
  // --max-len-after-finish-read and one more.
  int max_target_tokens_after_source = 0;
  int max_target_tokens_cap = 0;         // Per segment; holds over all of the above; 0: none.
  int64_t max_queued_bytes = 256 << 10;  // See Session::HasRoom().
  int sample_rate = kSpeechSampleRate;   // Of the audio that is pushed; models of speech.
};

// See SessionOptions::next_segments.
inline constexpr int kEndsInARow = 8;

struct TargetToken {
  TokenId id = 0;
  std::string piece;
  int source_tokens_read = 0;
  absl::Duration source_audio;  // Speech: what was read of it.
  float log_prob = 0;
  absl::Duration emit_offset;  // Since the session opened.
};

// One token was written. `text` is to be appended to the segment's text; it may be empty.
struct TargetDelta {
  int64_t segment = 0;  // From 1.
  std::string text;
  TargetToken token;
};

enum class FinishReason { kEndOfSentence, kMaxLength, kSourceLimit };

struct SegmentStats {
  int source_tokens = 0;        // </s> included.
  int target_tokens = 0;        // </s> not included.
  absl::Duration source_audio;  // Speech: all of it.
  // In tokens, </s> included on both sides, as the official agent's evaluation; of speech in ms.
  // |Y| is |D|.
  metrics::Lagging lagging;
  // The same of whole target words, a word being complete when white space or the end of the
  // segment follows: in source words, of speech in ms. Nothing if the source came as pieces or ids.
  std::optional<metrics::Lagging> words;
  // Of speech: what the delays are when the time is added in which the session could act but had
  // not yet. Text has no time of its own to add it to.
  std::optional<metrics::Lagging> computation_aware, words_computation_aware;
  absl::Duration first_token;  // From the segment's first source to its first target token.
  absl::Duration compute;      // In the model, this segment's share of batches not subtracted.
  absl::Duration queue;        // Able to act but waiting, for the step loop or other turns' layers.
};

struct SessionSummary {
  int64_t segments = 0;
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  SegmentStats totals;  // Of the lagging figures only AL and LAAL: means over segments.
  // Sums of SegmentCompleted::untranslated_source_tokens, and of source that was dropped without
  // being read: bytes of text, white space not counted, and of pieces, ids and audio.
  int64_t untranslated_source_tokens = 0;
  int64_t dropped_source_bytes = 0;
};

struct SegmentCompleted {
  int64_t segment = 0;
  std::string text;    // Equals the concatenated deltas.
  std::string unsent;  // What the end of the segment made complete; append it. Part of `text`.
  FinishReason reason = FinishReason::kEndOfSentence;
  SegmentStats stats;
  SessionSummary so_far;  // With this segment; its lagging figures are sums, not means yet.
  // Source tokens of it that are known not to have been translated: those that were read while </s>
  // was the best next token, up to the source's end, and those of a word that a limit cut, unless
  // the next segment begins with them.
  int untranslated_source_tokens = 0;
  // The source had not been read to its end when the translation ended, and what is left of it, if
  // anything, is dropped.
  bool source_dropped = false;
  // Where the source that is left begins, if the next segment begins with it. The next segment may
  // turn out to be empty.
  std::optional<SourcePosition> continues_at;
  int continues_after_tokens = 0;  // Of the word there, which was too long for one segment.
};

inline constexpr char kCommittedTargetPayload[] = "leapstream/committed_target";

// Where a session goes on that another stream, maybe of another server, began. Its policy and model
// must be those of the first one; the source of the open segment is pushed again from its start. If
// that gives less target than was committed, or the policy would not have written it when it is
// said to have been, the session ends with INVALID_ARGUMENT and kCommittedTargetPayload.
struct ResumeFrom {
  int64_t segment = 1;             // The number of the open segment.
  std::vector<TokenId> committed;  // Its target so far: taken as it is, and not put out again.
  SessionSummary before;           // SegmentCompleted::so_far of the last one that was completed.
  // TargetToken::source_tokens_read of each of `committed`: then the model takes them at once, if
  // it is one that can (Translator::can_replay()) and EarlyEnd is not kForceFinish. None: each is
  // decided again.
  std::vector<int> source_read;
  int skip_tokens = 0;  // Of the first word: SegmentCompleted::continues_after_tokens.
};

using SessionEvent = std::variant<TargetDelta, SegmentCompleted, SessionSummary>;

// Receives a session's output, on the step thread: must not block and must not call the model.
// Calls do not overlap. OnFinished() comes exactly once, last: OK after a SessionSummary, else why
// the session ended. The sink must live until then.
class SessionSink {
 public:
  virtual ~SessionSink() = default;
  virtual void OnEvent(SessionEvent event) = 0;
  virtual void OnRoom() {}  // Once after each HasRoom() that was false, unless the session ends.
  virtual void OnFinished(absl::Status status) = 0;
};

// Source in one of the forms of the wire, the last for models of speech, the others for all others;
// a segment has one of them, or its session ends with INVALID_ARGUMENT. Text may be cut anywhere.
using AudioSamples =
    std::vector<float>;  // 16-bit integers as numbers, SessionOptions::sample_rate.
using SourceInput =
    std::variant<std::string, std::vector<std::string>, std::vector<TokenId>, AudioSamples>;

// One stream of segments, seen from its client's side. Made by Scheduler::Open(). Thread-safe; no
// call blocks or computes. After OnFinished() every call is ignored.
class Session {
 public:
  virtual ~Session() = default;
  // Appended to the open segment; opens one if none is. `at`: where it begins; continues_at is
  // counted from there.
  virtual void Push(SourceInput source, SourcePosition at) = 0;
  void Push(SourceInput source) { Push(std::move(source), SourcePosition()); }
  virtual void EndSegment() = 0;  // Completes the open segment; an empty one if none is open.
  virtual void EndSource() = 0;  // Half-close: completes the open segment, if any, and the session.
  virtual void Cancel(absl::Status why) = 0;  // Ends within one step; OnFinished(why).
  // Ends with `why` when the open segment is complete, at once if none is open. A session whose
  // source ends with that segment completes as if nothing had been said.
  virtual void EndAfterSegment(absl::Status why) = 0;

  // Whether more may be pushed: less than max_queued_bytes, and not many inputs, wait to be
  // translated. If not, OnRoom() tells when half of it is gone.
  virtual bool HasRoom() = 0;
  // No further step is made, and so little put out, until Release(): for a sink that is full.
  virtual void Hold() = 0;
  virtual void Release() = 0;
  virtual const SessionOptions& options() const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SESSION_H_
