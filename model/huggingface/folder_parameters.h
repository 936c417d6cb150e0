#ifndef LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_PARAMETERS_H_
#define LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_PARAMETERS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/huggingface/folder_config.h"
#include "model/huggingface/folder_tensors.h"
#include "model/huggingface/folder_vocabulary.h"

namespace leapstream {

// The logit of a token that must never be decided. A bias of this size leaves log-probabilities as
// they would be without the token.
inline constexpr float kNever = -1e9f;

// The embeddings' rows, which the tensors say. `config`: for the names of the tensors.
// INVALID_ARGUMENT: there is no embedding, or config.json has other numbers.
absl::StatusOr<VocabularyRows> ReadVocabularyRows(const FolderConfig& config,
                                                  const FolderTensors& tensors);

// Completes the network's configuration by what tensors and vocabulary say: the vocabularies' sizes
// and whether the logits have a bias.
absl::StatusOr<ModelConfig> CompleteNetwork(const FolderConfig& config,
                                            const FolderTensors& tensors,
                                            const FolderVocabulary& vocabulary);

// The place of a parameter: a tensor of the folder, or values that are computed.
struct FolderParameter {
  const StoredTensor* tensor = nullptr;         // Null: the values below.
  std::string name;                             // The tensor's, for messages.
  const std::vector<TokenId>* rows = nullptr;  // Row i is row (*rows)[i] of the tensor, or zero.
  std::vector<float> values;
};

// Finds all parameters of a model: by leapstream's names, those of ListTensors(). The result points
// into `tensors` and `vocabulary`. `network`: CompleteNetwork()'s. INVALID_ARGUMENT: tensors are
// missing, left over or of another shape, or differ although they are one; the message names them.
absl::StatusOr<std::map<std::string, FolderParameter>> MapFolderParameters(
    const FolderConfig& config, const FolderTensors& tensors, const FolderVocabulary& vocabulary,
    const ModelConfig& network);

// Writes the parameters to a safetensors file, some rows at a time. Numbers that are computed are
// float32. INVALID_ARGUMENT: a number is not finite or does not fit `type`.
absl::Status WriteFolderParameters(const std::map<std::string, FolderParameter>& parameters,
                                   const ModelConfig& network, TensorType type,
                                   const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_HUGGINGFACE_FOLDER_PARAMETERS_H_
