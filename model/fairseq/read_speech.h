#ifndef LEAPSTREAM_MODEL_FAIRSEQ_READ_SPEECH_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_READ_SPEECH_H_

#include "model/api/model_config.h"
#include "model/fairseq/architectures.h"
#include "model/fairseq/option_reader.h"

namespace leapstream {

// Reads the front end of a model of speech, its conformer if it is one, and its fixed
// pre-decision, from the options and the parameters' shapes. `options` collects what is wrong or
// not served. `model` has its architecture already, and is one of speech.
SpeechConfig ReadSpeech(const ModelConfig& model, ModelKind kind, OptionReader* options);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_READ_SPEECH_H_
