#ifndef LEAPSTREAM_MODEL_FAIRSEQ_SPEECH_SETTINGS_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_SPEECH_SETTINGS_H_

#include <string>

#include "absl/status/statusor.h"

namespace leapstream {

// The settings of a model of speech that its checkpoint does not have: those of the file that
// fairseq's gen_config_yaml wrote beside the training data (config_st.yaml).
struct SpeechSettings {
  std::string path;
  // The normalisation of features at inference: "global", "utterance" or "none". SpecAugment is for
  // training alone.
  std::string cmvn = "none";
  bool norm_means = true;  // Of utterance_cmvn.
  bool norm_vars = true;
  std::string stats_npz_path;   // Of global_cmvn; empty: there is none.
  bool prepend_tgt_lang_tag = false;  // Targets begin with the tag of their language.
  std::string vocabulary;             // The dictionary; empty: none is named.
  std::string sentencepiece_model;    // The same.

  // The file that a setting names: beside the yaml, or else under its own path, or else, by its
  // last part, beside the yaml. Empty: there is none of these.
  std::string Find(const std::string& name) const;
};

// Reads the settings. NOT_FOUND: no such file; UNIMPLEMENTED: another normalisation, number of
// filter banks or kind of input; INVALID_ARGUMENT: no yaml file of settings.
absl::StatusOr<SpeechSettings> ReadSpeechSettings(const std::string& path);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_SPEECH_SETTINGS_H_
