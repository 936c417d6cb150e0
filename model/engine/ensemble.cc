#include "model/engine/ensemble.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "base/status.h"
#include "model/engine/batch.h"
#include "model/engine/contract.h"
#include "model/engine/model_call.h"

namespace leapstream {
namespace {

constexpr size_t kRowsTogether = 16;  // With a large vocabulary, more would take much memory.

}  // namespace

// A state of each member. They are always in step.
class Ensemble::State : public SessionState {
 public:
  explicit State(std::vector<std::unique_ptr<SessionState>> members)
      : members_(std::move(members)) {}

  void Reset() override {
    for (const auto& member : members_) member->Reset();
  }
  void SetWaitK(int k, int write_stride) override {
    for (const auto& member : members_) member->SetWaitK(k, write_stride);
  }
  void SetFrame(const Frame& frame) override {
    for (const auto& member : members_) member->SetFrame(frame);
  }
  void RefreshPast() override {
    for (const auto& member : members_) member->RefreshPast();
  }
  void EndPrefixes() override {
    for (const auto& member : members_) member->EndPrefixes();
  }
  void LeaveForced() override {
    for (const auto& member : members_) member->LeaveForced();
  }
  void Commit(TokenId token) override {
    for (const auto& member : members_) member->Commit(token);
  }
  void Repeat() override {
    for (const auto& member : members_) member->Repeat();
  }
  absl::StatusOr<std::unique_ptr<SessionState>> Clone() const override {
    std::vector<std::unique_ptr<SessionState>> copies(members_.size());
    for (size_t m = 0; m < members_.size(); ++m) {
      LEAPSTREAM_ASSIGN_OR_RETURN(copies[m], members_[m]->Clone());
    }
    return std::make_unique<State>(std::move(copies));
  }
  absl::Status CopyFrom(const SessionState& other) override {
    for (size_t m = 0; m < members_.size(); ++m) {
      LEAPSTREAM_RETURN_IF_ERROR(
          members_[m]->CopyFrom(*static_cast<const State&>(other).members_[m]));
    }
    return absl::OkStatus();
  }
  void TakeEncoded(const SessionState& other) override {
    for (size_t m = 0; m < members_.size(); ++m) {
      members_[m]->TakeEncoded(*static_cast<const State&>(other).members_[m]);
    }
  }
  StateCost TakeCost() override { return members_.front()->TakeCost(); }
  int source_read() const override { return members_.front()->source_read(); }
  int target_written() const override { return members_.front()->target_written(); }
  int64_t bytes() const override {
    int64_t bytes = 0;
    for (const auto& member : members_) bytes += member->bytes();
    return bytes;
  }

  static SessionState* Member(SessionState* state, size_t m) {
    return static_cast<State*>(state)->members_[m].get();
  }

 private:
  const std::vector<std::unique_ptr<SessionState>> members_;
};

absl::StatusOr<std::unique_ptr<SessionState>> Ensemble::NewState() const {
  std::vector<std::unique_ptr<SessionState>> states(members_.size());
  for (size_t m = 0; m < members_.size(); ++m) {
    LEAPSTREAM_ASSIGN_OR_RETURN(states[m], members_[m]->NewState());
  }
  return std::make_unique<State>(std::move(states));
}

absl::Status Ensemble::Reserve(int states) const {
  for (const auto& member : members_) LEAPSTREAM_RETURN_IF_ERROR(member->Reserve(states));
  return absl::OkStatus();
}

// A member that refuses the source is the first one, before any state has changed: the others have
// its configuration.
absl::Status Ensemble::Read(absl::Span<const SourceRows> rows, BetweenLayers between_layers) const {
  std::vector<SourceRows> own(rows.begin(), rows.end());
  for (size_t m = 0; m < members_.size(); ++m) {
    for (size_t b = 0; b < rows.size(); ++b) own[b].state = State::Member(rows[b].state, m);
    LEAPSTREAM_RETURN_IF_ERROR(members_[m]->Read(own, between_layers));
  }
  return absl::OkStatus();
}

absl::Status Ensemble::Replay(absl::Span<const ReplayRows> rows,
                              BetweenLayers between_layers) const {
  std::vector<ReplayRows> own(rows.begin(), rows.end());
  for (size_t m = 0; m < members_.size(); ++m) {
    for (size_t b = 0; b < rows.size(); ++b) own[b].state = State::Member(rows[b].state, m);
    LEAPSTREAM_RETURN_IF_ERROR(members_[m]->Replay(own, between_layers));
  }
  return absl::OkStatus();
}

absl::Status Ensemble::Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                              BetweenLayers between_layers) const {
  std::vector<ScoreRow> rows(states.size());
  for (size_t b = 0; b < states.size(); ++b) rows[b].state = states[b];
  const auto decide = [&](size_t b, const TokenScores& scores) {
    result[b] = Decided(scores);
    return true;
  };
  return Score(rows, decide, between_layers);
}

