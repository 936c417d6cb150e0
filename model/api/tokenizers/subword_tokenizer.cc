#include "model/api/tokenizers/subword_tokenizer.h"

#include <algorithm>
#include <any>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/budget.h"
#include "base/scripts.h"
#include "base/status.h"
#include "base/utf8.h"
#include "model/api/sentencepiece.h"
#include "model/api/tokenizers/code_points.h"
#include "model/api/tokenizers/lower_case.h"

namespace leapstream {

char32_t CharacterOfByte(unsigned char byte) {
  const bool printable =
      (byte >= 32 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174);
  return printable ? byte : 256u + byte;
}

namespace {

constexpr char32_t kSpacePoint = 0x2581;

// The byte that a character stands for; -1: none.
int ByteOfCharacter(char32_t c) {
  const char32_t byte = c < 256 ? c : c - 256;
  return byte < 256 && CharacterOfByte(static_cast<unsigned char>(byte)) == c
             ? static_cast<int>(byte)
             : -1;
}

// Appends the characters of `bytes` to *text, and leaves out bytes that are part of none. Returns
// the bytes at the end that more bytes could complete.
std::string AppendCharacters(absl::string_view bytes, std::string* text) {
  while (!bytes.empty()) {
    size_t size = 1;
    char32_t c = 0;
    const Utf8 found = ReadUtf8(bytes, &size, &c);
    if (found == Utf8::kPrefix) break;
    if (found == Utf8::kCharacter) {
      text->append(bytes.data(), size);
    } else {
      size = 1;
    }
    bytes.remove_prefix(size);
  }
  return std::string(bytes);
}

// The size of `text` without the white space at its end.
size_t SizeWithoutTrailingSpace(absl::string_view text) {
  size_t size = 0;
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    char32_t c = 0;
    if (ReadUtf8(text.substr(at), &length, &c) != Utf8::kCharacter) length = 1;
    at += length;
    if (!IsPythonSpace(c)) size = at;
  }
  return size;
}

// Calls `word` for each word between white space.
template <typename Word>
void ForEachWord(absl::string_view text, const Word& word) {
  size_t begin = 0;
  for (size_t at = 0; at <= text.size();) {
    size_t length = 1;
    char32_t c = 0;
    const bool ends = at == text.size();
    if (!ends && ReadUtf8(text.substr(at), &length, &c) != Utf8::kCharacter) length = 1;
    if (ends || IsPythonSpace(c)) {
      if (at > begin) word(text.substr(begin, at - begin));
      begin = at + length;
    }
    at += length;
  }
}

// The size of the white space that `text` begins with.
size_t LeadingSpace(absl::string_view text) {
  size_t size = 0;
  for (size_t length = 1; size < text.size(); size += length) {
    char32_t c = 0;
    if (ReadUtf8(text.substr(size), &length, &c) != Utf8::kCharacter || !IsPythonSpace(c)) break;
  }
  return size;
}

// The size of `text` up to its last character of a script without spaces; 0: it has none.
size_t EndOfScriptWithoutSpaces(absl::string_view text) {
  size_t end = 0;
  for (size_t at = 0, size = 1; at < text.size(); at += size) {
    char32_t c = 0;
    if (ReadUtf8(text.substr(at), &size, &c) != Utf8::kCharacter) {
      size = 1;
    } else if (IsOfScriptWithoutSpaces(c)) {
      end = at + size;
    }
  }
  return end;
}

// The language of Moses' rules for a language code, such as "de" for "de_DE" and "DE".
std::string MosesLanguage(absl::string_view code) {
  return absl::AsciiStrToLower(code.substr(0, code.find_first_of("_-")));
}

template <typename Memory>
Memory* Own(TokenizerState* state) {
  if (!state->own.has_value()) state->own.emplace<Memory>();
  return std::any_cast<Memory>(&state->own);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const SubwordTokenizer>> SubwordTokenizer::Create(
    const TokenizerConfig& config, const TokenizerFiles& files) {
  std::unique_ptr<SubwordTokenizer> tokenizer(new SubwordTokenizer());
  tokenizer->lowercase_ = config.lowercase;
  tokenizer->cuts_at_spaces_ = config.tokenizer == "none";
  if (config.bpe == "characters") {
    tokenizer->bpe_ = Bpe::kCharacters;
  } else if (config.bpe == "bytes") {
    tokenizer->bpe_ = Bpe::kBytes;
  } else if (config.bpe != "none") {
    tokenizer->bpe_ = Bpe::kCodes;
    if (!files.bpe_codes.name.empty()) {
      LEAPSTREAM_ASSIGN_OR_RETURN(
          tokenizer->codes_,
          BpeCodes::Parse(files.bpe_codes.bytes,
                          config.bpe == "fastbpe" ? BpeCodes::Format::kFastBpe
                                                  : BpeCodes::Format::kSubwordNmt,
                          files.bpe_codes.name));
      if (config.bpe_vocabulary_threshold > 0) {
        LEAPSTREAM_RETURN_IF_ERROR(tokenizer->codes_->SetVocabulary(
            files.bpe_vocabulary.bytes, config.bpe_vocabulary_threshold,
            files.bpe_vocabulary.name));
      }
    }
  }
  if (config.tokenizer == "moses") {
    const std::string language = MosesLanguage(config.moses_language);
    MosesTokenizer::Options options;
    options.language = language;
    options.dash_splits = !config.moses_no_dash_splits;
    options.escape = !config.moses_no_escape;
    LEAPSTREAM_ASSIGN_OR_RETURN(tokenizer->moses_,
                                MosesTokenizer::Create(std::move(options), files.prefixes.bytes,
                                                       files.prefixes.name));
    tokenizer->detokenizer_.emplace(language);
  }
  return std::unique_ptr<const SubwordTokenizer>(std::move(tokenizer));
}

SubwordTokenizer::Symbols SubwordTokenizer::ToSymbols(const std::vector<std::string>& tokens,
                                                      bool* begun) const {
  Symbols symbols;
  for (const std::string& raw : tokens) {
    const std::string token = lowercase_ ? LowerCase(raw) : raw;
    if (bpe_ == Bpe::kNone) {
      symbols.push_back(token);
    } else if (bpe_ == Bpe::kCodes) {
      std::vector<std::string> parts =
          codes_.has_value() ? codes_->Symbols(token) : std::vector<std::string>{token};
      for (const std::string& part : parts) {
        ForEachWord(part, [&symbols](absl::string_view word) { symbols.emplace_back(word); });
      }
    } else {
      if (*begun) symbols.push_back(kSpaceSymbol);
      if (bpe_ == Bpe::kCharacters) {
        for (const char32_t c : ToCodePoints(token)) {
          if (!IsPythonSpace(c)) symbols.push_back(ToUtf8({&c, 1}));
        }
      } else {
        for (const char byte : token) {
          const char32_t c = CharacterOfByte(static_cast<unsigned char>(byte));
          symbols.push_back(ToUtf8({&c, 1}));
        }
      }
    }
    *begun = true;
  }
  return symbols;
}

void SubwordTokenizer::AppendWord(absl::string_view word, TokenizerState* state,
                                  std::vector<Symbols>* ready) const {
  if (!moses_.has_value()) {
    // fairseq strips a line: white space at the ends of a text is no part of its words.
    const bool all_space = SizeWithoutTrailingSpace(word) == 0;
    if (state->begun || !state->held.empty() || !all_space) {
      if (!state->begun && state->held.empty()) word.remove_prefix(LeadingSpace(word));
      absl::StrAppend(&state->held, state->held.empty() ? "" : " ", word);
      const bool may_change = SizeWithoutTrailingSpace(word) < word.size();
      if (!may_change || state->held.size() > 2 * budget::kWordBytes) {
        GiveHeld(/*ends=*/false, state, ready);
      }
    } else {
      ready->push_back({});
    }
    return;
  }
  std::vector<MosesTokenizer::Tokens> words;
  moses_->AppendWord(word, Own<MosesContext>(state), &words);
  for (const auto& tokens : words) ready->push_back(ToSymbols(tokens, &state->begun));
}

int64_t SubwordTokenizer::PeekWord(absl::string_view beginning, TokenizerState* state,
                                   std::vector<Symbols>* ready, Symbols* early) const {
  if (!moses_.has_value()) {
    if (SizeWithoutTrailingSpace(beginning) == 0) return 0;
    GiveHeld(/*ends=*/false, state, ready);
    if (bpe_ != Bpe::kCharacters && bpe_ != Bpe::kBytes) return 0;
    // Each character is by itself. Those after the last one of a script without spaces wait, as
    // with SentencePiece.
    const absl::string_view settled = beginning.substr(0, EndOfScriptWithoutSpaces(beginning));
    if (settled.empty()) return 0;
    bool begun = state->begun;
    Symbols symbols = ToSymbols({std::string(settled)}, &begun);
    const auto* const given = std::any_cast<size_t>(&state->own);
    const size_t before = given == nullptr ? 0 : *given;
    if (symbols.size() > before) {
      state->own = symbols.size();
      std::move(symbols.begin() + static_cast<int64_t>(before), symbols.end(),
                std::back_inserter(*early));
    }
    return static_cast<int64_t>(settled.size());
  }
  std::vector<MosesTokenizer::Tokens> words;
  moses_->Peek(beginning, Own<MosesContext>(state), &words);
  for (const auto& tokens : words) ready->push_back(ToSymbols(tokens, &state->begun));
  return 0;
}

void SubwordTokenizer::FinishWords(TokenizerState* state, std::vector<Symbols>* ready) const {
  if (!moses_.has_value()) return GiveHeld(/*ends=*/true, state, ready);
  std::vector<MosesTokenizer::Tokens> words;
  moses_->Finish(Own<MosesContext>(state), &words);
  for (const auto& tokens : words) ready->push_back(ToSymbols(tokens, &state->begun));
}

void SubwordTokenizer::GiveHeld(bool ends, TokenizerState* state,
                                std::vector<Symbols>* ready) const {
  if (state->held.empty()) return;
  const std::string held = std::exchange(state->held, {});
  const size_t size = ends ? SizeWithoutTrailingSpace(held) : held.size();
  for (size_t begin = 0; begin <= held.size();) {
    const size_t end = std::min(held.find(' ', begin), held.size());
    const size_t kept = std::min(end, std::max(size, begin));
    if (kept > begin) {
      Symbols symbols = ToSymbols({held.substr(begin, kept - begin)}, &state->begun);
      if (const auto* const given = std::any_cast<size_t>(&state->own)) {
        symbols.erase(symbols.begin(),
                      symbols.begin() + static_cast<int64_t>(std::min(*given, symbols.size())));
        state->own.reset();
      }
      ready->push_back(std::move(symbols));
    } else {
      ready->push_back({});
    }
    begin = end + 1;
  }
}

std::string SubwordTokenizer::WithoutBpe(absl::string_view symbol, TokenizerState* state) const {
  std::string text;
  switch (bpe_) {
    case Bpe::kNone:
      // A space joins the symbols. At the end of the text there is none.
      if (state->begun) text = " ";
      absl::StrAppend(&text, symbol);
      break;
    case Bpe::kCodes: {
      // A space follows each symbol that does not end in "@@". At the end of the text all white
      // space goes.
      text = std::exchange(state->held, {});
      const bool joined = absl::ConsumeSuffix(&symbol, "@@");
      absl::StrAppend(&text, symbol, joined ? "" : " ");
      if (!detokenizer_.has_value()) {
        const size_t size = SizeWithoutTrailingSpace(text);
        state->held = text.substr(size);
        text.resize(size);
      }
      break;
    }
    case Bpe::kCharacters:
      text = absl::StrReplaceAll(symbol, {{" ", ""}, {kSpaceSymbol, " "}});
      break;
    case Bpe::kBytes: {
      std::string bytes = std::exchange(state->held, {});
      for (const char32_t c : ToCodePoints(symbol)) {
        const int byte = c == kSpacePoint ? ' ' : c == U' ' ? -1 : ByteOfCharacter(c);
        if (byte >= 0) bytes.push_back(static_cast<char>(byte));
      }
      state->held = AppendCharacters(bytes, &text);
      break;
    }
  }
  state->begun = true;
  return text;
}

bool SubwordTokenizer::BeginsWord(absl::string_view previous, absl::string_view symbol) const {
  switch (bpe_) {
    case Bpe::kNone:
      return true;
    case Bpe::kCodes:
      return !absl::EndsWith(previous, "@@");
    case Bpe::kCharacters:
    case Bpe::kBytes:
      break;
  }
  return Tokenizer::BeginsWord(previous, symbol);
}

TargetBytes SubwordTokenizer::AppendSymbol(absl::string_view symbol, TokenizerState* state) const {
  TargetBytes result;
  if (symbol == "<s>" || symbol == "</s>") return result;  // fairseq leaves them out of texts.
  const std::string text = WithoutBpe(symbol, state);
  result.bytes = detokenizer_.has_value()
                     ? detokenizer_->Append(text, Own<MosesTarget>(state))
                     : text;
  return result;
}

TargetBytes SubwordTokenizer::FinishSymbols(TokenizerState* state) const {
  TargetBytes result;
  if (detokenizer_.has_value()) result.bytes = detokenizer_->Finish(Own<MosesTarget>(state));
  state->held.clear();
  return result;
}

std::vector<std::string> SubwordTokenizer::Encode(absl::string_view text) const {
  TokenizerState state;
  std::vector<Symbols> words;
  const bool spaces_only = cuts_at_spaces_only();
  const std::u32string points = ToCodePoints(text);
  const auto ends_word = [spaces_only](char32_t c) {
    return spaces_only ? c == U' ' || c == U'\n' || c == U'\r' : IsPythonSpace(c);
  };
  for (size_t begin = 0; begin < points.size();) {
    size_t end = begin;
    // As in a stream, no word is longer: the time of BPE is quadratic in it.
    while (end < points.size() && !ends_word(points[end]) && end - begin < budget::kWordBytes) ++end;
    if (end > begin) AppendWord(ToUtf8({points.data() + begin, end - begin}), &state, &words);
    begin = end < points.size() && ends_word(points[end]) ? end + 1 : end;
  }
  FinishWords(&state, &words);
  std::vector<std::string> symbols;
  for (Symbols& word : words) {
    for (std::string& symbol : word) symbols.push_back(std::move(symbol));
  }
  return symbols;
}

std::string SubwordTokenizer::Decode(const std::vector<std::string>& symbols) const {
  TokenizerState state;
  std::string text;
  for (const std::string& symbol : symbols) text += AppendSymbol(symbol, &state).bytes;
  return text + FinishSymbols(&state).bytes;
}

std::vector<std::string> SubwordTokenizer::Pieces() const {
  return codes_.has_value() ? codes_->Pieces() : std::vector<std::string>();
}

}  // namespace leapstream
