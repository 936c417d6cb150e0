#ifndef LEAPSTREAM_MODEL_FAIRSEQ_OPEN_CHECKPOINT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_OPEN_CHECKPOINT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "model/api/safetensors.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/export.h"

namespace leapstream {

// A checkpoint, as somebody who exports it wants it read.
struct OpenedCheckpoint {
  std::unique_ptr<const MappedFile> file;  // `checkpoint` points into it.
  FairseqCheckpoint checkpoint;
};

// Opens a checkpoint and puts fairseq's options of `options`, and its languages, in the place of
// the checkpoint's own. Of a multilingual_translation it keeps the pair's model, if the pair is
// known. Errors: those of MappedFile::Open() and FairseqCheckpoint::Parse(); INVALID_ARGUMENT or
// NOT_FOUND: --lang-dict is no list of languages.
absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& path,
                                                const ExportOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_OPEN_CHECKPOINT_H_
