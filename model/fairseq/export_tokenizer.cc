#include "model/fairseq/export_tokenizer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/model_directory.h"
#include "model/engine/model_family.h"
#include "model/fairseq/option_table.h"

namespace leapstream {
namespace {

constexpr char kServedBpes[] = "sentencepiece, subword_nmt, fastbpe, characters, bytes, none";
constexpr char kServedTokenizers[] = "none, space, moses";

// The value of a fairseq option of the checkpoint; empty: it has none.
std::string Recorded(const ModelConfig& config, const char* option) {
  const auto found = config.fairseq_options.find(option);
  return found == config.fairseq_options.end() || IsOff(found->second) ? "" : found->second;
}

absl::StatusOr<bool> HasThreeColumns(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxTextFileBytes));
  const absl::string_view text = file->bytes();
  absl::string_view line = text.substr(0, text.find('\n'));
  while (absl::EndsWith(line, "\r") || absl::EndsWith(line, " ")) line.remove_suffix(1);
  int spaces = 0;
  for (const char c : line) spaces += c == ' ' ? 1 : 0;
  return spaces == 2;
}

absl::Status NotServed(absl::string_view kind, absl::string_view name, absl::string_view served,
                       absl::string_view flag) {
  std::string why;
  if (name == "gpt2" || name == "hf_byte_bpe" || name == "bert" || name == "byte_bpe") {
    why = ", and no translation model of fairseq is published with it";
  } else if (name == "nltk") {
    why = ", since it needs the whole sentence";
  }
  return absl::UnimplementedError(absl::StrCat(
      kind, " ", Quoted(std::string(name)), " is not served", why, "; served are ", served,
      ". If the model's dictionary is of one of these, give ", flag,
      "; otherwise send pieces or token ids, after an export with ", flag, " none"));
}

absl::StatusOr<std::string> ChooseBpe(const ExportOptions& options, const ModelConfig& config) {
  const TokenizerOptions& given = options.tokenizer;
  std::string bpe = given.bpe;
  const bool has_spm =
      !options.source_sentencepiece.empty() || !options.target_sentencepiece.empty();
  if (bpe.empty() && has_spm) bpe = "sentencepiece";
  if (bpe.empty()) bpe = Recorded(config, "bpe");
  if (bpe.empty() && !given.bpe_codes.empty()) {
    bool three = false;
    LEAPSTREAM_ASSIGN_OR_RETURN(three, HasThreeColumns(given.bpe_codes));
    bpe = three ? "fastbpe" : "subword_nmt";
  }
  if (bpe.empty()) bpe = "sentencepiece";
  if (!absl::StrContains(absl::StrCat(", ", kServedBpes, ","), absl::StrCat(", ", bpe, ","))) {
    return NotServed("bpe", bpe, kServedBpes, "--bpe");
  }
  if (bpe != "sentencepiece" && has_spm) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bpe ", bpe,
        " takes no SentencePiece model; leave --source-spm and --target-spm out, or --bpe"));
  }
  return bpe;
}

absl::StatusOr<std::string> ChooseTokenizer(const ExportOptions& options,
                                            const ModelConfig& config) {
  std::string tokenizer = options.tokenizer.tokenizer;
  if (tokenizer.empty()) tokenizer = Recorded(config, "tokenizer");
  if (tokenizer.empty()) tokenizer = "none";
  if (!absl::StrContains(absl::StrCat(", ", kServedTokenizers, ","),
                         absl::StrCat(", ", tokenizer, ","))) {
    return NotServed("tokenizer", tokenizer, kServedTokenizers, "--tokenizer");
  }
  return tokenizer;
}

absl::Status Unused(const char* flag, absl::string_view needs) {
  return absl::InvalidArgumentError(
      absl::StrCat(flag, " is for ", needs, "; leave it out, or choose that"));
}

