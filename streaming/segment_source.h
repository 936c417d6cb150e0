#ifndef LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_
#define LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "metrics/word_timing.h"
#include "model/api/model.h"
#include "streaming/policy.h"
#include "streaming/session.h"
#include "streaming/term_finder.h"

namespace leapstream {

// The source that a segment's translation left, and its fate.
struct SourceLeft {
  bool at_limit = false;                       // The segment's limit cut its source.
  int untranslated_tokens = 0;                 // See SegmentCompleted::untranslated_source_tokens.
  bool dropped = false;                        // See SegmentCompleted::source_dropped.
  std::optional<SourcePosition> continues_at;  // See SegmentCompleted::continues_at.
  bool continues_in_text = false;              // See SegmentCompleted::continues_in_text.
  int continues_after_tokens = 0;              // See SegmentCompleted::continues_after_tokens.
  int64_t dropped_bytes = 0;  // See SessionSummary::dropped_source_bytes.
};

// The source of a session's segments, one after the other. Takes source in the forms of the wire,
// and returns the rows that each READ gives the model. Only here do text and speech differ within a
// session. Work is counted in units of budget::kWorkPerTurn; the last piece of work may be larger
// than the work left. Used by the step thread only; not thread-safe.
class SegmentSource {
 public:
  // Makes a source for `model`, which must outlive it. `frame` is that of options.languages.
  // `from`: the place at which the first segment begins.
  // INVALID_ARGUMENT: the sample rate is out of range. RESOURCE_EXHAUSTED: there is no memory for
  // resampling.
  static absl::StatusOr<std::unique_ptr<SegmentSource>> Create(const SessionOptions& options,
                                                               const Model& model,
                                                               const Frame& frame,
                                                               const ResumeFrom& from);
  virtual ~SegmentSource() = default;

  // Begins a segment without source, or with the source that the segment before it left.
  // OpenWithRest() REQUIRES that Leave()'s result has continues_at.
  virtual void Open() = 0;
  virtual void OpenWithRest() {}

  // Takes more source, which begins at `at`. INVALID_ARGUMENT: it is not of the segment's form, or
  // has a token that no source may have. REQUIRES: neither closed() nor cut().
  virtual absl::Status Append(SourceInput source, SourcePosition at, int64_t* work) = 0;
  // Ends the segment's source. REQUIRES: a segment is open.
  virtual void Close() = 0;

  enum class Next {
    kRead,   // One more READ is due.
    kWaits,  // The next READ needs more source, or the source's end.
    kWork,   // The turn's work is used up. The caller must ask again in the next turn.
    kNone,   // No READ is left.
  };
  // Makes one more READ due, if possible. INVALID_ARGUMENT: the source is not UTF-8, or has a piece
  // that no source may have.
  virtual absl::StatusOr<Next> NextRead(int64_t* work) = 0;
  virtual int due_reads() const = 0;
  // The source of the READs that are due, for `state`. The rows point into this object, and are
  // valid until ForgetReads().
  virtual SourceRows due_rows(SessionState* state) const = 0;
  // Must be called when the model has made the READs that were due, or does not need them.
  virtual void ForgetReads() = 0;

  // The results of the next functions are those after all READs that are due.

  // The source's part of a policy's Progress.
  virtual Progress progress() const = 0;
  // Whether the source is over and nothing of it can be translated.
  virtual bool is_empty() const = 0;
  // The rows that an encoder which encodes all source anew has to encode at the next decision; and
  // the cost of the front end for the READs that are due, as a number of such rows.
  virtual int64_t encoder_rows() const = 0;
  virtual int64_t front_rows() const { return 0; }

  // SessionState::source_read() in the unit of the lagging figures: see SegmentMeter.
  virtual double Delay(int source_read) const = 0;
  // The length of the speech that has been made due; zero for text.
  virtual absl::Duration audio_given() const { return absl::ZeroDuration(); }
  // The place in the session's audio at which the segment begins; zero for text, and as long as the
  // segment has no audio.
  virtual absl::Duration audio_begin() const { return absl::ZeroDuration(); }
  virtual const metrics::SourceWordEnds* words() const { return nullptr; }  // See SourceFigures.

  // The terms of SessionOptions::glossary, and the mark-up, that were found in what was made due,
  // since the last call.
  virtual std::vector<FoundTerm> TakeTerms() { return {}; }

  // Notes that the translation may have ended after `source_read` source tokens, since </s> is the
  // best next token. Later calls have no effect until GoesOn().
  void MayHaveEnded(int source_read) {
    if (!end_.has_value()) end_ = source_read;
  }
  void GoesOn() { end_.reset(); }  // Notes that the translation has not ended.
  // The source tokens after which the translation may have ended.
  std::optional<int> end() const { return end_; }

  // Must be called when the translation is complete, with `source_read` source tokens. The source
  // that is left stays for OpenWithRest() if the result has continues_at, otherwise it is dropped.
  virtual SourceLeft Leave(int source_read) = 0;

  bool closed() const { return closed_; }      // Close() was called.
  bool finished() const { return finished_; }  // The source's end is due or read.
  bool cut() const { return cut_; }            // A limit was reached: further source is dropped.

 protected:
  // The error for source of another kind than the model takes. `takes`: the kind that it takes.
  static absl::Status WrongKind(const ModelInfo& model, const char* takes);
  void OpenBase(bool closed) {
    closed_ = closed;
    finished_ = cut_ = false;
    end_.reset();
  }
  // The number of tokens, of the first `read` ones, that were read after the translation's end.
  int ReadAfterEnd(int read) const { return end_.has_value() && read > *end_ ? read - *end_ : 0; }

  bool closed_ = false;
  bool finished_ = false;
  bool cut_ = false;

 private:
  std::optional<int> end_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_
