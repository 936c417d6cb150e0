#include "model/engine/source_reader.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// A batch of prefixes is encoded once it has so many rows, so that many sessions with bidirectional
// encoders need no more scratch memory than a few.
constexpr size_t kPrefixRows = 1024;

std::unique_ptr<const SpeechFrontEnd> MakeFrontEnd(const Parameters& parameters,
                                                   const ModelConfig& config) {
  if (!config.speech.has_value()) return nullptr;
  return std::make_unique<SpeechFrontEnd>(parameters.Under("encoder"), *config.speech,
                                          config.encoder.embed_dim);
}

}  // namespace

SourceReader::SourceReader(const Parameters& parameters, const ModelConfig& config,
                           const RowObserver& observer)
    : config_(config), observer_(observer), speech_(MakeFrontEnd(parameters, config)) {}

void SourceReader::AddTo(TransformerState* state) const {
  if (speech_ != nullptr) state->speech_ = speech_->NewState();
}

void SourceReader::Read(const SourceRows& rows, SourceBatch* batch) const {
  if (!rows.samples.empty()) return ReadSamples(rows);
  ReadTokens(rows, batch);
}

void SourceReader::ReadTokens(const SourceRows& rows, SourceBatch* batch) const {
  if (rows.tokens.empty()) return;
  auto* const state = static_cast<TransformerState*>(rows.state);
  int first = 0;
  for (const absl::Span<const TokenId> tokens : {state->Lead(), rows.tokens}) {
    if (config_.causal_encoder) {
      batch->Add(state, tokens, state->progress_.source_rows + first);
      first += static_cast<int>(tokens.size());
    } else {
      state->prefix_.insert(state->prefix_.end(), tokens.begin(), tokens.end());
      state->progress_.prefix_is_encoded = false;
    }
  }
  state->CountSource(rows.tokens);
}

void SourceReader::ReadSamples(const SourceRows& rows) const {
  auto* const state = static_cast<TransformerState*>(rows.state);
  SpeechFrontEnd::State& speech = state->OwnSpeech();
  speech_->Append(rows.samples, speech);
  const auto states = static_cast<int>(speech_->RowsOf(speech));
  // The last rows may have changed even if their number is the same.
  state->progress_.prefix_is_encoded = states == 0;
  state->progress_.source_read = state->progress_.source_rows = states;
}

bool SourceReader::ReadPrefix(TransformerState* state, SourceBatch* batch,
                              Workspace& scratch) const {
  if (state->progress_.prefix_is_encoded) return false;
  if (speech_ != nullptr) {
    SpeechFrontEnd::Observer observer;
    if (const RowObserver::Listener& listener = observer_.listener()) {
      observer = [&listener](absl::string_view name, int64_t first_row, const Tensor& values) {
        listener(absl::StrCat(name, "@", first_row), values);
      };
    }
    // Copies of a state have one front end as long as they have the same samples, and so the same
    // rows.
    speech_->Update(*state->speech_, scratch, observer);
    batch->AddRows(state, state->progress_.source_read, 0);
  } else {
    batch->Add(state, state->prefix_, 0);
    if (state->ends_prefixes_ && !state->progress_.source_finished) {
      batch->Add(state, state->frame_.source_tail, static_cast<int>(state->prefix_.size()));
    }
  }
  state->progress_.prefix_is_encoded = true;
  return true;
}

void SourceReader::ReadPrefixes(absl::Span<SessionState* const> states, Scratch& scratch,
                                absl::FunctionRef<void()> encode,
                                BetweenLayers between_layers) const {
  if (config_.causal_encoder) return;
  SourceBatch& prefixes = scratch.source;
  prefixes.Clear();
  for (SessionState* session_state : states) {
    auto* const state = static_cast<TransformerState*>(session_state);
    if (!ReadPrefix(state, &prefixes, scratch.floats)) continue;
    if (speech_ != nullptr) between_layers();
    for (const auto& cross : state->cross_) cross->ForgetSource();
    state->MakeStale();
    if (prefixes.owners.size() >= kPrefixRows) {
      encode();
      prefixes.Clear();
    }
  }
  encode();
}

void SourceReader::CopySpeech(const SourceBatch& batch, int64_t width, float* x) {
  for (size_t r = 0; r < batch.owners.size(); ++r) {
    std::copy_n(batch.owners[r]->speech_->rows().data() + batch.positions[r] * width, width,
                x + static_cast<int64_t>(r) * width);
  }
}

}  // namespace leapstream
