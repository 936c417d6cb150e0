#ifndef LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/fairseq/speech_settings.h"

namespace leapstream {

inline constexpr int kMelBins = 80;  // The number of filter banks of exported models of speech.

// The mean and the standard deviation of each filter bank over the training data.
struct GlobalCmvn {
  std::vector<float> mean;  // [kMelBins]
  std::vector<float> std;   // [kMelBins], positive.
};

// Reads the npz file that the global_cmvn.stats_npz_path of a model's settings names. NOT_FOUND: no
// such file; UNIMPLEMENTED: the settings name none; INVALID_ARGUMENT: the file is not of its kind.
absl::StatusOr<GlobalCmvn> ReadGlobalCmvn(const SpeechSettings& settings);

// The two arrays of an npz file, which is a zip file of mean.npy and std.npy. Each has one
// dimension of kMelBins float32 or float64 values, little-endian. `name` is the file's name in
// errors. UNIMPLEMENTED: a compressed file; INVALID_ARGUMENT: anything else.
absl::StatusOr<GlobalCmvn> ParseCmvnNpz(absl::string_view bytes, absl::string_view name);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
