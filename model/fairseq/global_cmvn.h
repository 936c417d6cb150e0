#ifndef LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

inline constexpr int kMelBins = 80;  // The number of filter banks of exported models of speech.

// The mean and the standard deviation of each filter bank over the training data.
struct GlobalCmvn {
  std::vector<float> mean;  // [kMelBins]
  std::vector<float> std;   // [kMelBins], positive.
};

// Reads the file that fairseq's gen_config_yaml wrote (config_st.yaml), and the npz file that its
// global_cmvn.stats_npz_path names, which is looked for beside the yaml file, then under its own
// path. NOT_FOUND: no such file; UNIMPLEMENTED: another normalisation or number of filter banks;
// INVALID_ARGUMENT: a file is not of its kind.
absl::StatusOr<GlobalCmvn> ReadGlobalCmvn(const std::string& config_yaml);

// The two arrays of an npz file, which is a zip file of mean.npy and std.npy. Each has one
// dimension of kMelBins float32 or float64 values, little-endian. `name` is the file's name in
// errors. UNIMPLEMENTED: a compressed file; INVALID_ARGUMENT: anything else.
absl::StatusOr<GlobalCmvn> ParseCmvnNpz(absl::string_view bytes, absl::string_view name);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
