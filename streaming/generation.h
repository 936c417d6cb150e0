#ifndef LEAPSTREAM_STREAMING_GENERATION_H_
#define LEAPSTREAM_STREAMING_GENERATION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/clock.h"
#include "model/api/language_model.h"
#include "model/api/model.h"
#include "streaming/inbox.h"
#include "streaming/sampling.h"
#include "streaming/scheduled_session.h"
#include "streaming/stop_sequences.h"
#include "streaming/text_sink.h"

namespace leapstream {

// A text as it was left: all that another generation needs to go on with it.
struct SavedText {
  std::string state;             // LanguageModel::Save(): the tokens that the model has seen.
  std::vector<TokenId> pending;  // The tokens after those.
  std::vector<TokenId> recent;   // The last few tokens before `pending`, for the text's bytes.
};

struct GenerationRequest {
  // Empty state: a new text, which begins with </s>, as fairseq's texts do.
  SavedText from;
  bool without_start = false;  // A new text begins with the prompt's first token, not with </s>.
  std::vector<TokenId> prompt;  // What is appended to the text first.
  // The prompt's tokens from this one on are scored; prompt.size(): none.
  size_t scored_from = 0;
  int max_tokens = 0;  // The most tokens to generate, </s> not counted; 0: none.
  int min_tokens = 0;  // </s> is not chosen before so many tokens were generated.
  Sampling sampling;
  std::vector<std::string> stop;  // The text ends before the first of these.
  bool saves = false;             // GeneratedText::saved is wanted.
  int64_t most_saved_bytes = std::numeric_limits<int64_t>::max();  // A larger state is not saved.
};

// The most of a request; budget::kRowsPerTurn bounds its part of a turn.
inline constexpr int kMostStopSequences = 16;
inline constexpr size_t kMostStopBytes = 256;

enum class TextEnd {
  kEndOfSentence,  // </s> was chosen.
  kMaxTokens,      // max_tokens, or the model's table of positions is full.
  kStopSequence,
};

struct GeneratedToken {
  ScoredToken token;
  std::string text;  // What it adds to the text; may be empty.
};

struct GeneratedText {
  TextEnd end = TextEnd::kMaxTokens;
  std::string text;  // The text that the end completed; to be appended.
  int prompt_tokens = 0;     // The tokens that the model has read for the prompt, </s> included.
  int generated_tokens = 0;  // </s> not counted.
  absl::Duration first_token;  // From the start to the first token that was generated.
  absl::Duration compute;      // The whole time in the model of the batches that it took part in.
  absl::Duration queue;        // The time it could act but waited for the step loop.
  std::optional<SavedText> saved;
};

// Receives a text, on the step thread. A sink must not block and must not call the model. Calls do
// not overlap. OnFinished() is called exactly once and last; after an OnEnd() it has OK.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  // The log-probability of a token of the prompt: those from GenerationRequest::scored_from on.
  virtual void OnPromptScore(ScoredToken token) = 0;
  virtual void OnToken(GeneratedToken token) = 0;
  virtual void OnEnd(GeneratedText end) = 0;
  virtual void OnFinished(absl::Status status) = 0;
};

// INVALID_ARGUMENT: the model goes on with no texts, a token or a number is out of its range, or
// the text is longer than the model's table of positions.
absl::Status CheckGeneration(const GenerationRequest& request, const Model& model);
// The state that a text begins with. INVALID_ARGUMENT: request.from.state is no state of the model.
absl::StatusOr<std::unique_ptr<SessionState>> StateOf(const GenerationRequest& request,
                                                      const Model& model);

// A text that a language model goes on with, as its scheduler sees it. The model reads the prompt
// as a backlog, then one token a turn, as a live session does. Cancel(), Hold(), Release() and
// Start() may be called on any thread; see ScheduledSession for the others.
class Generation final : public ScheduledSession {
 public:
  // `request` has passed CheckGeneration(), `state` is its StateOf(). `sink`, `model` and `loop`
  // must outlive the session's last step.
  Generation(GenerationRequest request, std::unique_ptr<SessionState> state, GenerationSink* sink,
             const Model& model, Loop* loop);

  void Start() { inbox_.Release(); }  // Nothing is done before.
  void Cancel(absl::Status why) override {
    ending_.store(true, std::memory_order_relaxed);
    inbox_.Cancel(std::move(why));
  }
  // Stops further steps until Release(), for a sink that is full.
  void Hold() { inbox_.Hold(); }
  void Release() { inbox_.Release(); }
  int64_t state_bytes() const override { return state_bytes_.load(std::memory_order_relaxed); }
  bool ending() const override { return ending_.load(std::memory_order_relaxed); }

  Due Plan(int max_rows, int64_t max_work) override;
  void RecordStep(absl::Duration compute, absl::Duration waited) override;
  bool TakeScores(size_t row, const TokenScores& scores) override;
  void ApplyScores() override;
  void Finish(absl::Status status) override;
  bool finished() const override { return finished_; }
  Queue queue() const override { return inbox_.queue(); }
  bool grows() const override { return model_.info.state_bytes_per_token > 0; }
  void CountState() override;
  void FreeState() override;

 private:
  // Whether the scores behind feed_[i] are those of a token of the prompt that is scored.
  bool ScoresPrompt(size_t i) const { return i + 1 >= scored_from_ && i + 1 < feed_.size(); }
  bool generates() const { return request_.max_tokens > 0; }
  // Says which scores are wanted behind the tokens of this turn from feed_[fed_ + scored] on.
  void ListWanted(size_t scored);
  // The number of tokens of the text so far.
  int64_t Length() const;
  void Take(ScoredToken token);
  void End(TextEnd end);
  // Gives the text sink the tokens that stand before the generated ones, for whose text nobody
  // asks.
  void Prime();
  SavedText Save() const;

  const GenerationRequest request_;
  const Model& model_;
  GenerationSink* const sink_;
  Loop* const loop_;  // Must not be used once the session is over.
  const SteadyTime opened_;
  Inbox inbox_;

  // Members that only the step thread uses:
  std::unique_ptr<SessionState> state_;
  std::vector<TokenId> feed_;  // The tokens that the model is given: the prompt, then each token.
  size_t scored_from_;         // In feed_. That of </s> in front is never wanted.
  size_t fed_ = 0;             // Those of feed_ that the model has seen.
  size_t due_ = 0;             // Those that it sees in this turn.
  std::vector<WantedScores> wanted_;   // Of this turn.
  std::vector<TokenId> excluded_;      // The tokens that may not be chosen in this turn.
  std::optional<ScoredToken> chosen_;  // In this turn.
  std::vector<ScoredToken> prompt_scores_;  // Of this turn.
  StopSequences stop_;
  TextSink text_;
  GeneratedText result_;
  SteadyTime able_since_;
  bool finished_ = false;
  std::atomic<int64_t> state_bytes_;
  std::atomic<bool> ending_{false};
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_GENERATION_H_
