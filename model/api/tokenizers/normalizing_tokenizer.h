#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALIZING_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALIZING_TOKENIZER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "model/api/tokenizer.h"

namespace leapstream {

// A tokenizer whose source is normalised first, as FSMTTokenizer's is: see NormalizePunctuation().
// White space between words counts as one space. A word waits for the beginning of the next one,
// which it may be joined to; words that are joined become final together, and are joined no further
// than to 2 * budget::kWordBytes. A word that is longer than budget::kWordBytes afterwards is cut.
// A full stop before a closing quotation mark depends on whether more text follows, as in Moses; it
// does not depend on an earlier such place that ends at the very same word. Const and thread-safe.
class NormalizingTokenizer final : public Tokenizer {
 public:
  // `language`: the source's, as Moses names it.
  NormalizingTokenizer(std::unique_ptr<const Tokenizer> inner, std::string language)
      : inner_(std::move(inner)), language_(std::move(language)) {}

  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override;
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override;
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const override {
    return inner_->AppendSymbol(symbol, state);
  }
  TargetBytes FinishSymbols(TokenizerState* state) const override {
    return inner_->FinishSymbols(state);
  }
  std::vector<std::string> Encode(absl::string_view text) const override;
  std::string Decode(const std::vector<std::string>& symbols) const override {
    return inner_->Decode(symbols);
  }
  std::vector<std::string> Pieces() const override { return inner_->Pieces(); }
  bool needs_all_pieces() const override { return inner_->needs_all_pieces(); }

 private:
  struct Memory;

  // Gives the words that are held to the inner tokenizer.
  void PassOn(bool more, Memory* memory, std::vector<Symbols>* ready) const;
  // Moves symbols that the inner tokenizer has made final to the words that they belong to.
  void Sort(std::vector<Symbols> inner_ready, Memory* memory, std::vector<Symbols>* ready) const;

  const std::unique_ptr<const Tokenizer> inner_;
  const std::string language_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_NORMALIZING_TOKENIZER_H_
