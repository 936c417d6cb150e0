#include "model/fairseq/export.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "model/api/model_directory.h"
#include "model/api/model_json.h"
#include "model/api/model_tokenizer.h"
#include "model/api/piece_check.h"
#include "model/api/safetensors_writer.h"
#include "model/api/staged_directory.h"
#include "model/api/tokenizer.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/model_family.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/export_tokenizer.h"
#include "model/fairseq/global_cmvn.h"
#include "model/fairseq/grown_dictionary.h"
#include "model/fairseq/open_checkpoint.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"
#include "model/fairseq/speech_settings.h"

namespace leapstream {
namespace {

// The numbers that are copied at a time, so that the memory that this takes does not depend on the
// checkpoint.
constexpr int64_t kBlockElements = 1 << 18;

// The frames of stored statistics with which a segment's own begin: see
// SpeechConfig::cmvn_stored_frames and docs/models.md.
constexpr int kStoredFrames = 200;

constexpr int kMostNetworks = 8;  // Of an ensemble: as the range of the field in model.json.

// The checkpoint of a model, or several to be averaged or to decide together. They point into
// `files`, and the first one decides the model's configuration.
struct Checkpoints {
  std::vector<std::unique_ptr<const MappedFile>> files;
  std::vector<FairseqCheckpoint> parsed;
};

absl::StatusOr<Checkpoints> OpenCheckpoints(const ExportOptions& options) {
  const std::vector<std::string>& paths = options.checkpoints;
  if (paths.empty()) return absl::InvalidArgumentError("a checkpoint is needed");
  if (options.ensemble && paths.size() > kMostNetworks) {
    return absl::InvalidArgumentError(absl::StrCat("an ensemble has ", kMostNetworks,
                                                   " checkpoints at most, got ", paths.size()));
  }
  if (paths.size() > 1 && options.average == options.ensemble) {
    return absl::InvalidArgumentError(
        absl::StrCat(paths.size(), " checkpoints; one makes a model, several only with either "
                                   "--average or --ensemble"));
  }
  Checkpoints result;
  for (const std::string& path : paths) {
    LEAPSTREAM_ASSIGN_OR_RETURN(OpenedCheckpoint opened, OpenCheckpoint(path, options));
    result.files.push_back(std::move(opened.file));
    result.parsed.push_back(std::move(opened.checkpoint));
    LEAPSTREAM_RETURN_IF_ERROR(CheckSameParameters(result.parsed.front(), result.parsed.back()));
  }
  return result;
}

absl::Status CheckNormaliser(const std::string& normaliser, const ModelConfig& config) {
  if (normaliser == "linear" ||
      (HasProportionNets(config.decoder.cross_attention) && config.simul_type == "waitk")) {
    if (normaliser == "linear" || config.mass_preservation || !config.speech.has_value()) {
      return absl::OkStatus();
    }
    return absl::UnimplementedError(
        "cross-normaliser softmax of speech needs mass preservation, but option mass_preservation "
        "is "
        "\"False\"; leave it at linear");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cross-normaliser ", normaliser, " needs LeaP in cross-attention and simul_type waitk, got ",
      config.decoder.cross_attention, " and ", config.simul_type, "; leave it at linear"));
}

// Makes a language model one that translates: `source <separator> target`.
absl::Status SetSeparator(const std::string& separator, ModelConfig* config) {
  const bool translates = !config->source_language.empty() && !config->target_language.empty();
  if (separator.empty() ? !config->language_model.has_value() || !translates
                        : config->language_model.has_value() && translates) {
    if (separator.empty()) return absl::OkStatus();
    config->frame.source_lead = {"</s>"};
    config->frame.start = separator;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "a language model that translates needs --separator, --source-lang and --target-lang "
      "together, and no other model has a separator");
}

// Checks that the files that this kind of model needs are given, and no others.
absl::Status CheckFilesGiven(const ExportOptions& options, const ModelConfig& config) {
  const ModelFamily& family = FamilyOf(config);
  const bool spm = config.target_tokenizer.bpe == "sentencepiece";
  const std::tuple<const char*, const std::string*, bool> files[] = {
      {"--config-yaml", &options.config_yaml, config.speech.has_value()},
      {"--source-dict", &options.source_dictionary, family.has_source_vocabulary},
      {"--source-spm", &options.source_sentencepiece, spm && family.has_source_vocabulary},
      {"--target-dict", &options.target_dictionary, true},
      {"--target-spm", &options.target_sentencepiece, spm}};
  for (const auto& [flag, path, wanted] : files) {
    if (path->empty() != wanted) continue;
    return absl::InvalidArgumentError(absl::StrCat("architecture ", config.architecture,
                                                   ", a model of ", family.source,
                                                   wanted ? ", needs " : ", takes no ", flag,
                                                   wanted && absl::EndsWith(flag, "-spm")
                                                       ? " (or --bpe, if it is no SentencePiece)"
                                                       : ""));
  }
  return absl::OkStatus();
}

// Sets the normalisation of features. `simultaneous`: the model was trained for fairseq's speech
// agent, which normalises by stored statistics unless the settings name another way.
absl::Status ReadNormalisation(const SpeechSettings& settings, bool simultaneous,
                               SpeechConfig* speech) {
  speech->cmvn = simultaneous && settings.cmvn == "none" ? "global" : settings.cmvn;
  if (speech->cmvn == "utterance") {
    speech->norm_means = settings.norm_means;
    speech->norm_vars = settings.norm_vars;
    if (!settings.stats_npz_path.empty()) speech->cmvn_stored_frames = kStoredFrames;
  }
  if (!speech->HasStoredStatistics()) return absl::OkStatus();
  LEAPSTREAM_ASSIGN_OR_RETURN(GlobalCmvn cmvn, ReadGlobalCmvn(settings));
  speech->cmvn_mean = std::move(cmvn.mean);
  speech->cmvn_std = std::move(cmvn.std);
  return absl::OkStatus();
}

// Makes the tags of languages that a dictionary has the model's target languages, if the settings
// ask for a tag in front of each target: fairseq's prepend_tgt_lang_tag.
absl::Status AddLanguageTags(const SpeechSettings& settings, const std::string& dictionary,
                             ModelConfig* config) {
  if (!settings.prepend_tgt_lang_tag || dictionary.empty()) return absl::OkStatus();
  constexpr absl::string_view kBefore = "<lang:", kAfter = ">";
  LEAPSTREAM_ASSIGN_OR_RETURN(const Vocabulary vocabulary, Vocabulary::Load(dictionary));
  for (TokenId id = kUnknown + 1; id < vocabulary.size(); ++id) {
    absl::string_view code = vocabulary.Symbol(id);
    if (!absl::ConsumePrefix(&code, kBefore) || !absl::ConsumeSuffix(&code, kAfter)) continue;
    config->languages.push_back({std::string(code), "", std::string(vocabulary.Symbol(id))});
  }
  if (config->languages.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        settings.path, ": prepend_tgt_lang_tag is set, but ", dictionary,
        " has no tag, such as <lang:de>; use the dictionary that the model was trained with"));
  }
  if (config->source_language.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        settings.path, ": names no source language, which clients ask for beside one of the tags; "
        "give --source-lang"));
  }
  config->frame.forced = {"{target}"};
  // No frame has the token of the source language: it only says that the model takes it.
  const std::string& source = config->source_language;
  for (LanguageConfig& language : config->languages) {
    if (language.code == source) language.source_token = language.target_token;
  }
  if (absl::c_none_of(config->languages, [](const LanguageConfig& language) {
        return !language.source_token.empty();
      })) {
    config->languages.push_back({source, absl::StrCat(kBefore, source, kAfter), ""});
  }
  return absl::OkStatus();
}

