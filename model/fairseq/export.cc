#include "model/fairseq/export.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"

namespace leapstream {
namespace {

// The numbers that are copied at a time, so that the memory that this takes does not depend on the
// checkpoint.
constexpr int64_t kBlockElements = 1 << 20;

absl::Status CheckDictionary(const std::string& path, absl::string_view side, int rows) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const Vocabulary vocabulary, Vocabulary::Load(path));
  if (vocabulary.size() == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, ": ", vocabulary.size(), " symbols with the 4 special ones, the checkpoint's ", side,
      " embedding has ", rows, " rows; use the dictionary that the model was trained with"));
}

// Checks that two dictionaries have the same symbols: fairseq shares all embeddings only if both
// sides have one dictionary.
absl::Status CheckSameSymbols(const std::string& source, const std::string& target) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const Vocabulary sources, Vocabulary::Load(source));
  LEAPSTREAM_ASSIGN_OR_RETURN(const Vocabulary targets, Vocabulary::Load(target));
  for (TokenId id = 0; id < std::min(sources.size(), targets.size()); ++id) {
    if (sources.Symbol(id) == targets.Symbol(id)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        target, ": symbol ", id, " is `", absl::CHexEscape(targets.Symbol(id)), "`, in ", source,
        " it is `", absl::CHexEscape(sources.Symbol(id)),
        "`, but the checkpoint's sides share their embeddings (share_all_embeddings); use the one "
        "joined dictionary for both"));
  }
  return absl::OkStatus();
}

// The checkpoint of a model, or several to be averaged.
struct Checkpoints {
  std::vector<std::unique_ptr<const MappedFile>> files;
  // These point into `files`. The first one decides the model's configuration.
  std::vector<FairseqCheckpoint> parsed;
};

absl::StatusOr<Checkpoints> OpenCheckpoints(const ExportOptions& options) {
  const std::vector<std::string>& paths = options.checkpoints;
  if (paths.empty()) return absl::InvalidArgumentError("a checkpoint is needed");
  if (paths.size() > 1 && !options.average) {
    return absl::InvalidArgumentError(
        absl::StrCat(paths.size(), " checkpoints; one makes a model, several only with --average"));
  }
  Checkpoints result;
  for (const std::string& path : paths) {
    LEAPSTREAM_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
    LEAPSTREAM_ASSIGN_OR_RETURN(FairseqCheckpoint checkpoint,
                                FairseqCheckpoint::Parse(file->bytes(), path));
    result.files.push_back(std::move(file));
    result.parsed.push_back(std::move(checkpoint));
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
        "`False`; leave it at linear");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cross-normaliser ", normaliser, " needs LeaP in cross-attention and simul_type waitk, got ",
      config.decoder.cross_attention, " and ", config.simul_type, "; leave it at linear"));
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

absl::Status WriteWeights(const Checkpoints& checkpoints, const ModelConfig& config,
                          TensorType type, const std::string& path) {
  // All checkpoints have the same parameters, and so the same map. MapParameters() also checks the
  // values of shared parameters, so it runs for each.
  ParameterMap parameters;
  for (const FairseqCheckpoint& checkpoint : checkpoints.parsed) {
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
          ReadMean(checkpoints.parsed, source, first, absl::MakeSpan(values)));
      LEAPSTREAM_RETURN_IF_ERROR(
          writer.AppendFloats(type, absl::StrCat("parameter ", source.parameter), values));
    }
  }
  return writer.Finish();
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

