#ifndef LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/model_config.h"
#include "model/fairseq/checkpoint.h"
#include "model/fairseq/option_table.h"

namespace leapstream {

// What a checkpoint's options and parameters say of its model.
struct ConfigReading {
  // As far as it could be read, also where `status` is an error. name and cross_normaliser are the
  // caller's to fill.
  ModelConfig config;
  bool known_architecture = false;  // Or kind, causal_encoder and simul_type mean nothing.
  ModelKind kind = kBidirectionalText;
  // UNIMPLEMENTED: a model that is not served; INVALID_ARGUMENT: options or parameters that are
  // missing or wrong. With all reasons: each option by its name and value.
  absl::Status status;
};

// `ignored_options`: names of options that leapstream does not know, and that are known to change
// nothing at inference. Any other option that is on and not in OptionRows() is refused.
ConfigReading ReadConfig(const FairseqCheckpoint& checkpoint,
                         absl::Span<const std::string> ignored_options = {});

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_READ_CONFIG_H_
