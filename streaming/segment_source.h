#ifndef LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_
#define LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "metrics/word_timing.h"
#include "model/api/model.h"
#include "streaming/policy.h"
#include "streaming/session.h"

namespace leapstream {

// The source that a segment's translation left, and its fate.
struct SourceLeft {
  bool at_limit = false;       // The segment's limit cut its source.
  int untranslated_tokens = 0;  // See SegmentCompleted::untranslated_source_tokens,
  bool dropped = false;         // source_dropped
  std::optional<SourcePosition> continues_at;  // and continues_at.
  int continues_after_tokens = 0;
  int64_t dropped_bytes = 0;  // See SessionSummary::dropped_source_bytes.
};

// The source of a session's segments, one after the other: takes it in the forms of the wire, and
// gives the model what each READ reads. Text and speech differ here and nowhere else in a session.
// Work is counted in units of budget::kWorkPerTurn; the last piece of it may exceed what is left.
// Of the step thread; not thread-safe.
class SegmentSource {
 public:
  // For `model`, which must outlive it. `skip_tokens`: see ResumeFrom. INVALID_ARGUMENT: a sample
  // rate that cannot be had. RESOURCE_EXHAUSTED: no memory for resampling.
  static absl::StatusOr<std::unique_ptr<SegmentSource>> Create(const SessionOptions& options,
                                                               const Model& model,
                                                               int skip_tokens);
  virtual ~SegmentSource() = default;

  // A segment begins with no source, or with the source that the one before it left.
  // OpenWithRest() REQUIRES that Leave() said continues_at.
  virtual void Open() = 0;
  virtual void OpenWithRest() {}

  // More source has arrived, which begins at `at`. INVALID_ARGUMENT: it is not of the segment's
  // form, or has a token that no source has. REQUIRES: neither closed() nor cut().
  virtual absl::Status Append(SourceInput source, SourcePosition at, int64_t* work) = 0;
  // The end of the segment's source has arrived. REQUIRES: a segment is open.
  virtual void Close() = 0;

  enum class Next {
    kRead,   // One more READ is due.
    kWaits,  // The next READ needs more source, or its end.
    kWork,   // The turn's work is used up: ask again in the next one.
    kNone,   // No READ is left.
  };
  // Makes one more READ due, if it can. INVALID_ARGUMENT: the source is not UTF-8, or has a piece
  // that no source has.
  virtual absl::StatusOr<Next> NextRead(int64_t* work) = 0;
  virtual int due_reads() const = 0;
  // The source of the READs that are due, for `state`. Points into this until ForgetReads().
  virtual SourceRows due_rows(SessionState* state) const = 0;
  // No READ is due any more: the model has made them, or does not need them.
  virtual void ForgetReads() = 0;

  // The next questions are answered as if all READs that are due had been made.

  // The source's part of a policy's Progress.
  virtual Progress progress() const = 0;
  // The source is over, and nothing of it can be translated.
  virtual bool is_empty() const = 0;
  // Rows of an encoder that encodes all source anew when the next step is decided; and what is in
  // front of the encoder for the READs that are due, counted as such rows.
  virtual int64_t encoder_rows() const = 0;
  virtual int64_t front_rows() const { return 0; }

  // `source_read` (SessionState) in the unit of the lagging figures: see SegmentMeter.
  virtual double Delay(int source_read) const = 0;
  // How much speech has been made due; zero of text.
  virtual absl::Duration audio_given() const { return absl::ZeroDuration(); }
  virtual const metrics::SourceWordEnds* words() const { return nullptr; }  // See SourceFigures.

  // The translation may have ended when `source_read` source tokens had been read, since </s> is
  // the best next token. Later ends count only after GoesOn().
  void MayHaveEnded(int source_read) {
    if (!end_.has_value()) end_ = source_read;
  }
  void GoesOn() { end_.reset(); }  // The translation has not ended.
  std::optional<int> end() const { return end_; }  // Where it may have ended.

  // The translation is complete, with `source_read` source tokens. The source that is left stays
  // for OpenWithRest() if the result has continues_at, else it is dropped.
  virtual SourceLeft Leave(int source_read) = 0;

  bool closed() const { return closed_; }      // Close() was called.
  bool finished() const { return finished_; }  // The source's end is due or read.
  bool cut() const { return cut_; }            // A limit was reached: drop all further source.

 protected:
  // The error for source of another kind than `takes`, the kind that the model takes.
  static absl::Status WrongKind(const ModelInfo& model, const char* takes);
  void OpenBase(bool closed) {
    closed_ = closed;
    finished_ = cut_ = false;
    end_.reset();
  }
  // How many of `read` tokens were read after the translation's end.
  int ReadAfterEnd(int read) const { return end_.has_value() && read > *end_ ? read - *end_ : 0; }

  bool closed_ = false;
  bool finished_ = false;
  bool cut_ = false;

 private:
  std::optional<int> end_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_SOURCE_H_