// Fills in the files that a speech model's settings name and no option does, and its languages.
absl::Status AddSettings(const SpeechSettings& settings, ExportOptions* options,
                         ModelConfig* config) {
  if (options->target_dictionary.empty()) {
    options->target_dictionary = settings.Find(settings.vocabulary);
  }
  if (options->target_sentencepiece.empty() && options->tokenizer.bpe.empty()) {
    options->target_sentencepiece = settings.Find(settings.sentencepiece_model);
  }
  return AddLanguageTags(settings, options->target_dictionary, config);
}

absl::Status WriteWeights(absl::Span<const FairseqCheckpoint> checkpoints,
                          const ModelConfig& config, TensorType type, const std::string& path) {
  // All checkpoints have the same parameters, and so the same map. MapParameters() also checks the
  // values of shared parameters, so it runs for each.
  ParameterMap parameters;
  for (const FairseqCheckpoint& checkpoint : checkpoints) {
    LEAPSTREAM_ASSIGN_OR_RETURN(parameters, MapParameters(checkpoint, config));
  }
  std::map<std::string, TensorHeader> headers;
  for (const TensorSpec& spec : ListTensors(config)) headers[spec.name] = {type, spec.shape};
  LEAPSTREAM_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(path, headers));
  std::vector<float> values;
  for (const std::string& name : writer.order()) {
    const ParameterRows& source = parameters.sources.at(name);
    int64_t count = 1;
    for (const int64_t size : headers.at(name).shape) count *= size;
    for (int64_t first = 0; first < count; first += kBlockElements) {
      values.resize(std::min(count - first, kBlockElements));
      LEAPSTREAM_RETURN_IF_ERROR(
          ReadMean(checkpoints, source, first, absl::MakeSpan(values)));
      LEAPSTREAM_RETURN_IF_ERROR(
          writer.AppendFloats(type, absl::StrCat("parameter ", source.parameter), values));
    }
  }
  return writer.Finish();
}

