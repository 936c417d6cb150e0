#include "model/huggingface/export_folder.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/file_bytes.h"
#include "model/api/model_config.h"
#include "model/api/model_directory.h"
#include "model/api/model_tokenizer.h"
#include "model/api/piece_check.h"
#include "model/api/staged_directory.h"
#include "model/api/tokenizer.h"
#include "model/api/vocabulary.h"
#include "model/engine/model_family.h"
#include "model/huggingface/folder.h"
#include "model/huggingface/model_card.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxCardBytes = 4 << 20;

// The language of the list with this code; null if there is none.
const LanguageConfig* FindLanguage(const ModelConfig& model, const std::string& code) {
  const auto found = absl::c_find_if(
      model.languages, [&code](const LanguageConfig& each) { return each.code == code; });
  return found == model.languages.end() ? nullptr : &*found;
}

// OPUS-MT folders say their source languages in one text, such as "eng+deu", and no token stands
// for a source language.
void AddSourceLanguages(const std::string& codes, ModelConfig* model) {
  for (const absl::string_view part : absl::StrSplit(codes, '+', absl::SkipEmpty())) {
    const std::string code(part);
    const auto found = absl::c_find_if(
        model->languages, [&code](const LanguageConfig& each) { return each.code == code; });
    LanguageConfig& language =
        found == model->languages.end() ? model->languages.emplace_back() : *found;
    language.code = code;
    language.source_token = "</s>";  // Any symbol will do: the frame has no {source}.
  }
}

absl::Status ChooseLanguages(const FolderExportOptions& options, const FolderConfig& config,
                             const FolderVocabulary& vocabulary, ModelConfig* model) {
  model->languages = vocabulary.languages;
  model->source_language = options.source_language;
  model->target_language = options.target_language;
  if (model->languages.empty()) {
    if (model->source_language.empty()) model->source_language = vocabulary.source_language;
    if (model->target_language.empty()) model->target_language = vocabulary.target_language;
    for (const auto& [side, code] : {std::pair("source", &model->source_language),
                                     std::pair("target", &model->target_language)}) {
      if (!code->empty()) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          options.folder, ": does not say its ", side, " language; give --", side, "-lang"));
    }
    return absl::OkStatus();
  }
  if (config.family == FolderFamily::kMarian) {
    const std::string& sources =
        options.source_language.empty() ? vocabulary.source_language : options.source_language;
    if (sources.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          options.folder, ": does not say its source language; give --source-lang"));
    }
    AddSourceLanguages(sources, model);
    if (sources.find('+') == sources.npos) model->source_language = sources;
  } else if (model->target_language.empty()) {
    model->target_language = vocabulary.target_language;
  }
  for (const auto& [side, code] : {std::pair("source", &model->source_language),
                                   std::pair("target", &model->target_language)}) {
    if (code->empty()) continue;
    const LanguageConfig* const language = FindLanguage(*model, *code);
    const bool source = side == absl::string_view("source");
    if (language != nullptr &&
        !(source ? language->source_token : language->target_token).empty()) {
      continue;
    }
    std::vector<std::string> codes;
    for (const LanguageConfig& each : model->languages) codes.push_back(each.code);
    return absl::InvalidArgumentError(
        absl::StrCat("--", side, "-lang ", Quoted(*code), " is no ", side,
                     " language of the model; it has ", absl::StrJoin(codes, ", ")));
  }
  return absl::OkStatus();
}

void ReadCard(const std::string& directory, const FolderConfig& config, ModelConfig* model) {
  const auto file = FileBytes::Read(absl::StrCat(directory, "/README.md"), kMaxCardBytes);
  const ModelCard card = file.ok() ? ParseModelCard((*file)->bytes()) : ModelCard();
  model->license = card.license;
  model->origin = card.base_model.empty() ? config.origin : card.base_model;
}

