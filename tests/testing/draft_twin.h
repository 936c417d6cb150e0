#ifndef LEAPSTREAM_TESTS_TESTING_DRAFT_TWIN_H_
#define LEAPSTREAM_TESTS_TESTING_DRAFT_TWIN_H_

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include "absl/types/span.h"
#include "model/api/model.h"
#include "streaming/draft_rules.h"
#include "streaming/session_limits.h"
#include "streaming/target_units.h"
#include "tests/testing/collecting_sink.h"

namespace leapstream {

struct Written {
  TokenId id;
  int source_read;
  float log_prob;
  bool operator==(const Written& other) const {
    return id == other.id && source_read == other.source_read && log_prob == other.log_prob;
  }
};

inline std::vector<Written> All(const CollectingSink& sink) {
  std::vector<Written> all;
  for (const TargetToken& token : sink.tokens) {
    all.push_back({token.id, token.source_tokens_read, token.log_prob});
  }
  return all;
}

// The slow twin of a session: makes each draft anew, step by step, on a copy of a state that has
// made each step that was written.
class DraftTwin {
 public:
  DraftTwin(const Model& model, Policy policy, const Frame& frame, bool refreshes)
      : model_(model), policy_(policy), units_(model), end_(frame.end) {
    state_ = *model.translator->NewState();
    state_->SetFrame(frame);
    state_->ShowAttention();
    if (refreshes) state_->RefreshPast();
  }

  // The steps that Translate() has made.
  int64_t decisions() const { return decisions_; }

  std::vector<Written> Translate(const std::string& text) {
    int words = 0;
    for (const std::string& word : Words(text)) {
      std::vector<TokenId> tokens;
      for (const std::string& piece : model_.source_tokenizer->Encode(word)) {
        tokens.push_back(model_.source_vocabulary.Id(piece));
      }
      Read(tokens);
      Look(++words, state_->source_read());
    }
    Read({kEndOfSentence});
    return WriteRest();
  }

  // Translates speech. samples: at 16 kHz; input: with the READs of the session.
  std::vector<Written> TranslateSpeech(absl::Span<const float> samples, const SpeechInput& input) {
    int looked = 0;
    for (int64_t given = 0; given < static_cast<int64_t>(samples.size());) {
      const auto count = std::min<int64_t>(input.SamplesPerRead(), samples.size() - given);
      const SourceRows rows{state_.get(), {}, samples.subspan(given, count)};
      EXPECT_TRUE(model_.translator->Read({rows}).ok());
      given += count;
      // A READ at the end may be too short for a look.
      if (state_->source_read() == 0 || input.Steps(state_->source_read()) <= looked) continue;
      looked = input.Steps(state_->source_read());
      const int64_t ms = given / (kSpeechSampleRate / 1000);
      Look(static_cast<int>(ms / 400), static_cast<int>(ms / 200));
    }
    return WriteRest();
  }

 private:
  static std::vector<std::string> Words(const std::string& text) {
    std::vector<std::string> words(1);
    for (const char c : text) {
      if (c == ' ') {
        words.emplace_back();
      } else {
        words.back().push_back(c);
      }
    }
    return words;
  }
  void Read(const std::vector<TokenId>& tokens) {
    EXPECT_TRUE(model_.translator->Read({SourceRows{state_.get(), tokens}}).ok());
  }
  std::vector<Written> WriteRest() {
    const AgentRules agent = AgentRulesOf(model_);
    while (true) {
      const Decision decision = Decide(*state_);
      const bool full = static_cast<int>(target_.size()) >=
                        TargetLimit(SessionOptions(), model_.info, state_->source_read());
      if (decision.best.id == end_ || full) return written_;
      Commit(decision.best);
      if (decision.best.id == agent.end_symbol && agent.end_symbol != kUnknown) return written_;
    }
  }
  Decision Decide(SessionState& state) {
    ++decisions_;
    Decision decision;
    SessionState* const states[] = {&state};
    EXPECT_TRUE(model_.translator->Decide(states, absl::MakeSpan(&decision, 1)).ok());
    return decision;
  }
  void Commit(const ScoredToken& token) {
    state_->Commit(token.id);
    written_.push_back({token.id, state_->source_read(), token.log_prob});
    if (units_.Begins(target_.empty() ? TargetUnits::kNone : target_.back(), token.id)) ++words_;
    target_.push_back(token.id);
  }

  // `length`: see Progress::source_length.
  void Look(int source_words, int length) {
    const auto written = static_cast<int>(target_.size());
    const int most = MostDraftTokens({length, length - wrote_at_, written});
    std::vector<TokenId> draft;
    TokenId next = end_;
    auto state = *state_->Clone();
    while (true) {
      const Decision decision = Decide(*state);
      next = decision.best.id;
      if (next == end_ || static_cast<int>(draft.size()) >= most ||
          IsUnsafe(policy_, decision, state_->source_read())) {
        break;
      }
      draft.push_back(next);
      state->Commit(next);
      std::vector<TokenId> all = target_;
      all.insert(all.end(), draft.begin(), draft.end());
      const int same = Same(draft);
      const int repeated =
          std::min(RepeatedTokens(all), static_cast<int>(draft.size()) - same);
      if (repeated == 0) {
        const bool agrees = same == static_cast<int>(rest_.size());
        const bool enough = static_cast<int>(draft.size()) - same >=
                            MostNewTokens(policy_, length - looked_, agrees);
        const TargetUnits::Around open{target_.empty() ? TargetUnits::kNone : target_.back(),
                                       TargetUnits::kNone, end_};
        if (!enough || (LagsTooMuch(policy_, source_words - words_) &&
                        units_.First(draft, open) == 0)) {
          continue;
        }
        next = TargetUnits::kNone;
        break;
      }
      next = draft[draft.size() - repeated];
      draft.resize(draft.size() - repeated);
      break;
    }
    const int same = Same(draft);
    std::vector<int> agreed(draft.size(), 1);
    for (int i = 0; i < same; ++i) agreed[i] = agreed_[i] + 1;
    const TargetUnits::Around around{written == 0 ? TargetUnits::kNone : target_.back(), next,
                                     end_};
    int count = units_.Whole(draft, Keeps(policy_, agreed), around);
    if (count == 0 && LagsTooMuch(policy_, source_words - words_)) {
      count = units_.First(draft, around);
    }
    for (int i = 0; i < count; ++i) {
      const Decision decision = Decide(*state_);
      EXPECT_EQ(decision.best.id, draft[i]);
      Commit(decision.best);
    }
    if (count > 0) wrote_at_ = length;
    looked_ = length;
    rest_.assign(draft.begin() + count, draft.end());
    agreed_.assign(agreed.begin() + count, agreed.end());
  }
  int Same(const std::vector<TokenId>& draft) const {
    size_t same = 0;
    while (same < draft.size() && same < rest_.size() && draft[same] == rest_[same]) ++same;
    return static_cast<int>(same);
  }

  const Model& model_;
  const Policy policy_;
  const TargetUnits units_;
  const TokenId end_;
  std::unique_ptr<SessionState> state_;
  std::vector<TokenId> target_, rest_;
  std::vector<int> agreed_;
  std::vector<Written> written_;
  int words_ = 0;
  int wrote_at_ = 0;
  int looked_ = 0;
  int64_t decisions_ = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_DRAFT_TWIN_H_
