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

// The places in a checkpoint of the parameters of a served model.
struct ParameterMap {
  std::map<std::string, ParameterRows> sources;  // By leapstream's names, those of ListTensors().
  std::map<std::string, std::string> ignored;    // fairseq's names and their WhyIgnored().
};

// Finds the parameters of a model under the names that fairseq has now and those that it still
// upgrades. INVALID_ARGUMENT: parameters are missing, left over or of another shape than `config`
// has, or differ although the configuration makes them one.
absl::StatusOr<ParameterMap> MapParameters(const FairseqCheckpoint& checkpoint,
                                           const ModelConfig& config);

// The architecture whose encoder, since April 2021, is a plain convtransformer's beside layers of an
// Emformer that never run.
inline constexpr char kEmformer[] = "convtransformer_emformer";

// fairseq's name of the parameter that leapstream calls `name`.
std::string FairseqName(const ModelConfig& config, absl::string_view name);

// The reason, in a few words, why a model of this configuration does not need the parameter with
// fairseq's name `parameter`; empty if it needs it, or should not have it.
std::string WhyIgnored(const ModelConfig& config, absl::string_view parameter);

// Reads the values [first, first + values.size()) of a parameter's rows, as the mean over
// checkpoints that have it in the same place. The mean is computed as fairseq's
// average_checkpoints.py does: the sum in the given order, divided by their number, each step
// rounded to the first checkpoint's type, or to float32 if that is half precision. The mean of one
// checkpoint is its values. `checkpoints` is not empty. Errors: those of ReadPart().
absl::Status ReadMean(absl::Span<const FairseqCheckpoint> checkpoints, const ParameterRows& rows,
                      int64_t first, absl::Span<float> values);

// Checks that `other` has the same parameters as `first`. INVALID_ARGUMENT: it has not; the message
// names the file and the parameter.
absl::Status CheckSameParameters(const FairseqCheckpoint& first, const FairseqCheckpoint& other);

// Whether a side has a layer of this number. Layers count from 0; `side` is "encoder" or "decoder".
bool HasLayer(const FairseqCheckpoint& checkpoint, absl::string_view side, int layer);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_PARAMETER_NAMES_H_
