#ifndef LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/fairseq/export.h"

namespace leapstream {

// Three lines for people on a model that is served: what it translates, the policy that suits it,
// and what a token costs.
std::string ServingText(const ModelConfig& config);

// Describes a checkpoint for people, in lines of UTF-8. Also describes a model that is not served,
// with the reasons. `options`: the options that it would be exported with; they may leave files
// out. Errors: those of MappedFile::Open() and FairseqCheckpoint::Parse().
absl::StatusOr<std::string> InspectCheckpoint(const std::string& path,
                                              const ExportOptions& options = {});

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
