#include "model/engine/model_family.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/status.h"
#include "model/engine/attention/kinds.h"
#include "model/engine/decoder_only.h"
#include "model/engine/transformer.h"

namespace leapstream {
namespace {

// A bidirectional encoder's cost grows with the square of the length, so it keeps to the length
// that it was trained for.
int MaxTextTokens(const ModelConfig& config) {
  const int table = config.encoder.max_positions;
  if (config.causal_encoder) return table;
  constexpr int kFairseqDefault = 1024;  // fairseq's default --max-source-positions.
  const int trained =
      config.max_source_positions > 0 ? config.max_source_positions : kFairseqDefault;
  return table > 0 ? std::min(trained, table) : trained;
}
// max_source_positions of a speech model is a number of filter bank frames.
int MaxSpeechStates(const ModelConfig& config) {
  return std::max(config.max_source_positions / config.speech->input.frames_per_state, 2);
}

absl::StatusOr<std::unique_ptr<Translator>> MakeTransformer(const ModelConfig& config,
                                                            Weights weights, int threads) {
  return Transformer::Create(config, std::move(weights), threads);
}

// Both families are encoder and decoder. For speech, a front end stands for the source embedding.
constexpr ModelFamily kTextFamily = {"text", true, &MaxTextTokens, &Transformer::ListTensors,
                                     &MakeTransformer};
constexpr ModelFamily kSpeechFamily = {"speech", false, &MaxSpeechStates, &Transformer::ListTensors,
                                       &MakeTransformer};

int MaxLanguageModelTokens(const ModelConfig& config) { return config.decoder.max_positions; }

absl::StatusOr<std::unique_ptr<Translator>> MakeDecoderOnly(const ModelConfig& config,
                                                            Weights weights, int threads) {
  return DecoderOnly::Create(config, std::move(weights), threads);
}

constexpr ModelFamily kLanguageModelFamily = {"text that goes on", true, &MaxLanguageModelTokens,
                                              &DecoderOnly::ListTensors, &MakeDecoderOnly};

// The most bytes that a weights file of this configuration may have: all tensors as float32, and a
// header.
int64_t MaxWeightsBytes(const ModelConfig& config) {
  constexpr int64_t kSlack = 64 << 20;
  int64_t sum = kSlack;
  for (const TensorSpec& spec : ListTensors(config)) {
    int64_t bytes = sizeof(float);
    bool overflows = false;
    for (const int64_t size : spec.shape) overflows |= __builtin_mul_overflow(bytes, size, &bytes);
    if (overflows || __builtin_add_overflow(sum, bytes, &sum)) {
      return std::numeric_limits<int64_t>::max();
    }
  }
  return sum;
}

}  // namespace

absl::Status ValidateModelConfig(const ModelConfig& config) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckModelFields(config));
  return CheckAttentionKinds(config);
}

const ModelFamily& FamilyOf(const ModelConfig& config) {
  if (config.language_model.has_value()) return kLanguageModelFamily;
  return config.speech.has_value() ? kSpeechFamily : kTextFamily;
}

std::vector<TensorSpec> ListTensors(const ModelConfig& config) {
  return FamilyOf(config).list_tensors(config);
}

absl::StatusOr<std::unique_ptr<Translator>> MakeTranslator(const ModelConfig& config,
                                                           Weights weights,
                                                           const TorchDevice& device) {
  if (!device.name.empty()) return MakeTorchTranslator(config, weights, device);
  return FamilyOf(config).make(config, std::move(weights), device.threads);
}

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory) {
  ModelFiles files;
  LEAPSTREAM_ASSIGN_OR_RETURN(ModelConfig config, ReadModelDirectory(directory, &files));
  for (int member = 1; member <= config.ensemble; ++member) {
    LEAPSTREAM_RETURN_IF_ERROR(CheckWeightsFile(config, member, *files.weights[member - 1]));
  }
  return config;
}

absl::StatusOr<ModelConfig> ReadModelDirectory(const std::string& directory, ModelFiles* files) {
  const auto check = [](const ModelConfig& config) -> absl::StatusOr<int64_t> {
    LEAPSTREAM_RETURN_IF_ERROR(CheckAttentionKinds(config));
    return MaxWeightsBytes(config);
  };
  return ReadModelFiles(directory, check, files);
}

}  // namespace leapstream