// The dictionaries of both sides; an encoder of speech has none.
struct Dictionaries {
  std::optional<GrownDictionary> source;
  std::optional<GrownDictionary> target;
};

// Drops the embeddings' last row, as fairseq's BART class does with a model whose training had one
// symbol more, <mask>.
void DropMask(ModelConfig* config, std::vector<FairseqCheckpoint>* checkpoints) {
  for (FairseqCheckpoint& checkpoint : *checkpoints) {
    for (const char* name : {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                             "decoder.output_projection.weight"}) {
      checkpoint.DropLastRow(name);
    }
  }
  --config->encoder.vocabulary_size;
  --config->decoder.vocabulary_size;
}

absl::StatusOr<Dictionaries> ReadDictionaries(const ExportOptions& options,
                                              const LanguageSetup& setup, ModelConfig* config,
                                              std::vector<FairseqCheckpoint>* checkpoints) {
  Dictionaries result;
  LEAPSTREAM_ASSIGN_OR_RETURN(result.target,
                              GrowDictionary(options.target_dictionary, setup,
                                             config->decoder.vocabulary_size));
  if (absl::StrContains(config->architecture, "bart") &&
      result.target->vocabulary.size() + 1 == config->decoder.vocabulary_size &&
      result.target->vocabulary.Id("<mask>") == kUnknown) {
    DropMask(config, checkpoints);
  }
  if (!config->speech.has_value()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(result.source,
                                GrowDictionary(options.source_dictionary, setup,
                                               config->SourceVocabularySize()));
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckRows(*result.source, "encoder", config->SourceVocabularySize()));
  }
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckRows(*result.target, "decoder", config->decoder.vocabulary_size));
  if (config->share_all_embeddings) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckSameSymbols(*result.source, *result.target));
  }
  return result;
}

// Fills in the licence and the origin of weights that everybody knows. Returns a note for the user
// on them, or nothing.
std::string FillOrigin(const Dictionaries& dictionaries, ModelConfig* config) {
  // No other models have these symbols behind languages with these codes.
  if (!dictionaries.target->data_tags || config->languages.empty() ||
      !absl::StrContains(config->languages.front().code, '_')) {
    return "";
  }
  config->license = "CC-BY-NC-4.0";
  config->origin = "NLLB, https://github.com/facebookresearch/fairseq/tree/nllb";
  return "this is a model of NLLB; the weights of NLLB-200 have the licence CC-BY-NC 4.0, so they "
         "are not for commercial use, and model.json says so";
}

