#include "model/huggingface/folder_parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/quoted.h"
#include "base/status.h"
#include "model/api/safetensors_writer.h"
#include "model/api/vocabulary.h"
#include "model/engine/contract.h"
#include "model/engine/model_family.h"
#include "model/fairseq/parameter_names.h"

namespace leapstream {
namespace {

constexpr int64_t kBlockElements = 1 << 20;
constexpr size_t kMaxNamesInError = 10;
constexpr char kShared[] = "model.shared.weight";
constexpr char kSourceEmbedding[] = "model.encoder.embed_tokens.weight";
constexpr char kTargetEmbedding[] = "model.decoder.embed_tokens.weight";
constexpr char kOutput[] = "lm_head.weight";
constexpr char kFsmtOutput[] = "model.decoder.output_projection.weight";
constexpr char kLogitsBias[] = "final_logits_bias";

using Names = std::vector<std::string>;

// The names under which a folder may have an embedding or the output projection. Any of them may be
// missing, but not all.
Names EmbeddingNames(const FolderConfig& config, absl::string_view name) {
  if (config.shares_embeddings) return {kShared, kSourceEmbedding, kTargetEmbedding, kOutput};
  if (name == "encoder.embedding") return {kSourceEmbedding};
  const char* const output = config.family == FolderFamily::kFsmt ? kFsmtOutput : kOutput;
  if (name == "decoder.output") return {output};
  if (config.ties_output) return {kTargetEmbedding, output};
  return {kTargetEmbedding};
}

const StoredTensor* Find(const FolderTensors& tensors, const std::string& name) {
  const auto found = tensors.tensors().find(name);
  return found == tensors.tensors().end() ? nullptr : found->second.get();
}

std::string NameList(const Names& names) {
  Names some;
  for (const std::string& name : names) {
    if (some.size() < kMaxNamesInError) some.push_back(OneLine(name, 100));
  }
  return absl::StrCat(absl::StrJoin(some, ", "),
                      names.size() > some.size()
                          ? absl::StrCat(" and ", names.size() - some.size(), " more") : "");
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Checks that two tensors, which are one parameter, have the same values.
absl::Status CheckEqual(const std::string& name, const StoredTensor& tensor,
                        const std::string& other_name, const StoredTensor& other) {
  bool same = tensor.shape() == other.shape();
  std::vector<float> values, others;
  for (int64_t first = 0; same && first < tensor.count(); first += kBlockElements) {
    values.resize(std::min(tensor.count() - first, kBlockElements));
    others.resize(values.size());
    LEAPSTREAM_RETURN_IF_ERROR(tensor.Read(name, first, absl::MakeSpan(values)));
    LEAPSTREAM_RETURN_IF_ERROR(other.Read(other_name, first, absl::MakeSpan(others)));
    same = values == others;
  }
  if (same) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("tensors ", name, " and ", other_name,
                   " differ, though they are one matrix in a model of this kind; they were trained "
                   "apart, which transformers itself does not load as one: save the model again"));
}

// The table of sinusoids that transformers computes for Marian: position p is row p + 2, element j
// below d / 2 is sin(p / 10000^(2 j / d)), and d / 2 further is its cosine. In double, then rounded,
// as in MarianSinusoidalPositionalEmbedding.
std::vector<float> MarianPositions(const SideConfig& side) {
  const int64_t width = side.embed_dim;
  const int64_t half = width / 2;
  std::vector<float> table((int64_t{side.max_positions} + kPadding + 1) * width);
  for (int64_t p = 0; p < side.max_positions; ++p) {
    float* const row = table.data() + (p + kPadding + 1) * width;
    for (int64_t j = 0; j < half; ++j) {
      const double exponent = 2.0 * static_cast<double>(j) / static_cast<double>(width);
      const double angle = static_cast<double>(p) / std::pow(10000.0, exponent);
      row[j] = static_cast<float>(std::sin(angle));
      row[half + j] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}

absl::StatusOr<std::vector<float>> OutputBias(const FolderConfig& config,
                                              const FolderTensors& tensors,
                                              const SideVocabulary& target) {
  std::vector<float> stored(target.rows.size());
  if (const StoredTensor* const bias = Find(tensors, kLogitsBias)) {
    stored.resize(bias->count());
    LEAPSTREAM_RETURN_IF_ERROR(bias->Read(kLogitsBias, 0, absl::MakeSpan(stored)));
  }
  std::vector<TokenId> banned = config.banned;
  absl::c_sort(banned);
  std::vector<float> values;
  for (const TokenId row : target.rows) {
    const bool never = row < 0 || absl::c_binary_search(banned, row);
    values.push_back(never ? kNever : stored[row]);
  }
  return values;
}

// Whether transformers computes the tensor anew and ignores whatever the file has.
bool IsStaticPositions(const FolderConfig& config, absl::string_view name) {
  return config.family != FolderFamily::kMbart &&
         (absl::EndsWith(name, ".embed_positions.weight") ||
          absl::EndsWith(name, ".embed_positions.weights"));
}

absl::Status LeftOver(const Names& names) {
  absl::string_view why;
  for (const std::string& name : names) {
    if (absl::StrContains(name, "lora_") || absl::StartsWith(name, "base_model.model.")) {
      why = "; the folder holds an adapter (LoRA): merge it into its base model and export that";
    } else if (absl::StrContains(name, "qweight") || absl::EndsWith(name, ".SCB") ||
               absl::EndsWith(name, ".scales")) {
      why = "; the model is quantised: fetch it as it was before";
    }
  }
  return absl::InvalidArgumentError(absl::StrCat(
      names.size(), " tensors have no place in a model with this config.json: ", NameList(names),
      why));
}

}  // namespace

absl::StatusOr<VocabularyRows> ReadVocabularyRows(const FolderConfig& config,
                                                  const FolderTensors& tensors) {
  const auto rows_of = [&](absl::string_view name, int said) -> absl::StatusOr<int> {
    const Names names = EmbeddingNames(config, name);
    for (const std::string& each : names) {
      const StoredTensor* const tensor = Find(tensors, each);
      if (tensor == nullptr) continue;
      const int64_t rows = tensor->shape().empty() ? 0 : tensor->shape()[0];
      if (rows < 4 || rows > 1 << 24 || (said > 0 && rows != said)) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", each, " has ", rows, " rows, config.json says ", said,
                         "; fetch the files that belong together"));
      }
      return static_cast<int>(rows);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", NameList({names[0]}), " is missing; fetch the weights again"));
  };
  VocabularyRows rows;
  LEAPSTREAM_ASSIGN_OR_RETURN(
      rows.source, rows_of("encoder.embedding", config.network.encoder.vocabulary_size));
  LEAPSTREAM_ASSIGN_OR_RETURN(
      rows.target, rows_of("decoder.embedding", config.network.decoder.vocabulary_size));
  return rows;
}

absl::StatusOr<ModelConfig> CompleteNetwork(const FolderConfig& config,
                                            const FolderTensors& tensors,
                                            const FolderVocabulary& vocabulary) {
  ModelConfig network = config.network;
  network.encoder.vocabulary_size = static_cast<int>(vocabulary.source.symbols.size());
  network.decoder.vocabulary_size = static_cast<int>(vocabulary.target.symbols.size());
  if (const StoredTensor* const bias = Find(tensors, kLogitsBias)) {
    const std::vector<int64_t>& shape = bias->shape();
    const auto rows = static_cast<size_t>(bias->count());
    const auto last = absl::c_max_element(vocabulary.target.rows);
    if (shape.size() != 2 || shape[0] != 1 || rows != static_cast<size_t>(*last) + 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", kLogitsBias, " has the shape ", ShapeText(shape), ", expected [1, ",
                       *last + 1, "]; fetch the weights again"));
    }
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<float> bias,
                              OutputBias(config, tensors, vocabulary.target));
  network.output_bias = absl::c_any_of(bias, [](float value) { return value != 0; });
  return network;
}