std::string NameOf(const FolderExportOptions& options, const ModelConfig& model) {
  if (!options.name.empty()) return options.name;
  if (model.languages.empty()) {
    return absl::StrCat(model.source_language, "-", model.target_language);
  }
  fs::path path = fs::path(options.folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." || name == ".." ? model.architecture : name;
}

}  // namespace

absl::Status ReadFolder(const FolderExportOptions& options, Folder* folder) {
  const std::string& directory = options.folder;
  absl::StatusOr<FolderFiles> files = ReadFolderFiles(directory);
  if (absl::IsNotFound(files.status())) {
    // Adapters and other frameworks' folders have no config.json either, and are named as such.
    const absl::Status weights = FolderTensors::Open(directory).status();
    return absl::IsUnimplemented(weights) ? weights : files.status();
  }
  if (!files.ok()) return files.status();
  folder->files = *std::move(files);
  LEAPSTREAM_ASSIGN_OR_RETURN(folder->config, ReadFolderConfig(folder->files));
  LEAPSTREAM_ASSIGN_OR_RETURN(folder->tensors, FolderTensors::Open(directory));
  LEAPSTREAM_ASSIGN_OR_RETURN(const VocabularyRows rows,
                              ReadVocabularyRows(folder->config, *folder->tensors));
  LEAPSTREAM_ASSIGN_OR_RETURN(folder->vocabulary,
                              ReadFolderVocabulary(directory, folder->config, rows));
  ModelConfig& model = folder->model;
  LEAPSTREAM_ASSIGN_OR_RETURN(
      model, CompleteNetwork(folder->config, *folder->tensors, folder->vocabulary));
  LEAPSTREAM_RETURN_IF_ERROR(ChooseLanguages(options, folder->config, folder->vocabulary, &model));
  model.frame = folder->vocabulary.frame;
  model.source_tokenizer = folder->vocabulary.source_tokenizer;
  model.target_tokenizer = folder->vocabulary.target_tokenizer;
  model.hidden_symbols = folder->vocabulary.hidden;
  ReadCard(directory, folder->config, &model);
  model.name = NameOf(options, model);
  LEAPSTREAM_RETURN_IF_ERROR(ValidateModelConfig(model));
  LEAPSTREAM_ASSIGN_OR_RETURN(folder->parameters,
                              MapFolderParameters(folder->config, *folder->tensors,
                                                  folder->vocabulary, model));
  return absl::OkStatus();
}

namespace {

bool IsNllb(const FolderVocabulary& vocabulary) {
  return absl::c_any_of(vocabulary.languages, [](const LanguageConfig& language) {
    return language.code == "ace_Arab";
  });
}

}  // namespace

std::vector<std::string> LicenseNotes(const Folder& folder) {
  const ModelConfig& model = folder.model;
  if (ForbidsCommerce(model.license)) {
    return {absl::StrCat("the licence of these weights, ", model.license,
                         ", forbids commercial use")};
  }
  if (!model.license.empty()) return {};
  if (IsNllb(folder.vocabulary)) {
    return {"NLLB-200's weights are licensed under CC-BY-NC-4.0, which forbids commercial use; the "
            "folder has no README.md that says the licence of these"};
  }
  return {"the folder has no README.md that says the licence of these weights"};
}

