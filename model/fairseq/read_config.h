#ifndef LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/languages.h"
#include "model/fairseq/option_table.h"

namespace leapstream {

// The configuration of a model, read from a checkpoint's options and parameters.
struct ConfigReading {
  // Filled as far as it could be read, even if `status` is an error. The caller fills in name,
  // cross_normaliser and the CMVN of speech.
  ModelConfig config;
  bool known_architecture = false;  // If not, kind, causal_encoder and simul_type mean nothing.
  ModelKind kind = kBidirectionalText;
  LanguageSetup languages;  // `config` has its frame and languages.
  // UNIMPLEMENTED: a model that is not served; INVALID_ARGUMENT: options or parameters that are
  // missing or wrong. The message has all reasons, with each option's name and value.
  absl::Status status;
};

// Reads a checkpoint's configuration. `ignored_options`: names of options that are not in
// OptionRows() and that the user knows to change nothing at inference. Any other option that is on
// and not in OptionRows() is refused.
ConfigReading ReadConfig(const FairseqCheckpoint& checkpoint,
                         absl::Span<const std::string> ignored_options = {});

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_
