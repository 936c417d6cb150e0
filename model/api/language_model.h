#ifndef LEAPSTREAM_MODEL_API_LANGUAGE_MODEL_H_
#define LEAPSTREAM_MODEL_API_LANGUAGE_MODEL_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/translator.h"

namespace leapstream {

// New tokens of one text, in order. Nothing is owned.
struct TextRows {
  SessionState* state = nullptr;
  absl::Span<const TokenId> tokens;
  // The scores behind tokens[i] are asked for from this i on. tokens.size(): none are.
  size_t scored_from = 0;
  // For each of these i; empty: all scores of each.
  absl::Span<const WantedScores> wanted = {};
};

// A function that gets the scores of the token after texts[text].tokens[row], as a ScoreVisitor
// does.
using TextVisitor = absl::FunctionRef<bool(size_t text, size_t row, const TokenScores& scores)>;

// A model that goes on with a text: a decoder without an encoder. A state is the model's memory of
// the text so far; SessionState::source_read() is its length in tokens, and its functions for
// targets are not used. Const and thread-safe, as Translator is, and batching does not change
// results.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  // The state of an empty text. RESOURCE_EXHAUSTED: there is no memory for another.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> NewState() const = 0;

  // Appends each entry's tokens to the text of its state, and gives `visit` the scores that are
  // asked for, on the thread of the call, in order. A state appears once at most. Tokens that are
  // appended together give, to the bit, what they give one by one. INVALID_ARGUMENT: a token is
  // outside the vocabulary, or a text would be longer than the model's table of positions; then no
  // state has changed.
  virtual absl::Status Extend(absl::Span<const TextRows> texts, TextVisitor visit,
                              BetweenLayers between_layers) const = 0;
  absl::Status Extend(absl::Span<const TextRows> texts, TextVisitor visit) const {
    return Extend(texts, visit, [] {});
  }

  // The state as bytes, from which Restore() of the same model makes a state that goes on as this
  // one would, to the bit. Their number is bounded if the attention is a recurrence, as LeaP is.
  // The bytes hold numbers of the network, little-endian float32 or float16, and no token.
  virtual std::string Save(const SessionState& state) const = 0;
  // INVALID_ARGUMENT: the bytes are not those of a state of this network; RESOURCE_EXHAUSTED: there
  // is no memory for another state.
  virtual absl::StatusOr<std::unique_ptr<SessionState>> Restore(absl::string_view bytes) const = 0;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_LANGUAGE_MODEL_H_
