#include "model/fairseq/open_checkpoint.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "base/utf8.h"
#include "model/api/file_bytes.h"
#include "model/fairseq/checkpoint_options.h"
#include "model/fairseq/languages.h"

namespace leapstream {
namespace {

constexpr int64_t kMaxLanguageFileBytes = 1 << 20;

// The languages of the file that fairseq's --lang-dict names: one a line.
absl::StatusOr<std::string> ReadLanguageFile(const std::string& path) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto file, FileBytes::Read(path, kMaxLanguageFileBytes));
  if (!IsUtf8(file->bytes())) return absl::InvalidArgumentError(path + ": not UTF-8");
  const std::vector<std::string> languages = OptionItems(file->bytes());
  if (languages.empty()) {
    return absl::InvalidArgumentError(path + ": holds no languages; one a line is expected");
  }
  return absl::StrCat("[", absl::StrJoin(languages, ", "), "]");
}

}  // namespace

absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& path,
                                                const ExportOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  LEAPSTREAM_ASSIGN_OR_RETURN(FairseqCheckpoint checkpoint,
                              FairseqCheckpoint::Parse(file->bytes(), path));
  if (!options.source_language.empty()) {
    checkpoint.SetOption("source_lang", options.source_language);
  }
  if (!options.target_language.empty()) {
    checkpoint.SetOption("target_lang", options.target_language);
  }
  if (options.fairseq_options.count("encoder_langtok") > 0 ||
      options.fairseq_options.count("decoder_langtok") > 0) {
    // The trainer writes both into langtoks, which would win over what is asked for.
    const TokenSpecification recorded = ReadTokenSpecification(checkpoint.options());
    checkpoint.SetOption("langtoks", "");
    checkpoint.SetOption("encoder_langtok", recorded.encoder);
    checkpoint.SetOption("decoder_langtok", recorded.decoder);
  }
  for (const auto& [name, value] : options.fairseq_options) {
    if (name == "lang_dict") {
      LEAPSTREAM_ASSIGN_OR_RETURN(const std::string languages, ReadLanguageFile(value));
      checkpoint.SetOption("langs", languages);
    } else {
      checkpoint.SetOption(name, value);
    }
  }

  const std::vector<std::string> pairs = LanguagePairs(checkpoint.options());
  const auto language = [&checkpoint](const char* option) {
    const auto found = checkpoint.options().find(option);
    return found == checkpoint.options().end() ? "" : found->second;
  };
  if (checkpoint.options().count("task") > 0 &&
      checkpoint.options().at("task") == "multilingual_translation") {
    std::string pair = absl::StrCat(language("source_lang"), "-", language("target_lang"));
    if (pair == "-" && pairs.size() == 1) {
      pair = pairs[0];
      const size_t dash = pair.find('-');
      checkpoint.SetOption("source_lang", pair.substr(0, dash));
      checkpoint.SetOption("target_lang", dash == pair.npos ? "" : pair.substr(dash + 1));
    }
    checkpoint.KeepModel(absl::StrCat("models.", pair, "."));
  }
  return OpenedCheckpoint{std::move(file), std::move(checkpoint)};
}

}  // namespace leapstream