absl::StatusOr<std::map<std::string, FolderParameter>> MapFolderParameters(
    const FolderConfig& config, const FolderTensors& tensors, const FolderVocabulary& vocabulary,
    const ModelConfig& network) {
  std::map<std::string, FolderParameter> result;
  std::set<std::string> used = {kLogitsBias};
  if (config.family == FolderFamily::kM2m100 || config.family == FolderFamily::kFsmt) used.clear();
  Names missing;
  for (const TensorSpec& spec : ListTensors(network)) {
    FolderParameter& parameter = result[spec.name];
    if (spec.name == kOutputBiasName) {
      LEAPSTREAM_ASSIGN_OR_RETURN(parameter.values,
                                  OutputBias(config, tensors, vocabulary.target));
      continue;
    }
    const bool positions = absl::EndsWith(spec.name, "coder.positions");
    if (positions && config.family == FolderFamily::kMarian) {
      parameter.values = MarianPositions(
          absl::StartsWith(spec.name, "encoder") ? network.encoder : network.decoder);
      continue;
    }
    const bool embedding = absl::EndsWith(spec.name, "coder.embedding") ||
                           spec.name == "decoder.output";
    Names names = {absl::StrCat("model.", FairseqName(network, spec.name))};
    std::vector<int64_t> shape = spec.shape;
    if (embedding) {
      const SideVocabulary& side = absl::StartsWith(spec.name, "encoder") ? vocabulary.source
                                                                          : vocabulary.target;
      names = EmbeddingNames(config, spec.name);
      parameter.rows = &side.rows;
      shape[0] = *absl::c_max_element(side.rows) + 1;
    }
    for (const std::string& name : names) {
      const StoredTensor* const tensor = Find(tensors, name);
      if (tensor == nullptr) continue;
      used.insert(name);
      if (parameter.tensor != nullptr) {
        LEAPSTREAM_RETURN_IF_ERROR(CheckEqual(name, *tensor, parameter.name, *parameter.tensor));
        continue;
      }
      if (tensor->shape() != shape) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", name, " has the shape ", ShapeText(tensor->shape()),
                         ", config.json asks for ", ShapeText(shape)));
      }
      parameter.tensor = tensor;
      parameter.name = name;
    }
    if (parameter.tensor == nullptr) missing.push_back(names[0]);
  }
  if (!config.ties_output && Find(tensors, kOutput) == nullptr) missing.push_back(kOutput);
  if (!missing.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(missing.size(), " tensors are missing: ",
                                                   NameList(missing),
                                                   "; fetch the weights again"));
  }
  Names left_over;
  for (const auto& entry : tensors.tensors()) {
    if (used.count(entry.first) > 0 || IsStaticPositions(config, entry.first)) continue;
    left_over.push_back(entry.first);
  }
  if (!left_over.empty()) return LeftOver(left_over);
  return result;
}

