#ifndef LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/api/safetensors.h"

namespace leapstream {

// How text becomes symbols, beside SentencePiece models. Whatever is empty or false is decided by
// the checkpoint and the files: see ChooseTokenizers().
struct TokenizerOptions {
  std::string bpe;              // fairseq's --bpe.
  std::string tokenizer;        // fairseq's --tokenizer.
  std::string bpe_codes;        // Of the source; the target's symbols are joined without codes.
  std::string bpe_vocabulary;   // subword-nmt's vocabulary, which needs the threshold.
  int bpe_vocabulary_threshold = 0;
  std::string prefixes;               // Moses' nonbreaking_prefix.XX of the source.
  std::string moses_source_language;  // Empty: the model's. The same holds for the target's.
  std::string moses_target_language;
  bool moses_no_dash_splits = false;
  bool moses_no_escape = false;
  bool lowercase = false;  // The source is lower-cased after the tokenizer.
};

struct ExportOptions {
  std::vector<std::string> checkpoints;  // One file, or several: see `average` and `ensemble`.
  bool average = false;  // Exports the checkpoints' mean, with the configuration of the first.
  // Exports all checkpoints as one model, whose networks decide together: see engine/ensemble.h.
  bool ensemble = false;
  // For models of speech only, which have no source dictionary and no source SentencePiece model.
  std::string config_yaml;
  std::string source_dictionary;
  std::string target_dictionary;
  std::string source_sentencepiece;
  std::string target_sentencepiece;
  TokenizerOptions tokenizer;
  std::string source_language;  // Empty: the checkpoint's. The same holds for the target's.
  std::string target_language;
  std::string output;                        // The model directory to write.
  // The symbol between source and target of a language model that translates. Empty: it does not.
  std::string separator;
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
// checkpoints without `average` or `ensemble`. UNIMPLEMENTED: a model that is not served.
absl::Status ExportModel(const ExportOptions& options, std::vector<std::string>* notes = nullptr);

// Checks that each given dictionary goes with the SentencePiece model or the BPE codes of the same
// side. Results and errors: those of CheckPieces(), Vocabulary and Tokenizer.
absl::StatusOr<std::vector<std::string>> CheckPieceFiles(const ExportOptions& options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_EXPORT_H_
