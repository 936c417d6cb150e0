// The costs of a session: memory of states, and rows in the model.
#include <utility>

#include "base/budget.h"
#include "streaming/live_session.h"

namespace leapstream {

void LiveSession::RecordStep(absl::Duration compute, absl::Duration waited) {
  meter_.RecordStep(compute, waited);
  StateCost cost = state_->TakeCost();
  if (draft_ != nullptr) cost += draft_->TakeCost();
  if (search_ != nullptr) cost += search_->TakeCost();
  if (terms_ != nullptr) cost += terms_->TakeCost();
  meter_.RecordCost(cost);
}

void LiveSession::CountState() {
  const int64_t bytes = state_->bytes() + (search_ != nullptr ? search_->bytes() : 0) +
                        (draft_ != nullptr ? draft_->bytes() : 0) +
                        (terms_ != nullptr ? terms_->bytes() : 0);
  loop_->AddStateBytes(bytes - state_bytes_.exchange(bytes, std::memory_order_relaxed));
}

void LiveSession::FreeState() {
  search_.reset();
  draft_.reset();
  if (terms_ != nullptr) terms_->SetState(nullptr);
  state_.reset();
  // In this order: StateBudget::EndLargest() may look between the two.
  loop_->AddStateBytes(-state_bytes());
  state_bytes_.store(0, std::memory_order_relaxed);
}

void LiveSession::ShrinkState() {
  const ModelInfo& info = model_.info;
  if (options_.beam.has_value()) CountState();  // The search's states are gone.
  if (info.state_bytes_per_token == 0) return;
  CountState();
  const int64_t typical =
      info.state_bytes_per_session + budget::kTypicalSegmentTokens * info.state_bytes_per_token;
  if (state_bytes() <= typical) return;
  absl::StatusOr<std::unique_ptr<SessionState>> state = NewState(model_, frame_, options_);
  if (!state.ok()) return;  // Without memory for it, the session goes on with the large state.
  state_ = *std::move(state);
  CountState();
}

}  // namespace leapstream