absl::Status ExportModel(const ExportOptions& options, std::vector<std::string>* notes) {
  LEAPSTREAM_RETURN_IF_ERROR(StagedDirectory::CheckReplaceable(options.output));

  LEAPSTREAM_ASSIGN_OR_RETURN(const Checkpoints checkpoints, OpenCheckpoints(options));
  ConfigReading reading = ReadConfig(checkpoints.parsed.front(), options.ignored_options);
  LEAPSTREAM_RETURN_IF_ERROR(reading.status);
  ModelConfig config = std::move(reading.config);
  for (const FairseqCheckpoint& other : checkpoints.parsed) {
    const ConfigReading also = ReadConfig(other, options.ignored_options);
    LEAPSTREAM_RETURN_IF_ERROR(also.status);
    if (absl::Status same = CheckSameNetwork(config, also.config); !same.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          other.name(), ": ", same.message(), "; only checkpoints of one training are averaged"));
    }
  }
  LEAPSTREAM_RETURN_IF_ERROR(CheckNormaliser(options.cross_normaliser, config));
  config.cross_normaliser = options.cross_normaliser;
  if (!options.source_language.empty()) config.source_language = options.source_language;
  if (!options.target_language.empty()) config.target_language = options.target_language;
  for (const auto& [side, language] :
       {std::pair("source", config.source_language), {"target", config.target_language}}) {
    if (language.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(checkpoints.parsed.front().name(),
                                                     ": records no ", side, " language; give --",
                                                     side, "-lang"));
    }
  }
  config.name = options.name.empty()
                    ? absl::StrCat(config.source_language, "-", config.target_language)
                    : options.name;
  std::vector<std::string> said;
  LEAPSTREAM_RETURN_IF_ERROR(ChooseTokenizers(options, &config, &said));
  LEAPSTREAM_RETURN_IF_ERROR(CheckFilesGiven(options, config));
  if (config.speech.has_value()) {
    LEAPSTREAM_ASSIGN_OR_RETURN(GlobalCmvn cmvn, ReadGlobalCmvn(options.config_yaml));
    config.speech->cmvn_mean = std::move(cmvn.mean);
    config.speech->cmvn_std = std::move(cmvn.std);
  }
  LEAPSTREAM_RETURN_IF_ERROR(ValidateModelConfig(config));
  if (!config.speech.has_value()) {
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckDictionary(options.source_dictionary, "encoder", config.encoder.vocabulary_size));
  }
  LEAPSTREAM_RETURN_IF_ERROR(
      CheckDictionary(options.target_dictionary, "decoder", config.decoder.vocabulary_size));
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> pieces, CheckPieceFiles(options));
  said.insert(said.end(), pieces.begin(), pieces.end());
  if (notes != nullptr) *notes = std::move(said);
  if (config.share_all_embeddings) {
    LEAPSTREAM_RETURN_IF_ERROR(
        CheckSameSymbols(options.source_dictionary, options.target_dictionary));
  }

  LEAPSTREAM_ASSIGN_OR_RETURN(const auto staged, StagedDirectory::Make(options.output));
  LEAPSTREAM_RETURN_IF_ERROR(WriteWeights(checkpoints, config, options.weight_type,
                                          absl::StrCat(staged->path(), "/", kWeightsFile)));
  std::vector<std::pair<std::string, const char*>> copies = TokenizerFilePaths(options, config);
  copies.emplace_back(options.source_dictionary, kSourceDictionaryFile);
  copies.emplace_back(options.target_dictionary, kTargetDictionaryFile);
  for (const auto& [from, to] : copies) {
    if (!from.empty()) LEAPSTREAM_RETURN_IF_ERROR(staged->Copy(from, to));
  }
  LEAPSTREAM_RETURN_IF_ERROR(WriteModelJson(staged->path(), config));
  ModelFiles written;
  LEAPSTREAM_RETURN_IF_ERROR(ReadModelDirectory(staged->path(), &written).status());
  for (const ModelSide side : {ModelSide::kSource, ModelSide::kTarget}) {
    if (side == ModelSide::kSource && config.speech.has_value()) continue;
    LEAPSTREAM_RETURN_IF_ERROR(MakeTokenizer(config, side, staged->path(), written).status());
  }
  return staged->Publish();
}

}  // namespace leapstream
