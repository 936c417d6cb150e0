#ifndef LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/safetensors.h"

namespace leapstream {

struct ExportOptions {
  std::vector<std::string> checkpoints;  // One file, or with `average` any number, of one model.
  bool average = false;  // Exports the checkpoints' mean, with the configuration of the first.
  // For models of speech only, which have no source dictionary and no source SentencePiece model.
  std::string config_yaml;
  std::string source_dictionary;
  std::string target_dictionary;
  std::string source_sentencepiece;
  std::string target_sentencepiece;
  std::string source_language;  // Empty: the checkpoint's. The same holds for the target's.
  std::string target_language;
  std::string output;                        // The model directory to write.
  std::string name;  // Empty: SOURCE-TARGET, or the output's name if the model has no pair.
  std::string cross_normaliser = "linear";   // "softmax" only for LeaP cross-attention with wait-k.
  // fairseq's options that replace the checkpoint's own, by their names with `_`: fairseq, too, takes
  // those of languages from the command line. The value of lang_dict is a file here.
  std::map<std::string, std::string> fairseq_options;
  std::vector<std::string> ignored_options;  // Names of fairseq's options; see ReadConfig().
  TensorType weight_type = TensorType::kFloat32;  // kFloat32 or kFloat16.
};

// Makes a model directory of a fairseq checkpoint, or of the mean of several. The directory is
// written beside `output` and renamed, so that `output` is unchanged after a failure. `notes`, if
// it is not null, gets warnings for the user; see CheckPieces(). Errors: those of
// FairseqCheckpoint, Vocabulary and Tokenizer. FAILED_PRECONDITION: `output` exists and is neither
// empty nor a model directory. INVALID_ARGUMENT: files that do not belong together, or several
// checkpoints without `average`. UNIMPLEMENTED: a model that is not served.
absl::Status ExportModel(const ExportOptions& options, std::vector<std::string>* notes = nullptr);

// Checks that each given dictionary goes with the SentencePiece model that is given for the same
// side. Results and errors: those of CheckPieces(), Vocabulary and Tokenizer.
absl::StatusOr<std::vector<std::string>> CheckPieceFiles(const ExportOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
