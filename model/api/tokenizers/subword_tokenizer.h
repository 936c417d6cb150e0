#ifndef LEAPSTREAM_MODEL_API_TOKENIZERS_SUBWORD_TOKENIZER_H_
#define LEAPSTREAM_MODEL_API_TOKENIZERS_SUBWORD_TOKENIZER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"
#include "model/api/tokenizer.h"
#include "model/api/tokenizers/bpe_codes.h"
#include "model/api/tokenizers/moses_detokenizer.h"
#include "model/api/tokenizers/moses_tokenizer.h"

namespace leapstream {

// The character that stands for a byte in fairseq's `bytes`: itself if it is a printable character
// of Latin-1, else 256 more.
char32_t CharacterOfByte(unsigned char byte);

// fairseq's tokenizer (none, space or Moses), lower case if it is asked for, and its BPE
// (subword_nmt, fastbpe, characters, bytes or none), one after the other; and both of them undone.
// White space between words counts as one space. Without a tokenizer, codes and characters see
// other white space than U+0020 as a character of a word, as in fairseq, but it is no symbol, and at
// the ends of a text it is none. Characters and bytes without Moses give a word of a script without
// spaces character by character. Const and thread-safe.
class SubwordTokenizer final : public Tokenizer {
 public:
  // `config.bpe` is not sentencepiece. INVALID_ARGUMENT: a file is not of its form.
  static absl::StatusOr<std::unique_ptr<const SubwordTokenizer>> Create(
      const TokenizerConfig& config, const TokenizerFiles& files);

  bool cuts_at_spaces_only() const override {
    return cuts_at_spaces_ && (bpe_ == Bpe::kCodes || bpe_ == Bpe::kCharacters);
  }
  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override;
  int64_t PeekWord(absl::string_view beginning, TokenizerState* state, std::vector<Symbols>* ready,
                   Symbols* early) const override;
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override;
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const override;
  TargetBytes FinishSymbols(TokenizerState* state) const override;
  bool BeginsWord(absl::string_view previous, absl::string_view symbol) const override;

  std::vector<std::string> Encode(absl::string_view text) const override;
  std::string Decode(const std::vector<std::string>& symbols) const override;
  std::vector<std::string> Pieces() const override;
  bool needs_all_pieces() const override { return false; }

 private:
  enum class Bpe { kNone, kCodes, kCharacters, kBytes };
  SubwordTokenizer() = default;

  // The symbols of one word's tokens. `begun`: some token came before them; it becomes true if
  // there are tokens.
  Symbols ToSymbols(const std::vector<std::string>& tokens, bool* begun) const;
  // Appends to *ready the symbols of the words that wait in state->held. `ends`: the text ends.
  void GiveHeld(bool ends, TokenizerState* state, std::vector<Symbols>* ready) const;
  // The text of a symbol without BPE, and with the white space that certainly follows.
  std::string WithoutBpe(absl::string_view symbol, TokenizerState* state) const;

  Bpe bpe_ = Bpe::kNone;
  bool cuts_at_spaces_ = false;  // There is no tokenizer.
  bool lowercase_ = false;
  std::optional<BpeCodes> codes_;        // Of a source with codes.
  std::optional<MosesTokenizer> moses_;  // Null: the tokens are the words.
  std::optional<MosesDetokenizer> detokenizer_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_TOKENIZERS_SUBWORD_TOKENIZER_H_