namespace {

// Reads rows [first, first + count) of a parameter, each of `width` numbers.
absl::Status ReadRows(const FolderParameter& parameter, int64_t width, int64_t first,
                      absl::Span<float> values) {
  if (parameter.tensor == nullptr) {
    std::copy_n(parameter.values.begin() + first * width, values.size(), values.begin());
    return absl::OkStatus();
  }
  if (parameter.rows == nullptr) {
    return parameter.tensor->Read(parameter.name, first * width, values);
  }
  // Rows that lie one after the other are read together.
  const std::vector<TokenId>& rows = *parameter.rows;
  const auto count = static_cast<int64_t>(values.size()) / width;
  for (int64_t i = 0; i < count;) {
    int64_t run = 1;
    const TokenId row = rows[first + i];
    while (row >= 0 && i + run < count && rows[first + i + run] == row + run) ++run;
    const absl::Span<float> part = values.subspan(i * width, run * width);
    if (row < 0) {
      absl::c_fill(part, 0.0f);
    } else {
      LEAPSTREAM_RETURN_IF_ERROR(parameter.tensor->Read(parameter.name, row * width, part));
    }
    i += run;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteFolderParameters(const std::map<std::string, FolderParameter>& parameters,
                                   const ModelConfig& network, TensorType type,
                                   const std::string& path) {
  std::map<std::string, TensorHeader> headers;
  for (const TensorSpec& spec : ListTensors(network)) {
    const bool computed = parameters.at(spec.name).tensor == nullptr;
    headers[spec.name] = {computed ? TensorType::kFloat32 : type, spec.shape};
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(path, headers));
  std::vector<float> values;
  for (const std::string& name : writer.order()) {
    const TensorHeader& header = headers.at(name);
    const FolderParameter& parameter = parameters.at(name);
    int64_t width = 1;
    for (size_t d = 1; d < header.shape.size(); ++d) width *= header.shape[d];
    const int64_t block = std::max<int64_t>(kBlockElements / width, 1);
    for (int64_t first = 0; first < header.shape[0]; first += block) {
      values.resize(std::min(header.shape[0] - first, block) * width);
      LEAPSTREAM_RETURN_IF_ERROR(ReadRows(parameter, width, first, absl::MakeSpan(values)));
      LEAPSTREAM_RETURN_IF_ERROR(writer.AppendFloats(
          header.type, absl::StrCat("tensor ", parameter.name), values));
    }
  }
  return writer.Finish();
}

}  // namespace leapstream
