#ifndef LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_

#include <string>

#include "absl/status/statusor.h"
#include "model/fairseq/export.h"

namespace leapstream {

// What is in the checkpoint, for people: UTF-8 lines. Also of a model that is not served, and why
// it is not. `options`: what it would be exported with; of the files that it names, those that it
// does. Errors: those of MappedFile::Open() and FairseqCheckpoint::Parse().
absl::StatusOr<std::string> InspectCheckpoint(const std::string& path,
                                              const ExportOptions& options = {});

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