// Checks that no option is given that the chosen tokenizer has no use for.
absl::Status CheckUsed(const TokenizerOptions& given, const TokenizerConfig& chosen,
                       bool has_source) {
  const bool codes = chosen.bpe == "subword_nmt" || chosen.bpe == "fastbpe";
  const bool moses = chosen.tokenizer == "moses";
  if (!codes && !given.bpe_codes.empty()) {
    return Unused("--bpe-codes", "--bpe subword_nmt or fastbpe");
  }
  if (codes && has_source && given.bpe_codes.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("bpe ", chosen.bpe, " needs --bpe-codes, the file that the training's source "
                     "text was encoded with"));
  }
  if ((given.bpe_vocabulary_threshold > 0) != !given.bpe_vocabulary.empty()) {
    return absl::InvalidArgumentError(
        "--bpe-vocabulary and --bpe-vocabulary-threshold go together; give both or neither");
  }
  if (!codes && !given.bpe_vocabulary.empty()) {
    return Unused("--bpe-vocabulary", "--bpe subword_nmt or fastbpe");
  }
  if (!moses && (!given.prefixes.empty() || !given.moses_source_language.empty() ||
                 !given.moses_target_language.empty() || given.moses_no_dash_splits ||
                 given.moses_no_escape)) {
    return Unused("an option of Moses", "--tokenizer moses");
  }
  if (chosen.bpe == "sentencepiece" && (given.lowercase || chosen.tokenizer != "none")) {
    return absl::UnimplementedError(absl::StrCat(
        "a SentencePiece model behind ",
        given.lowercase ? "--lowercase" : absl::StrCat("tokenizer ", chosen.tokenizer),
        " is not served; a SentencePiece model that was trained on raw text needs neither: give "
        "--tokenizer none"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ChooseTokenizers(const ExportOptions& options, ModelConfig* config,
                              std::vector<std::string>* notes) {
  const TokenizerOptions& given = options.tokenizer;
  const bool has_source = FamilyOf(*config).has_source_vocabulary;
  TokenizerConfig chosen;
  LEAPSTREAM_ASSIGN_OR_RETURN(chosen.bpe, ChooseBpe(options, *config));
  LEAPSTREAM_ASSIGN_OR_RETURN(chosen.tokenizer, ChooseTokenizer(options, *config));
  // A SentencePiece model takes words between white space as they are, so `space` does nothing.
  if (chosen.bpe == "sentencepiece" && chosen.tokenizer == "space") chosen.tokenizer = "none";
  LEAPSTREAM_RETURN_IF_ERROR(CheckUsed(given, chosen, has_source));
  if (chosen.bpe == "sentencepiece" && given.bpe.empty() &&
      !Recorded(*config, "sentencepiece_enable_sampling").empty()) {
    return absl::UnimplementedError(
        "sentencepiece_enable_sampling is on in the checkpoint, so that fairseq draws the pieces "
        "of a word by chance, which is not served; give --bpe sentencepiece for the best pieces");
  }
  const std::string separator = Recorded(*config, "bpe_separator");
  if (chosen.bpe == "subword_nmt" && !separator.empty() && separator != "@@") {
    return absl::UnimplementedError(absl::StrCat("bpe_separator ", Quoted(separator),
                                                 " is not served; subword-nmt's own is @@"));
  }
  const bool moses = chosen.tokenizer == "moses";
  if (moses) {
    chosen.moses_no_dash_splits =
        given.moses_no_dash_splits || !Recorded(*config, "moses_no_dash_splits").empty();
    chosen.moses_no_escape = given.moses_no_escape || !Recorded(*config, "moses_no_escape").empty();
  }
  config->target_tokenizer = chosen;
  config->source_tokenizer = chosen;
  config->source_tokenizer.lowercase = given.lowercase;
  config->source_tokenizer.bpe_vocabulary_threshold = given.bpe_vocabulary_threshold;
  if (moses) {
    config->source_tokenizer.moses_language = given.moses_source_language.empty()
                                                  ? config->source_language
                                                  : given.moses_source_language;
    config->target_tokenizer.moses_language = given.moses_target_language.empty()
                                                  ? config->target_language
                                                  : given.moses_target_language;
  }
  if (!has_source) config->source_tokenizer = TokenizerConfig();
  if (moses && has_source && given.prefixes.empty()) {
    notes->push_back(absl::StrCat(
        "no non-breaking prefixes are given, so the full stop of an abbreviation is cut off: `Dr.` "
        "becomes `Dr` and `.`; give Moses' nonbreaking_prefix.",
        config->source_tokenizer.moses_language, " with --nonbreaking-prefixes"));
  }
  if (!moses && chosen.bpe != "sentencepiece" && given.tokenizer.empty() && has_source) {
    notes->push_back(absl::StrCat(
        "source text is taken to be cut into tokens already, as bpe ", chosen.bpe,
        " with tokenizer none does; if the training text went through Moses, give --tokenizer "
        "moses"));
  }
  return absl::OkStatus();
}

std::vector<std::pair<std::string, const char*>> TokenizerFilePaths(const ExportOptions& options,
                                                                    const ModelConfig& config) {
  std::vector<std::pair<std::string, const char*>> paths;
  const auto add = [&paths](const std::string& path, const char* name) {
    if (!path.empty()) paths.emplace_back(path, name);
  };
  add(options.source_sentencepiece, kSourceSentencePieceFile);
  add(options.target_sentencepiece, kTargetSentencePieceFile);
  if (FamilyOf(config).has_source_vocabulary) {
    add(options.tokenizer.bpe_codes, kSourceBpeCodesFile);
    add(options.tokenizer.bpe_vocabulary, kSourceBpeVocabularyFile);
    add(options.tokenizer.prefixes, kSourcePrefixesFile);
  }
  return paths;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadBpeCodes(const TokenizerOptions& options) {
  TokenizerConfig config;
  config.bpe = options.bpe;
  if (config.bpe != "fastbpe" && config.bpe != "subword_nmt") {
    bool three = false;
    LEAPSTREAM_ASSIGN_OR_RETURN(three, HasThreeColumns(options.bpe_codes));
    config.bpe = three ? "fastbpe" : "subword_nmt";
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file,
                              FileBytes::Read(options.bpe_codes, kMaxTextFileBytes));
  TokenizerFiles files;
  files.bpe_codes = {file->bytes(), options.bpe_codes};
  return Tokenizer::Create(config, files);
}

}  // namespace leapstream
