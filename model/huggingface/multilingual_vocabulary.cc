#include "model/huggingface/vocabulary_parts.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/sentencepiece.h"
#include "model/api/vocabulary.h"
#include "model/huggingface/json_file.h"
#include "model/huggingface/languages.h"

namespace leapstream {
namespace {

constexpr char kSentencePieceFile[] = "sentencepiece.bpe.model";
constexpr char kMask[] = "<mask>";

// Symbols in the order of their ids, each of them once.
class SymbolList {
 public:
  explicit SymbolList(std::vector<std::string> symbols = {}) {
    for (std::string& symbol : symbols) Add(std::move(symbol));
  }
  // Adds a symbol. A symbol that is there already belongs to the earlier id alone: the new id gets
  // a name that no text has.
  void Add(std::string symbol) {
    if (!known_.emplace(symbol, symbols_.size()).second) return AddFiller();
    symbols_.push_back(std::move(symbol));
  }
  // Adds an id that no text has, named as fairseq names such ids.
  void AddFiller() {
    std::string name;
    do {
      char digits[16];
      std::snprintf(digits, sizeof(digits), "%04d", fillers_++);
      name = absl::StrCat("madeupword", digits);
    } while (!known_.emplace(name, symbols_.size()).second);
    filled_.push_back(name);
    symbols_.push_back(std::move(name));
  }
  void Replace(size_t id, const std::string& symbol) {
    const auto before = known_.find(symbols_[id]);
    if (before != known_.end() && before->second == id) known_.erase(before);
    symbols_[id] = symbol;
    known_[symbol] = id;
  }
  // The id of a symbol, the one that got it last if there are two; size() if there is none.
  size_t Find(const std::string& symbol) const {
    const auto found = known_.find(symbol);
    return found == known_.end() ? size() : found->second;
  }

  size_t size() const { return symbols_.size(); }
  const std::vector<std::string>& symbols() const { return symbols_; }
  const std::vector<std::string>& fillers() const { return filled_; }

 private:
  std::vector<std::string> symbols_;
  std::map<std::string, size_t> known_;  // The ids.
  std::vector<std::string> filled_;
  int fillers_ = 0;
};

std::vector<TokenId> OwnRows(size_t count) {
  std::vector<TokenId> rows(count);
  for (size_t i = 0; i < count; ++i) rows[i] = static_cast<TokenId>(i);
  return rows;
}

// The form of a language's token in these vocabularies: __en__, or eng_Latn and en_XX.
bool IsLanguageToken(FolderTokenizer tokenizer, absl::string_view token) {
  if (tokenizer == FolderTokenizer::kM2m100) {
    return token.size() > 4 && absl::StartsWith(token, "__") && absl::EndsWith(token, "__");
  }
  const size_t bar = token.find('_');
  return (bar == 2 || bar == 3) && token.size() > bar + 1 && token.size() <= bar + 5 &&
         absl::c_all_of(token.substr(0, bar), absl::ascii_islower) &&
         absl::c_all_of(token.substr(bar + 1), absl::ascii_isalpha);
}

struct TableRow {
  FolderTokenizer tokenizer;
  LanguageTable table;
  bool has_mask;    // <mask> follows the languages.
  size_t nameless;  // The most rows after those that have no name.
};
constexpr TableRow kTables[] = {
    {FolderTokenizer::kM2m100, LanguageTable::kM2m100, false, 8},
    {FolderTokenizer::kNllb, LanguageTable::kNllb, true, 2},
    {FolderTokenizer::kMbart, LanguageTable::kMbart25, true, 0},
    {FolderTokenizer::kMbart50, LanguageTable::kMbart50, true, 0}};

// The pieces in front of the languages.
absl::StatusOr<SymbolList> ReadPieces(const std::string& directory, FolderTokenizer tokenizer) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto pieces, LoadPieces(directory, kSentencePieceFile));
  if (tokenizer == FolderTokenizer::kM2m100) {
    LEAPSTREAM_ASSIGN_OR_RETURN(auto symbols, ReadVocabularyJson(directory, "vocab.json"));
    LEAPSTREAM_RETURN_IF_ERROR(CheckSpecials(symbols, PathOf(directory, "vocab.json")));
    return SymbolList(std::move(symbols));
  }
  // A piece's id is SentencePiece's plus one. SentencePiece begins with <unk>, <s> and </s>.
  const std::vector<std::string> all = pieces->AllPieces();
  for (size_t id = 0; id < 3; ++id) {
    const PieceKind wanted = id == 0 ? PieceKind::kUnknown : PieceKind::kControl;
    if (id < all.size() && pieces->Kind(all[id]) == wanted) continue;
    return absl::UnimplementedError(absl::StrCat(
        PathOf(directory, kSentencePieceFile), ": expected <unk>, <s> and </s> as its first pieces, "
        "found ", Quoted(id < all.size() ? all[id] : "")));
  }
  SymbolList symbols(std::vector<std::string>(std::begin(kSpecials), std::end(kSpecials)));
  for (size_t id = 3; id < all.size(); ++id) symbols.Add(all[id]);
  return symbols;
}

