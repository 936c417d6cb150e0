#include "streaming/calibration/tries.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/api/frame.h"
#include "model/api/translator.h"
#include "model/engine/session_state.h"

namespace leapstream {
namespace {

constexpr int kFewestTokens = 6;    // Of a sentence; a shorter one has hardly a part.
constexpr int kMostTokens = 120;
constexpr int kPrefixes = 8;        // Of each sentence.

// Where the heads of a state look in its open step.
class Looks {
 public:
  Looks(int layers, int heads) : heads_(heads), attended_(layers * (heads + 1), kNoSource) {}

  // `first`, `end`: the rows of the source that count.
  void ListenTo(SessionState& state, int first, int end) {
    auto* const listened = dynamic_cast<TransformerState*>(&state);
    if (listened == nullptr) return;  // Networks that decide together show nothing.
    listened->ListenToHeads([=](int layer, int head, absl::Span<const float> weights) {
      Take(layer, head, weights.subspan(first, std::max(end - first, 0)));
    });
  }
  // The places of the last step.
  std::vector<int> Pop() { return std::exchange(attended_, Unknown()); }

 private:
  std::vector<int> Unknown() const { return std::vector<int>(attended_.size(), kNoSource); }
  void Take(int layer, int head, absl::Span<const float> weights) {
    if (weights.empty()) return;
    int* const of_layer = attended_.data() + layer * (heads_ + 1);
    of_layer[head] = Most(weights);
    if (head == 0) sums_.assign(weights.size(), 0.0f);
    for (size_t i = 0; i < weights.size(); ++i) sums_[i] += weights[i];
    if (head + 1 == heads_) of_layer[heads_] = Most(sums_);
  }
  static int Most(absl::Span<const float> weights) {
    return static_cast<int>(std::max_element(weights.begin(), weights.end()) - weights.begin());
  }

  const int heads_;
  std::vector<int> attended_;
  std::vector<float> sums_;
};

class Collector {
 public:
  Collector(const Model& model, Frame frame, bool attention, Tries* tries)
      : model_(model), frame_(std::move(frame)), attention_(attention), tries_(*tries) {}

  absl::Status Add(const std::vector<TokenId>& source) {
    std::vector<TokenId> target;
    LEAPSTREAM_ASSIGN_OR_RETURN(target, Translate(source));
    if (target.empty()) return absl::OkStatus();
    ++tries_.sentences;
    tries_.target_tokens += static_cast<int>(target.size());
    return TryAll(source, target);
  }

 private:
  absl::StatusOr<std::unique_ptr<SessionState>> Read(absl::Span<const TokenId> source) const {
    std::unique_ptr<SessionState> state;
    LEAPSTREAM_ASSIGN_OR_RETURN(state, model_.translator->NewState());
    state->SetFrame(frame_);
    LEAPSTREAM_RETURN_IF_ERROR(model_.translator->Read({SourceRows{state.get(), source}}));
    return state;
  }

  // The greedy translation of all of a sentence.
  absl::StatusOr<std::vector<TokenId>> Translate(std::vector<TokenId> source) const {
    const size_t most = source.size() * 3 / 2 + 10;
    source.insert(source.end(), frame_.source_tail.begin(), frame_.source_tail.end());
    std::unique_ptr<SessionState> state;
    LEAPSTREAM_ASSIGN_OR_RETURN(state, Read(source));
    std::vector<TokenId> target;
    while (target.size() < most) {
      Decision decision;
      SessionState* const states[] = {state.get()};
      LEAPSTREAM_RETURN_IF_ERROR(
          model_.translator->Decide(states, absl::MakeSpan(&decision, 1)));
      if (!decision.finite()) return NotFiniteError();
      if (decision.best.id == frame_.end) break;
      target.push_back(decision.best.id);
      state->Commit(target.back());
    }
    return target;
  }

  absl::Status TryAll(const std::vector<TokenId>& source, const std::vector<TokenId>& target) {
    std::vector<std::unique_ptr<SessionState>> states;
    std::vector<SessionState*> batch;
    std::vector<Looks> looks;
    const auto length = static_cast<int>(source.size());
    const auto lead = static_cast<int>(frame_.source_lead.size());
    const int prefixes = std::min(kPrefixes, length - 1);
    looks.reserve(static_cast<size_t>(prefixes));  // Their addresses must stay.
    for (int i = 1; i <= prefixes; ++i) {
      const int read = std::max(length * i / (prefixes + 1), 1);
      std::unique_ptr<SessionState> state;
      LEAPSTREAM_ASSIGN_OR_RETURN(state, Read(absl::MakeConstSpan(source).first(read)));
      looks.emplace_back(tries_.layers, tries_.heads);
      if (attention_) looks.back().ListenTo(*state, lead, lead + read - 1);
      batch.push_back(state.get());
      states.push_back(std::move(state));
    }
    std::vector<Decision> decisions(batch.size());
    for (size_t written = 0; written < target.size(); ++written) {
      LEAPSTREAM_RETURN_IF_ERROR(
          model_.translator->Decide(batch, absl::MakeSpan(decisions)));
      for (size_t b = 0; b < batch.size(); ++b) {
        if (!decisions[b].finite()) return NotFiniteError();
        Try each;
        each.source_read = batch[b]->source_read();
        each.written = static_cast<int>(written);
        each.log_prob = decisions[b].best.log_prob;
        each.right = decisions[b].best.id == target[written];
        if (attention_) each.attended = looks[b].Pop();
        tries_.tries.push_back(std::move(each));
        batch[b]->Commit(target[written]);
      }
    }
    return absl::OkStatus();
  }

  const Model& model_;
  const Frame frame_;
  const bool attention_;
  Tries& tries_;
};

}  // namespace

absl::StatusOr<Tries> CollectTries(const Model& model, const ModelConfig& config,
                                   absl::Span<const std::string> sentences,
                                   const TryOptions& options) {
  if (model.info.speech.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model.info.name, " takes speech, and only models of text can be calibrated"));
  }
  Frame frame;
  LEAPSTREAM_ASSIGN_OR_RETURN(frame, model.FrameOf(options.languages));
  Tries tries;
  tries.layers = config.decoder.layers;
  tries.heads = config.decoder.attention_heads;
  Collector collector(model, std::move(frame), options.attention, &tries);
  for (const std::string& sentence : sentences) {
    if (tries.sentences == options.sentences) break;
    std::vector<TokenId> source;
    for (const std::string& piece : model.source_tokenizer->Encode(sentence)) {
      source.push_back(model.source_vocabulary.Id(piece));
    }
    const auto length = static_cast<int>(source.size());
    if (length < kFewestTokens || length > kMostTokens) continue;
    LEAPSTREAM_RETURN_IF_ERROR(collector.Add(source));
    if (options.on_sentence) options.on_sentence(tries.sentences);
  }
  if (tries.tries.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "want sentences of ", kFewestTokens, " to ", kMostTokens,
        " tokens, one a line, got none that the model translates"));
  }
  return tries;
}

}  // namespace leapstream
