#ifndef LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream {

// What is in the checkpoint, for people: UTF-8 lines. Also of a model that is not served, and why
// it is not. Errors: those of MappedFile::Open() and FairseqCheckpoint::Parse().
absl::StatusOr<std::string> InspectCheckpoint(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_INSPECT_H_
