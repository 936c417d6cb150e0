#include "model/torch/load_model.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/api/model_directory.h"
#include "model/torch/torch_call.h"
#include "model/torch/transformer.h"
#include "model/torch/weights.h"

namespace leapstream {
namespace {

absl::Status CheckVocabulary(const Vocabulary& vocabulary, const std::string& path, int rows) {
  if (vocabulary.size() == rows) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": the embedding has ", rows, " rows, so the dictionary must have ", rows,
                   " symbols with the 4 specials, found ", vocabulary.size(),
                   "; export the checkpoint again with its own dictionary"));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const std::string& directory) {
  const auto path = [&directory](const char* file) { return absl::StrCat(directory, "/", file); };
  ModelConfig config;
  LEAPSTREAM_ASSIGN_OR_RETURN(config, ReadModelDirectory(directory));
  auto model = std::make_shared<Model>();
  LEAPSTREAM_ASSIGN_OR_RETURN(model->source_vocabulary,
                              Vocabulary::Load(path(kSourceDictionaryFile)));
  LEAPSTREAM_ASSIGN_OR_RETURN(model->target_vocabulary,
                              Vocabulary::Load(path(kTargetDictionaryFile)));
  LEAPSTREAM_RETURN_IF_ERROR(CheckVocabulary(model->source_vocabulary, path(kSourceDictionaryFile),
                                             config.encoder.vocabulary_size));
  LEAPSTREAM_RETURN_IF_ERROR(CheckVocabulary(model->target_vocabulary, path(kTargetDictionaryFile),
                                             config.decoder.vocabulary_size));
  LEAPSTREAM_ASSIGN_OR_RETURN(model->source_tokenizer,
                              Tokenizer::Load(path(kSourceSentencePieceFile)));
  LEAPSTREAM_ASSIGN_OR_RETURN(model->target_tokenizer,
                              Tokenizer::Load(path(kTargetSentencePieceFile)));
  int64_t state_bytes = 0;
  LEAPSTREAM_RETURN_IF_ERROR(TorchCall(absl::StrCat("loading ", directory), [&]() -> absl::Status {
    Weights weights;
    LEAPSTREAM_ASSIGN_OR_RETURN(weights, Weights::Load(path(kWeightsFile), config));
    std::unique_ptr<LeapTransformer> transformer;
    LEAPSTREAM_ASSIGN_OR_RETURN(transformer, LeapTransformer::Create(config, std::move(weights)));
    state_bytes = transformer->state_bytes();
    model->translator = std::move(transformer);
    return absl::OkStatus();
  }));
  ModelInfo& info = model->info;
  info.name = config.name;
  info.source_language = config.source_language;
  info.target_language = config.target_language;
  info.checksum = config.sha256[kWeightsFile];
  info.compute_type = config.compute_type;
  info.default_k = config.waitk_lagging;
  info.max_source_tokens = config.encoder.max_positions;
  // The step that decides </s> needs a position too.
  info.max_target_tokens = config.decoder.max_positions > 0 ? config.decoder.max_positions - 1 : 0;
  info.state_bytes_per_session = state_bytes;
  return std::shared_ptr<const Model>(std::move(model));
}

}  // namespace leapstream