namespace {

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

// The files of the tokenizers, and their names in a model directory.
std::vector<std::pair<std::string, std::string>> TokenizerFilesOf(const FolderExportOptions& options,
                                                                  const Folder& folder) {
  const VocabularyFiles& files = folder.vocabulary.files;
  std::vector<std::pair<std::string, std::string>> copies = {
      {files.source_tokenizer, PiecesFile(folder.model, ModelSide::kSource)},
      {files.target_tokenizer, PiecesFile(folder.model, ModelSide::kTarget)},
      {options.prefixes, kSourcePrefixesFile}};
  copies.erase(std::remove_if(copies.begin(), copies.end(),
                              [](const auto& copy) { return copy.first.empty(); }),
               copies.end());
  return copies;
}

// Checks that the model directory can be loaded, and that its pieces are in its dictionaries.
absl::StatusOr<std::vector<std::string>> CheckWritten(const std::string& directory,
                                                      const ModelConfig& model) {
  ModelFiles files;
  LEAPSTREAM_RETURN_IF_ERROR(ReadModelDirectory(directory, &files).status());
  Vocabulary vocabularies[2];
  std::unique_ptr<const Tokenizer> tokenizers[2];
  std::vector<SidePieces> sides;
  for (const ModelSide side : {ModelSide::kSource, ModelSide::kTarget}) {
    const bool source = side == ModelSide::kSource;
    const std::string dictionary =
        absl::StrCat(directory, "/", source ? kSourceDictionaryFile : kTargetDictionaryFile);
    LEAPSTREAM_ASSIGN_OR_RETURN(vocabularies[source], Vocabulary::Load(dictionary));
    LEAPSTREAM_ASSIGN_OR_RETURN(tokenizers[source], MakeTokenizer(model, side, directory, files));
    sides.push_back({source ? "source" : "target", &vocabularies[source],
                     tokenizers[source].get(), "of the folder", PiecesFile(model, side)});
  }
  return CheckPieces(sides);
}

}  // namespace

absl::Status ExportFolder(const FolderExportOptions& options, std::vector<std::string>* notes) {
  if (options.folder.empty()) return absl::InvalidArgumentError("a folder is needed");
  LEAPSTREAM_RETURN_IF_ERROR(StagedDirectory::CheckReplaceable(options.output));
  Folder folder;
  LEAPSTREAM_RETURN_IF_ERROR(ReadFolder(options, &folder));
  if (!options.prefixes.empty() && folder.config.family != FolderFamily::kFsmt) {
    return absl::InvalidArgumentError(
        absl::StrCat("non-breaking prefixes are for fsmt, whose tokenizer is Moses; the folder is of "
                     "the type ", folder.model.architecture));
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto staged, StagedDirectory::Make(options.output));
  const auto path = [&staged](const char* file) { return absl::StrCat(staged->path(), "/", file); };
  const FolderVocabulary& vocabulary = folder.vocabulary;
  for (const auto& [side, file] : {std::pair(&vocabulary.source, kSourceDictionaryFile),
                                   std::pair(&vocabulary.target, kTargetDictionaryFile)}) {
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::string text, DictionaryText(side->symbols));
    LEAPSTREAM_RETURN_IF_ERROR(WriteText(path(file), text));
  }
  for (const auto& [from, to] : TokenizerFilesOf(options, folder)) {
    LEAPSTREAM_RETURN_IF_ERROR(staged->Copy(from, to));
  }
  LEAPSTREAM_RETURN_IF_ERROR(WriteFolderParameters(folder.parameters, folder.model,
                                                   options.weight_type, path(kWeightsFile)));
  ModelConfig config = folder.model;
  if (config.license.empty() && IsNllb(vocabulary)) config.license = "CC-BY-NC-4.0";
  LEAPSTREAM_RETURN_IF_ERROR(WriteModelJson(staged->path(), config));
  LEAPSTREAM_ASSIGN_OR_RETURN(std::vector<std::string> said,
                              CheckWritten(staged->path(), folder.model));
  if (folder.config.family == FolderFamily::kFsmt && options.prefixes.empty()) {
    said.push_back(
        "Moses' non-breaking prefixes were not given (--nonbreaking-prefixes): full stops of "
        "abbreviations are cut off");
  }
  for (std::string& note : LicenseNotes(folder)) said.push_back(std::move(note));
  LEAPSTREAM_RETURN_IF_ERROR(staged->Commit());
  if (notes != nullptr) *notes = std::move(said);
  return absl::OkStatus();
}

}  // namespace leapstream
