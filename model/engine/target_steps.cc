#include "model/engine/target_steps.h"

#include <algorithm>

namespace leapstream {

void TargetSteps::Open(size_t count, StateOf state_of, TargetBatch* target) const {
  target->Clear();
  for (size_t b = 0; b < count; ++b) {
    TransformerState* const state = state_of(b);
    state->OpenStep();
    AddFirstRows(state, state->progress_.source_read, target);
  }
}

void TargetSteps::AddFed(size_t count, StateOf state_of, TargetBatch* target) const {
  for (size_t b = 0; b < count; ++b) {
    TransformerState* const state = state_of(b);
    target->owners.push_back(state);
    target->places.push_back(b);
    target->tokens.push_back(state->Fed());
    target->positions.push_back(state->FedPosition());
    target->reads_nothing.push_back(ReadsNothing(*state, state->progress_.source_read, 0));
  }
}

void TargetSteps::AddFirstRows(TransformerState* state, int source_read,
                               TargetBatch* target) const {
  const int count = state->first_rows();
  if (count == 0) return;
  // A first step that was not committed has left rows there, and nothing else can be in the past.
  for (const auto& self : state->self_) self->Reset();
  for (int i = 0; i < count; ++i) {
    target->owners.push_back(state);
    target->tokens.push_back(state->FirstRow(i));
    target->positions.push_back(i);
    // The rows of committed tokens are those of earlier steps.
    const int ahead = state->progress_.stale ? std::max(i - count, -state->progress_.steps) : 0;
    target->reads_nothing.push_back(ReadsNothing(*state, source_read, ahead));
  }
  state->progress_.stale = false;
}

void TargetSteps::AddGiven(const GivenRows& rows, int count, bool open, bool all,
                           TargetBatch* target) const {
  auto* const state = static_cast<TransformerState*>(rows.state);
  for (int i = 0; i < count; ++i) {
    target->owners.push_back(state);
    target->tokens.push_back(i == 0 ? state->Fed() : rows.tokens[static_cast<size_t>(i - 1)]);
    target->positions.push_back(state->FedPosition() + i);
    target->reads_nothing.push_back(ReadsNothing(*state, state->progress_.source_read, i));
    target->provisional.push_back(all || (open && i + 1 == count));
  }
}

void TargetSteps::AddReplay(const ReplayRows& rows, int64_t seen_from, TargetBatch* target) const {
  auto* const state = static_cast<TransformerState*>(rows.state);
  TransformerState::Progress& progress = state->progress_;
  const auto count = static_cast<int>(rows.target.size());
  if (count == 0) return;
  AddFirstRows(state, rows.source_read[0], target);
  target->seen.resize(target->owners.size(), seen_from + state->RowsOf(rows.source_read[0]));
  for (int i = 0; i < count; ++i) {
    target->owners.push_back(state);
    target->tokens.push_back(i == 0 ? state->Fed() : rows.target[i - 1]);
    target->positions.push_back(state->FedPosition() + i);
    target->reads_nothing.push_back(ReadsNothing(*state, rows.source_read[i], i));
    target->seen.push_back(seen_from + state->RowsOf(rows.source_read[i]));
  }
  progress.target_written += count;
  progress.steps += count;
  progress.committed = true;
  progress.begun = true;
  state->last_ = rows.target.back();
}

// See docs/fairseq.md, rules 4 and 6. At inference fairseq zeroes the row of a wait-k step that
// stands on the first source position. With mass preservation, a step stands there whenever only
// one position has been read; without it, only if the step is due after one position.
//
// A model with the cross_normaliser "softmax" follows fairseq's training instead. Training zeroes
// the rows that wait for more source than there is, but only for text and only without mass
// preservation, which puts such rows on the last position.
bool TargetSteps::ReadsNothing(const TransformerState& state, int source_read, int ahead) const {
  if (config_.simul_type != "waitk") return false;
  const int64_t due =
      state.k_ > 0 ? int64_t{state.k_} + (state.progress_.steps + ahead) / state.write_stride_ : 0;
  if (config_.cross_normaliser == "softmax") {
    return !config_.mass_preservation && !config_.speech.has_value() && due > source_read;
  }
  return source_read == 1 && (config_.mass_preservation || due == 1);
}

TargetSteps::Looked TargetSteps::LooksAt(const TransformerState& state) {
  if (!state.shows_attention_) return {};
  const auto first = static_cast<int64_t>(state.frame_.source_lead.size());
  return {first, std::max(first, first + state.progress_.source_read - 1)};
}

bool TargetSteps::WaitsForSource(TransformerState* state) {
  if (state->progress_.source_finished) return false;
  state->progress_.wanted_source = true;
  return true;
}

void TakeDecisions(absl::Span<const GivenRows> rows, absl::Span<const Decision> decided,
                   std::vector<int>* agreed) {
  agreed->clear();
  auto next = decided.begin();
  for (const GivenRows& given : rows) {
    int count = given.forced;
    bool agrees = true;
    for (int i = given.forced; i < StepsOf(given); ++i) {
      const Decision& decision = given.decisions[static_cast<size_t>(i)] = *next++;
      if (static_cast<size_t>(i) == given.tokens.size()) continue;
      agrees = agrees && decision.best.id == given.tokens[static_cast<size_t>(i)];
      if (agrees) ++count;
    }
    agreed->push_back(count);
  }
}

void CommitGiven(absl::Span<const GivenRows> rows, absl::Span<const int> agreed) {
  for (size_t b = 0; b < rows.size(); ++b) {
    const auto count = static_cast<size_t>(agreed[b]);
    const bool open = rows[b].decides || count < rows[b].tokens.size();
    static_cast<TransformerState*>(rows[b].state)->TakeGiven(rows[b].tokens.first(count), open);
  }
}

}  // namespace leapstream
