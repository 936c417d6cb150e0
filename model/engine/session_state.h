#ifndef LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
#define LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/frame.h"
#include "model/api/translator.h"
#include "model/engine/attention/attention.h"
#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

// The state of one session of a Transformer. The encoder and the decoder change it directly.
class TransformerState : public SessionState {
 public:
  using AttentionStates = std::vector<std::unique_ptr<AttentionState>>;

  void Reset() override;
  void SetFrame(const Frame& frame) override;
  void SetWaitK(int k, int write_stride) override;
  void Commit(TokenId token) override;
  void Repeat() override;
  absl::StatusOr<std::unique_ptr<SessionState>> Clone() const override;
  int source_read() const override { return progress_.source_read; }
  int target_written() const override { return progress_.target_written; }
  int64_t bytes() const override;

 private:
  friend class Transformer;
  friend class TransformerEncoder;
  friend class TransformerDecoder;

  // The state of a segment but for the past of its attention.
  struct Progress {
    bool prefix_is_encoded = true;
    int source_read = 0;
    int source_rows = 0;  // The tokens of source_read and the frame's: one row of the encoder each.
    int target_written = 0;
    int steps = 0;  // The number of target tokens committed and steps repeated.
    bool source_finished = false;
    bool begun = false;          // The frame's start and forced tokens are part of the past.
    bool committed = true;       // No step is open: nothing provisional is in the states.
    bool wanted_source = false;  // The decision of the open step was to want more source.
  };

  // The tokens to read before the first source token. Empty once something was read.
  absl::Span<const TokenId> Lead() const {
    if (progress_.source_rows > 0) return {};
    return frame_.source_lead;
  }
  void CountSource(absl::Span<const TokenId> tokens);  // Counts `tokens`, and Lead() before them.
  // source_read() after these tokens as well.
  int SourceReadAfter(absl::Span<const TokenId> tokens) const;
  // The encoder's rows that make up the first `source_read` source tokens. REQUIRES: they were read.
  int RowsOf(int source_read) const;

  // The target tokens that come before the one that the next step feeds and are not part of the
  // past: all but the last of `start` and `forced`, or none. The first has position 0.
  int first_rows() const {
    return progress_.begun ? 0 : static_cast<int>(frame_.forced.size());
  }
  TokenId FirstRow(int i) const { return i == 0 ? frame_.start : frame_.forced[i - 1]; }
  // The token that the next step feeds, and its position.
  TokenId Fed() const {
    return progress_.target_written > 0 ? last_ : FirstRow(static_cast<int>(frame_.forced.size()));
  }
  int FedPosition() const {
    return progress_.target_written + static_cast<int>(frame_.forced.size());
  }
  // Opens a step. Forgets the one before it if that was not committed.
  void OpenStep();

  // One state for each distinct layer. A bidirectional encoder keeps nothing between calls and has
  // one state for all layers.
  AttentionStates encoder_;
  AttentionStates self_;
  AttentionStates cross_;
  std::vector<TokenId> prefix_;  // The source of a bidirectional text encoder, with its frame.
  std::unique_ptr<SpeechFrontEnd::State> speech_;  // The source of speech; else null.
  Progress progress_;
  TokenId last_ = 0;  // The target token that was committed last, if there is one.
  Frame frame_;
  int k_ = 0;  // The k of the session's wait-k policy; 0: it has another policy.
  int write_stride_ = 1;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
