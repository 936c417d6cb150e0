#ifndef LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_TOKENIZER_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_TOKENIZER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/model_config.h"
#include "model/api/tokenizer.h"
#include "model/fairseq/export.h"

namespace leapstream {

// Decides how text becomes symbols and back: fills the source_tokenizer and target_tokenizer of
// *config, whose languages are set. What `options` leaves open is as the checkpoint's own options
// say (config->fairseq_options), and otherwise as the given files suggest. Appends what the user
// should know to *notes. UNIMPLEMENTED: a BPE or a tokenizer that is not served, by its name.
// INVALID_ARGUMENT: options or files that contradict each other, or that are missing.
absl::Status ChooseTokenizers(const ExportOptions& options, ModelConfig* config,
                              std::vector<std::string>* notes);

// The files of the tokenizers that `config` asks for: the path of each, and its name in a model
// directory. Non-breaking prefixes that are not given are left out.
std::vector<std::pair<std::string, const char*>> TokenizerFilePaths(const ExportOptions& options,
                                                                    const ModelConfig& config);

// The tokenizer of the codes in `options` alone. Errors: those of Tokenizer::Create();
// INVALID_ARGUMENT, NOT_FOUND: the file cannot be read.
absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadBpeCodes(const TokenizerOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_TOKENIZER_H_