// Applies the tokens that the folder's files add to the vocabulary: new languages, or the table's
// languages in another order.
absl::Status ApplyAdded(const FolderConfig& config, size_t pieces, size_t rows,
                        SymbolList* symbols) {
  const auto is_wrong_mask = [&](const AddedToken& token) {
    // transformers 4.57 wrote such files for NLLB: all languages are one too high in them.
    return token.content == kMask && static_cast<size_t>(token.id) == pieces;
  };
  if (absl::c_any_of(config.added, is_wrong_mask)) return absl::OkStatus();
  for (const AddedToken& token : config.added) {
    const auto id = static_cast<size_t>(token.id);
    if (id < symbols->size() && symbols->symbols()[id] == token.content) continue;
    if (id < pieces || id >= rows) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added token ", Quoted(token.content), " has the id ", token.id, ", expected one in [",
          pieces, ", ", rows, "): after the pieces, and with a row of the embedding"));
    }
    if (!token.special && token.content != kMask) {
      return absl::UnimplementedError(absl::StrCat(
          "added token ", Quoted(token.content), " (id ", token.id,
          ") is ordinary text that transformers cuts out before SentencePiece; that is not served"));
    }
    while (symbols->size() <= id) symbols->AddFiller();
    const size_t before = symbols->Find(token.content);
    if (before >= pieces && before < symbols->size()) {
      symbols->Replace(before, absl::StrCat("madeupword", token.content));
    }
    symbols->Replace(id, token.content);
  }
  return absl::OkStatus();
}

absl::StatusOr<FolderTokenizer> TokenizerOf(const std::string& directory,
                                            const FolderConfig& config, int rows) {
  if (config.tokenizer.has_value()) return *config.tokenizer;
  if (config.family == FolderFamily::kM2m100) {
    const auto json = FileBytes::Read(PathOf(directory, "vocab.json"), kMaxFolderJsonBytes);
    if (!json.ok() && !absl::IsNotFound(json.status())) return json.status();
    return json.ok() ? FolderTokenizer::kM2m100 : FolderTokenizer::kNllb;
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto pieces, LoadPieces(directory, kSentencePieceFile));
  const size_t languages = FolderLanguages(LanguageTable::kMbart50).size();
  const bool fifty = static_cast<size_t>(rows) == pieces->AllPieces().size() + languages + 2;
  return fifty ? FolderTokenizer::kMbart50 : FolderTokenizer::kMbart;
}

