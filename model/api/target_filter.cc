#include "model/api/target_filter.h"

#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// The patterns in the order in which they are replaced
// (transformers/tokenization_utils_base.py, clean_up_tokenization). Each loses its spaces.
constexpr absl::string_view kPatterns[] = {" .",  " ?",  " !",  " ,",   " ' ",
                                           " n't", " 'm", " 's", " 've", " 're"};
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

class Filter final : public Tokenizer {
 public:
  Filter(std::unique_ptr<const Tokenizer> inner, std::set<std::string> hidden, bool clean_up)
      : inner_(std::move(inner)), hidden_(std::move(hidden)), clean_up_(clean_up) {}

  void AppendWord(absl::string_view word, TokenizerState* state,
                  std::vector<Symbols>* ready) const override {
    inner_->AppendWord(word, state, ready);
  }
  void FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const override {
    inner_->FinishWords(state, ready);
  }
  TargetBytes AppendSymbol(absl::string_view symbol, TokenizerState* state) const override {
    if (hidden_.count(std::string(symbol)) > 0) return {};
    TargetBytes result = inner_->AppendSymbol(symbol, state);
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
    const std::string text = inner_->Decode(shown);
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
  const bool clean_up = config.target_tokenizer.clean_up;
  if (hidden.empty() && !clean_up) return tokenizer;
  return std::make_unique<Filter>(std::move(tokenizer), std::move(hidden), clean_up);
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
