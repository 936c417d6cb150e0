#ifndef LEAPSTREAM_MODEL_FAIRSEQ_PARAMETER_NAMES_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_PARAMETER_NAMES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/fairseq/checkpoint.h"

namespace leapstream {

// Where the parameters of a served model lie in a checkpoint.
struct ParameterMap {
  std::map<std::string, ParameterRows> sources;  // Under our names, those of ListTensors().
  std::map<std::string, std::string> ignored;    // fairseq's name to WhyIgnored().
};

// Takes the names that fairseq has now and those that it still upgrades. INVALID_ARGUMENT:
// parameters that are missing, left over or of another shape than `config` has, or that differ
// though the configuration says that they are one.
absl::StatusOr<ParameterMap> MapParameters(const FairseqCheckpoint& checkpoint,
                                           const ModelConfig& config);

// Why a model of this configuration does not need the parameter with fairseq's name `parameter`, in
// a few words; empty if it does, or if it should not have it.
std::string WhyIgnored(const ModelConfig& config, absl::string_view parameter);

// The mean over checkpoints of a parameter that lies in the same place in all, as fairseq's
// average_checkpoints.py computes it: the sum in the order given, divided, each step rounded to the
// first checkpoint's type, half precision as float32. Of one checkpoint, its values.
// `checkpoints` is not empty. Errors: those of ReadRows().
absl::StatusOr<std::vector<float>> ReadMean(absl::Span<const FairseqCheckpoint> checkpoints,
                                            const ParameterRows& rows);

// INVALID_ARGUMENT names the file and the parameter: `other` has not the parameters of `first`.
absl::Status CheckSameParameters(const FairseqCheckpoint& first, const FairseqCheckpoint& other);

// Layers count from 0; `side` is "encoder" or "decoder".
bool HasLayer(const FairseqCheckpoint& checkpoint, absl::string_view side, int layer);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_PARAMETER_NAMES_H_
