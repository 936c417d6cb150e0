#ifndef LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/safetensors.h"

namespace leapstream {

struct ExportOptions {
  std::vector<std::string> checkpoints;  // One, or with `average` any number of one model.
  bool average = false;                  // Their mean, with the configuration of the first.
  std::string config_yaml;  // Of speech, which has no source dictionary and SentencePiece model.
  std::string source_dictionary;
  std::string target_dictionary;
  std::string source_sentencepiece;
  std::string target_sentencepiece;
  std::string source_language;  // Empty: the checkpoint's.
  std::string target_language;
  std::string output;                        // The model directory to write.
  std::string name;                          // Empty: SOURCE-TARGET.
  std::string cross_normaliser = "linear";   // "softmax" only for LeaP cross-attention with wait-k.
  std::vector<std::string> ignored_options;  // Names of the checkpoint's; see ReadConfig().
  TensorType weight_type = TensorType::kFloat32;  // kFloat32 or kFloat16.
};

// Makes a model directory of a fairseq checkpoint, or of the mean of several. It is written beside
// `output` and renamed, so after a failure `output` is as it was. FAILED_PRECONDITION: `output` is
// there and is neither empty nor a model directory. Others: those of FairseqCheckpoint and
// Vocabulary; INVALID_ARGUMENT: files that do not belong together, or several without `average`;
// UNIMPLEMENTED: a model that is not served. `notes`, if it is not null, gets what whoever exports
// it should know; see CheckPieces().
absl::Status ExportModel(const ExportOptions& options, std::vector<std::string>* notes = nullptr);

// Whether each dictionary that is given goes with the SentencePiece model that is given beside it:
// see CheckPieces(). Errors also: those of Vocabulary and Tokenizer.
absl::StatusOr<std::vector<std::string>> CheckPieceFiles(const ExportOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
