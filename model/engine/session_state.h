#ifndef LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
#define LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/frame.h"
#include "model/api/translator.h"
#include "model/engine/attention/attention.h"
#include "model/engine/speech/speech_front_end.h"

namespace leapstream {

struct SourceBatch;

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
  absl::Status CopyFrom(const SessionState& other) override;
  void LeaveForced() override;
  void ShowAttention() override { shows_attention_ = true; }
  void RefreshPast() override { refreshes_ = true; }
  void EndPrefixes() override { ends_prefixes_ = true; }
  // Calls `listener` in each step, for each head of each layer of the decoder, with the weights
  // that the source rows have in its cross-attention. Those of linear attention need not sum to
  // one, and are there as long as its past is rows. For calibration; copies of the state have no
  // listener.
  using HeadListener = std::function<void(int layer, int head, absl::Span<const float> weights)>;
  void ListenToHeads(HeadListener listener) { head_listener_ = std::move(listener); }
  // The attention's past: one state for each distinct layer, or one for all, as the engine likes. A
  // bidirectional encoder's is the engine's own, too, and keeps nothing between calls.
  AttentionStates& encoder_past() { return encoder_; }
  AttentionStates& self_past() { return self_; }
  AttentionStates& cross_past() { return cross_; }
  int source_read() const override { return progress_.source_read; }
  int target_written() const override { return progress_.target_written; }
  void TakeEncoded(const SessionState& other) override;
  StateCost TakeCost() override { return std::exchange(cost_, StateCost()); }
  int64_t bytes() const override;

 private:
  friend class Transformer;
  friend class TransformerEncoder;
  friend class TransformerDecoder;
  friend class DecoderOnly;
  friend class SourceReader;
  friend class TargetSteps;
  friend void CommitGiven(absl::Span<const GivenRows> rows, absl::Span<const int> agreed);

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
    bool stale = false;  // The past is to be computed anew: see RefreshPast().
    bool wanted_source = false;  // The decision of the open step was to want more source.
  };

  // The tokens to read before the first source token. Empty once something was read.
  absl::Span<const TokenId> Lead() const {
    if (progress_.source_rows > 0) return {};
    return frame_.source_lead;
  }
  // The source of speech, not shared with others.
  SpeechFrontEnd::State& OwnSpeech();
  void CopyRestFrom(const TransformerState& other);
  void CountSource(absl::Span<const TokenId> tokens);  // Counts `tokens`, and Lead() before them.
  // source_read() after these tokens as well.
  int SourceReadAfter(absl::Span<const TokenId> tokens) const;
  // The encoder's rows that make up the first `source_read` source tokens. REQUIRES: they were read.
  int RowsOf(int source_read) const;

  // The target tokens that come before the one that the next step feeds and are not part of the
  // past: all of them, or none. The first has position 0.
  int first_rows() const {
    if (progress_.stale) return FedPosition();
    return progress_.begun ? 0 : static_cast<int>(frame_.forced.size());
  }
  TokenId FirstRow(int i) const {
    if (i == 0) return frame_.start;
    const auto place = static_cast<size_t>(i - 1);
    const size_t forced = frame_.forced.size();
    return place < forced ? frame_.forced[place] : target_[place - forced];
  }
  // The token that the next step feeds, and its position.
  TokenId Fed() const {
    return progress_.target_written > 0 ? last_ : FirstRow(static_cast<int>(frame_.forced.size()));
  }
  int FedPosition() const {
    return progress_.target_written + static_cast<int>(frame_.forced.size());
  }
  // Notes that the source is encoded anew, so that a past that is refreshed must be, too.
  void MakeStale() { progress_.stale = refreshes_ && progress_.begun; }
  // Puts copies in the place of the self-attention's past, and keeps the originals for UndoSelf().
  void CopySelf();
  void UndoSelf() { std::swap(self_, original_self_); }
  // Notes that these tokens were committed; `open`: the step after them is open.
  void TakeGiven(absl::Span<const TokenId> tokens, bool open);
  // These two add the rows of source tokens, and the row that the next step feeds, to the batch. For
  // a decoder without an encoder; the source's end is no row there.
  void ReadAsText(absl::Span<const TokenId> tokens, SourceBatch* batch);
  void StepAsText(SourceBatch* batch);
  // The state of a text, as bytes: see LanguageModel::Save().
  std::string SaveText() const;
  absl::Status LoadText(absl::string_view bytes);
  // Opens a step. Forgets the one before it if that was not committed.
  void OpenStep();

  // One state for each distinct layer. A bidirectional encoder keeps nothing between calls and has
  // one state for all layers.
  AttentionStates encoder_;
  AttentionStates self_;
  AttentionStates cross_;
  AttentionStates original_self_;  // See CopySelf(). Empty: it was never called.
  std::vector<TokenId> prefix_;  // The source of a bidirectional text encoder, with its frame.
  // The source of speech; else null. Copies share it until one of them gets more.
  std::shared_ptr<SpeechFrontEnd::State> speech_;
  Progress progress_;
  StateCost cost_;
  TokenId last_ = 0;  // The target token that was committed last, if there is one.
  Frame frame_;
  std::vector<TokenId> target_;  // The tokens committed; kept if the past is refreshed.
  bool shows_attention_ = false;  // These three: see the functions of SessionState.
  bool refreshes_ = false;
  bool ends_prefixes_ = false;
  HeadListener head_listener_;  // Null: nobody listens.
  int k_ = 0;  // The k of the session's wait-k policy; 0: it has another policy.
  int write_stride_ = 1;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_SESSION_STATE_H_
