#ifndef LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_

#include "model/api/model_config.h"
#include "model/fairseq/option_reader.h"

namespace leapstream {

// Reads the parts of a transformer_lm beside its layers: the bands of adaptive input and soft-max,
// from the parameters' shapes. `options` collects what is wrong or not served.
LanguageModelConfig ReadLanguageModel(OptionReader* options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_READ_LANGUAGE_MODEL_H_
