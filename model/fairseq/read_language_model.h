#ifndef LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/fairseq/checkpoint.h"

namespace leapstream {

inline constexpr int kMostTableRows = 1 << 24;

// The shape of a table of embeddings, kMostTableRows at most in both. INVALID_ARGUMENT: there is no
// such parameter, or it is no table.
absl::StatusOr<std::pair<int, int>> ShapeOfTable(const FairseqCheckpoint& checkpoint,
                                                 const std::string& parameter);

// The parts of a transformer_lm beside its layers, and sentences on what is wrong with them or not
// served.
struct LanguageModelReading {
  LanguageModelConfig config;
  std::vector<std::string> errors;
  std::vector<std::string> refusals;
};
// Reads the bands of adaptive input and soft-max from the parameters' shapes.
LanguageModelReading ReadLanguageModel(const FairseqCheckpoint& checkpoint);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_
