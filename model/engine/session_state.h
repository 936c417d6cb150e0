#ifndef LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
#define LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/attention.h"
#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

// The state of one session of a Transformer. The encoder and the decoder change it directly.
class TransformerState : public SessionState {
 public:
  using AttentionStates = std::vector<std::unique_ptr<AttentionState>>;

  void Reset() override;
  void SetWaitK(int k, int write_stride) override;
  void Commit(TokenId token) override;
  void Repeat() override;
  absl::StatusOr<std::unique_ptr<SessionState>> Clone() const override;
  absl::Status CopyFrom(const SessionState& other) override;
  void SetStart(TokenId token) override;
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
    int target_written = 0;
    int steps = 0;  // The number of target tokens committed and steps repeated.
    bool source_finished = false;
    TokenId last = kEndOfSentence;  // The token that the next step feeds.
    bool committed = true;          // No step is open: nothing provisional is in the states.
    bool wanted_source = false;     // The decision of the open step was to want more source.
  };

  // The source of speech, not shared with others.
  SpeechFrontEnd::State& OwnSpeech();
  void CopyRestFrom(const TransformerState& other);
  void CountSource(absl::Span<const TokenId> tokens);
  // Opens a step. Forgets the one before it if that was not committed.
  void OpenStep();

  // One state for each distinct layer. A bidirectional encoder keeps nothing between calls and has
  // one state for all layers.
  AttentionStates encoder_;
  AttentionStates self_;
  AttentionStates cross_;
  std::vector<TokenId> prefix_;                    // The source of a bidirectional text encoder.
  // The source of speech; else null. Copies share it until one of them gets more.
  std::shared_ptr<SpeechFrontEnd::State> speech_;
  Progress progress_;
  int k_ = 0;  // The k of the session's wait-k policy; 0: it has another policy.
  int write_stride_ = 1;
  TokenId start_ = kEndOfSentence;  // The token that the first step feeds.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