// The name that clients ask for.
std::string NameOf(const ExportOptions& options, const ModelConfig& config) {
  if (!options.name.empty()) return options.name;
  if (!config.source_language.empty() && !config.target_language.empty()) {
    return absl::StrCat(config.source_language, "-", config.target_language);
  }
  const std::filesystem::path output = std::filesystem::path(options.output).lexically_normal();
  return (output.has_filename() ? output : output.parent_path()).filename().string();
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CheckPieceFiles(const ExportOptions& options) {
  const std::tuple<const char*, const std::string&, const std::string&> given[] = {
      {"source", options.source_dictionary,
       options.tokenizer.bpe_codes.empty() ? options.source_sentencepiece
                                           : options.tokenizer.bpe_codes},
      {"target", options.target_dictionary, options.target_sentencepiece}};
  Vocabulary vocabularies[2];
  std::unique_ptr<const Tokenizer> tokenizers[2];
  std::vector<SidePieces> sides;
  for (size_t i = 0; i < 2; ++i) {
    const auto& [side, dictionary, pieces] = given[i];
    if (dictionary.empty() || pieces.empty()) continue;
    LEAPSTREAM_ASSIGN_OR_RETURN(vocabularies[i], Vocabulary::Load(dictionary));
    if (pieces == options.tokenizer.bpe_codes) {
      LEAPSTREAM_ASSIGN_OR_RETURN(tokenizers[i], LoadBpeCodes(options.tokenizer));
    } else {
      LEAPSTREAM_ASSIGN_OR_RETURN(tokenizers[i], Tokenizer::Load(pieces));
    }
    sides.push_back({side, &vocabularies[i], tokenizers[i].get(), dictionary, pieces});
  }
  return CheckPieces(sides);
}

absl::Status ExportModel(const ExportOptions& given, std::vector<std::string>* notes) {
  ExportOptions options = given;
  LEAPSTREAM_RETURN_IF_ERROR(StagedDirectory::CheckReplaceable(options.output));
  LEAPSTREAM_ASSIGN_OR_RETURN(Checkpoints checkpoints, OpenCheckpoints(options));
  ConfigReading reading = ReadConfig(checkpoints.parsed.front(), options.ignored_options);
  LEAPSTREAM_RETURN_IF_ERROR(reading.status);
  ModelConfig config = std::move(reading.config);
  for (const FairseqCheckpoint& other : checkpoints.parsed) {
    const ConfigReading also = ReadConfig(other, options.ignored_options);
    LEAPSTREAM_RETURN_IF_ERROR(also.status);
    if (absl::Status same = CheckSameNetwork(config, also.config); !same.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(other.name(), ": ", same.message(),
                       "; only checkpoints of one kind of network make one model"));
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckNormaliser(options.cross_normaliser, config));
  config.cross_normaliser = options.cross_normaliser;
  std::optional<SpeechSettings> settings;
  if (config.speech.has_value() && !options.config_yaml.empty()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(settings, ReadSpeechSettings(options.config_yaml));
    LEAPSTREAM_RETURN_IF_ERROR(AddSettings(*settings, &options, &config));
  }
  for (const auto& [side, language] :
       {std::pair("source", config.source_language), {"target", config.target_language}}) {
    if (language.empty() && config.languages.empty() && !config.language_model.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoints.parsed.front().name(),
                                                     ": records no ", side, " language; give --",
                                                     side, "-lang"));
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(SetSeparator(options.separator, &config));
  config.name = NameOf(options, config);
  std::vector<std::string> said;
  LEAPSTREAM_RETURN_IF_ERROR(ChooseTokenizers(options, &config, &said));
  LEAPSTREAM_RETURN_IF_ERROR(CheckFilesGiven(options, config));
  if (settings.has_value()) {
    LEAPSTREAM_RETURN_IF_ERROR(ReadNormalisation(
        *settings, reading.kind == kSimultaneousSpeech, &*config.speech));
  }
  LEAPSTREAM_RETURN_IF_ERROR(ValidateModelConfig(config));
  LEAPSTREAM_ASSIGN_OR_RETURN(
      const Dictionaries dictionaries,
      ReadDictionaries(options, reading.languages, &config, &checkpoints.parsed));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> pieces, CheckPieceFiles(options));
  said.insert(said.end(), pieces.begin(), pieces.end());
  if (const std::string note = FillOrigin(dictionaries, &config); !note.empty()) {
    said.push_back(note);
  }
  if (notes != nullptr) *notes = std::move(said);

  if (options.ensemble) config.ensemble = static_cast<int>(checkpoints.parsed.size());
  LEAPSTREAM_ASSIGN_OR_RETURN(const auto staged, StagedDirectory::Make(options.output));
  // The small files come first, so that a missing one is noticed before the weights are written.
  const std::pair<const std::optional<GrownDictionary>&, const char*> texts[] = {
      {dictionaries.source, kSourceDictionaryFile}, {dictionaries.target, kTargetDictionaryFile}};
  for (const auto& [dictionary, to] : texts) {
    if (!dictionary.has_value()) continue;
    LEAPSTREAM_RETURN_IF_ERROR(staged->Write(dictionary->text, to));
  }
  const std::vector<std::pair<std::string, const char*>> copies =
      TokenizerFilePaths(options, config);
  for (const auto& [from, to] : copies) {
    if (!from.empty()) LEAPSTREAM_RETURN_IF_ERROR(staged->Copy(from, to));
  }
  for (int member = 1; member <= config.ensemble; ++member) {
    const absl::Span<const FairseqCheckpoint> all = checkpoints.parsed;
    LEAPSTREAM_RETURN_IF_ERROR(
        WriteWeights(config.ensemble > 1 ? all.subspan(member - 1, 1) : all, config,
                     options.weight_type,
                     absl::StrCat(staged->path(), "/", WeightsFileName(member))));
  }
  LEAPSTREAM_RETURN_IF_ERROR(WriteModelJson(staged->path(), config));
  ModelFiles written;
  LEAPSTREAM_RETURN_IF_ERROR(ReadModelDirectory(staged->path(), &written).status());
  for (const ModelSide side : {ModelSide::kSource, ModelSide::kTarget}) {
    if (side == ModelSide::kSource && config.speech.has_value()) continue;
    LEAPSTREAM_RETURN_IF_ERROR(MakeTokenizer(config, side, staged->path(), written).status());
  }
  return staged->Commit();
}

}  // namespace leapstream
