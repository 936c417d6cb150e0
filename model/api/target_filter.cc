#include "model/api/target_filter.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace leapstream {
namespace {

// The patterns in the order in which they are replaced
// (transformers/tokenization_utils_base.py, clean_up_tokenization). Each loses its spaces.
constexpr absl::string_view kPatterns[] = {" .",  " ?",  " !",  " ,",   " ' ",
                                           " n't", " 'm", " 's", " 've", " 're"};
constexpr char kMarian[] = "marian";  // The architecture of OPUS-MT's folders.
constexpr size_t kPatternCount = std::size(kPatterns);

absl::string_view Replacement(absl::string_view pattern) {
  pattern.remove_prefix(1);
  return pattern.substr(0, pattern.find(' '));
}

// Gives the bytes to the pattern `first` and what leaves it to the next one, and so on. (*held)[i]
// is the number of bytes that pattern i holds: a beginning of the pattern.
std::string Replace(std::string bytes, size_t first, std::string* held) {
  for (size_t p = first; p < kPatternCount; ++p) {
    const absl::string_view pattern = kPatterns[p];
    std::string matched(pattern.substr(0, (*held)[p]));
    std::string out;
    for (const char byte : bytes) {
      matched += byte;
      if (matched == pattern) {
        absl::StrAppend(&out, Replacement(pattern));
        matched.clear();
      }
      while (!absl::StartsWith(pattern, matched)) {
        out += matched[0];
        matched.erase(0, 1);
      }
    }
    (*held)[p] = static_cast<char>(matched.size());
    bytes = std::move(out);
  }
  return bytes;
}

// Makes each U+2581 a space, as MarianTokenizer does: its vocabulary may have pieces that the
// target's SentencePiece model does not know. `begins`: the text does; it has no space there.
std::string WithSpaces(absl::string_view bytes, bool begins) {
  const std::string text = absl::StrReplaceAll(bytes, {{"\xE2\x96\x81", " "}});
  return begins && absl::StartsWith(text, " ") ? text.substr(1) : text;
}

class Filter final : public Tokenizer {
 public:
  Filter(std::unique_ptr<const Tokenizer> inner, std::set<std::string> hidden,
         const ModelConfig& config)
      : inner_(std::move(inner)),
        hidden_(std::move(hidden)),
        clean_up_(config.target_tokenizer.clean_up),
        marian_(config.architecture == kMarian) {}

  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override {
    inner_->AppendWord(word, state, ready);
  }
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override {
    inner_->FinishWords(state, ready);
  }
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const override {
    if (hidden_.count(std::string(symbol)) > 0) return {};
    const bool begins = !state->begun;
    TargetBytes result = inner_->AppendSymbol(symbol, state);
    if (marian_) result.bytes = WithSpaces(result.bytes, begins);
    if (clean_up_) result.bytes = CleanUp(result.bytes, &state->clean_up);
    return result;
  }
  TargetBytes FinishSymbols(TokenizerState* state) const override {
    TargetBytes result = inner_->FinishSymbols(state);
    if (clean_up_) {
      result.bytes = CleanUp(result.bytes, &state->clean_up) + FinishCleanUp(&state->clean_up);
    }
    return result;
  }
  std::vector<std::string> Encode(absl::string_view text) const override {
    return inner_->Encode(text);
  }
  std::string Decode(const std::vector<std::string>& symbols) const override {
    std::vector<std::string> shown;
    for (const std::string& symbol : symbols) {
      if (hidden_.count(symbol) == 0) shown.push_back(symbol);
    }
    std::string text = inner_->Decode(shown);
    if (marian_) text = WithSpaces(text, /*begins=*/true);
    if (!clean_up_) return text;
    std::string held;
    std::string clean = CleanUp(text, &held);
    return clean + FinishCleanUp(&held);
  }
  std::vector<std::string> Pieces() const override { return inner_->Pieces(); }

 private:
  const std::unique_ptr<const Tokenizer> inner_;
  const std::set<std::string> hidden_;
  const bool clean_up_;
  const bool marian_;
};

}  // namespace

std::unique_ptr<const Tokenizer> FilterTarget(const ModelConfig& config,
                                              std::unique_ptr<const Tokenizer> tokenizer) {
  std::set<std::string> hidden(config.hidden_symbols.begin(), config.hidden_symbols.end());
  constexpr char kTarget[] = "{target}";
  if (config.frame.start == kTarget || absl::c_linear_search(config.frame.forced, kTarget)) {
    for (const LanguageConfig& language : config.languages) {
      if (!language.target_token.empty()) hidden.insert(language.target_token);
    }
  }
  if (hidden.empty() && !config.target_tokenizer.clean_up && config.architecture != kMarian) {
    return tokenizer;
  }
  return std::make_unique<Filter>(std::move(tokenizer), std::move(hidden), config);
}

std::string CleanUp(absl::string_view bytes, std::string* held) {
  held->resize(kPatternCount, '\0');
  return Replace(std::string(bytes), 0, held);
}

std::string FinishCleanUp(std::string* held) {
  held->resize(kPatternCount, '\0');
  std::string out;
  for (size_t p = 0; p < kPatternCount; ++p) {
    const auto length = static_cast<size_t>((*held)[p]);
    (*held)[p] = '\0';
    // The later patterns come after all that the earlier ones gave.
    out += Replace(std::string(kPatterns[p].substr(0, length)), p + 1, held);
  }
  return out;
}

}  // namespace leapstream