absl::Status Ensemble::Score(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                             BetweenLayers between_layers) const {
  for (size_t begin = 0; begin < rows.size(); begin += kRowsTogether) {
    const auto visit_part = [&](size_t b, const TokenScores& scores) {
      return visit(begin + b, scores);
    };
    LEAPSTREAM_RETURN_IF_ERROR(
        ScorePart(rows.subspan(begin, kRowsTogether), visit_part, between_layers));
  }
  return absl::OkStatus();
}

absl::Status Ensemble::ScorePart(absl::Span<const ScoreRow> rows, ScoreVisitor visit,
                                 BetweenLayers between_layers) const {
  return ModelCall("scoring target tokens", /*threads=*/1, [&]() -> absl::Status {
    const ScratchLoan loan;
    Workspace& floats = (*loan).floats;
    const Workspace::Scope scope(floats);
    // For each row, ln of the sum of the probabilities so far.
    float* const sums = floats.Floats(static_cast<int64_t>(rows.size()) * vocabulary_size_);
    std::vector<ScoreRow> own(rows.begin(), rows.end());
    for (ScoreRow& row : own) row.wanted = {};  // The best of the mean are not those of a member.
    std::vector<float> log_sums(rows.size());  // NaN: a member's scores are not finite.
    for (size_t m = 0; m < members_.size(); ++m) {
      for (size_t b = 0; b < rows.size(); ++b) own[b].state = State::Member(rows[b].state, m);
      const auto add = [&](size_t b, const TokenScores& scores) {
        if (!scores.finite()) log_sums[b] = std::numeric_limits<float>::quiet_NaN();
        float* const sum = sums + static_cast<int64_t>(b) * vocabulary_size_;
        for (TokenId id = 0; id < static_cast<TokenId>(vocabulary_size_); ++id) {
          const float log_prob = scores.log_prob_of(scores.logits[id]);
          if (m == 0) {
            sum[id] = log_prob;
            continue;
          }
          const float more = std::max(sum[id], log_prob);
          sum[id] = more + std::log1p(std::exp(std::min(sum[id], log_prob) - more));
        }
        return true;
      };
      LEAPSTREAM_RETURN_IF_ERROR(members_[m]->Score(own, add, between_layers));
    }
    const auto log_members = std::log(static_cast<float>(members_.size()));
    for (size_t b = 0; b < rows.size(); ++b) {
      between_layers();
      float* const sum = sums + static_cast<int64_t>(b) * vocabulary_size_;
      for (int64_t i = 0; i < vocabulary_size_; ++i) sum[i] -= log_members;
      TokenScores scores;  // These are log-probabilities: nothing is to be taken from them.
      scores.logits = absl::MakeConstSpan(sum, vocabulary_size_);
      scores.log_sum = log_sums[b];
      visit(b, scores);
    }
    return absl::OkStatus();
  });
}

}  // namespace leapstream