// The tokens around a segment. `is_language`: whether an id is a language's.
absl::Status ReadFrame(const FolderConfig& config, FolderTokenizer tokenizer,
                       const std::vector<std::string>& symbols, FolderVocabulary* result) {
  FrameConfig& frame = result->frame;
  const auto code_of = [&](TokenId id) -> std::string {
    if (static_cast<size_t>(id) >= symbols.size()) return "";
    for (const LanguageConfig& language : result->languages) {
      if (language.target_token == symbols[id]) return language.code;
    }
    return "";
  };
  const bool at_end = tokenizer == FolderTokenizer::kMbart ||
                      (tokenizer == FolderTokenizer::kNllb && config.legacy_behaviour);
  if (at_end) {
    frame.source_tail = {"</s>", "{source}"};
  } else {
    frame.source_lead = {"{source}"};
  }
  const auto unserved = [](absl::string_view key, TokenId id, absl::string_view expected) {
    return absl::UnimplementedError(
        absl::StrCat("generation_config.json: ", key, " ", id, " is not served with this tokenizer; "
                     "expected ", expected));
  };
  if (tokenizer == FolderTokenizer::kMbart) {
    frame.start = "{target}";
    if (config.start.has_value()) result->target_language = code_of(*config.start);
    if (config.start.has_value() && result->target_language.empty()) {
      return unserved("decoder_start_token_id", *config.start, "the id of a language");
    }
    if (config.forced.has_value()) {
      return unserved("forced_bos_token_id", *config.forced, "none");
    }
    return absl::OkStatus();
  }
  if (config.start.value_or(kEndOfSentence) != kEndOfSentence) {
    return unserved("decoder_start_token_id", *config.start, "2 (</s>)");
  }
  frame.forced = {"{target}"};
  if (config.forced.has_value()) {
    result->target_language = code_of(*config.forced);
    if (result->target_language.empty()) {
      return unserved("forced_bos_token_id", *config.forced, "none, or the id of a language");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FolderVocabulary> ReadMultilingual(const std::string& directory,
                                                  const FolderConfig& config, int rows) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const FolderTokenizer tokenizer,
                              TokenizerOf(directory, config, rows));
  TableRow table = *absl::c_find_if(
      kTables, [&](const TableRow& row) { return row.tokenizer == tokenizer; });
  if (config.wmt21 && tokenizer == FolderTokenizer::kM2m100) table.table = LanguageTable::kWmt21;
  LEAPSTREAM_ASSIGN_OR_RETURN(SymbolList symbols, ReadPieces(directory, tokenizer));
  const size_t pieces = symbols.size();
  const std::vector<std::string> codes = FolderLanguages(table.table);
  for (const std::string& code : codes) {
    symbols.Add(tokenizer == FolderTokenizer::kM2m100 ? absl::StrCat("__", code, "__") : code);
  }
  if (table.has_mask) symbols.Add(kMask);
  const size_t named = symbols.size();
  const auto all_rows = static_cast<size_t>(rows);
  LEAPSTREAM_RETURN_IF_ERROR(ApplyAdded(config, pieces, all_rows, &symbols));
  const auto wrong_rows = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(
        directory, ": the embedding has ", rows, " rows, the vocabulary explains ", symbols.size(),
        " (", pieces, " pieces, ", symbols.size() - pieces, " languages and others); ", what));
  };
  if (all_rows < named || all_rows < symbols.size()) {
    return wrong_rows("fetch the tokenizer's files that belong to the weights");
  }
  if (all_rows > symbols.size() + table.nameless) {
    return wrong_rows(
        "fetch added_tokens.json or tokenizer_config.json, which name the tokens that were added");
  }
  while (symbols.size() < all_rows) symbols.AddFiller();

  FolderVocabulary result;
  result.source.symbols = symbols.symbols();
  result.source.rows = OwnRows(symbols.size());
  result.target = result.source;
  for (size_t id = pieces; id < symbols.size(); ++id) {
    const std::string& token = symbols.symbols()[id];
    if (!IsLanguageToken(tokenizer, token)) continue;
    const bool m2m = tokenizer == FolderTokenizer::kM2m100;
    result.languages.push_back({m2m ? token.substr(2, token.size() - 4) : token, token, token});
  }
  // All but the pieces and the languages; the languages stand in no text anyway.
  for (size_t id = pieces; id < symbols.size(); ++id) {
    const std::string& token = symbols.symbols()[id];
    if (!IsLanguageToken(tokenizer, token)) result.hidden.push_back(token);
  }
  result.files.source_tokenizer = result.files.target_tokenizer =
      PathOf(directory, kSentencePieceFile);
  LEAPSTREAM_RETURN_IF_ERROR(ReadFrame(config, tokenizer, result.target.symbols, &result));
  return result;
}

}  // namespace leapstream
