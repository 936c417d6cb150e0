#ifndef LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace leapstream {

inline constexpr int kMelBins = 80;  // Of the models of speech that are exported.

// Mean and standard deviation of each filter bank over the training data.
struct GlobalCmvn {
  std::vector<float> mean;  // [kMelBins]
  std::vector<float> std;   // [kMelBins], positive.
};

// Reads what fairseq's gen_config_yaml wrote (config_st.yaml), and the npz file that its
// global_cmvn.stats_npz_path names: looked for beside the yaml file, then as given. NOT_FOUND: no
// such file; UNIMPLEMENTED: another normalisation or number of filter banks; INVALID_ARGUMENT: not
// such files.
absl::StatusOr<GlobalCmvn> ReadGlobalCmvn(const std::string& config_yaml);

// The two arrays of an npz file, a zip file of mean.npy and std.npy: one dimension, kMelBins
// float32 or float64, little-endian. INVALID_ARGUMENT: anything else; UNIMPLEMENTED: compressed.
// `name` is the file's in errors.
absl::StatusOr<GlobalCmvn> ParseCmvnNpz(absl::string_view bytes, absl::string_view name);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_GLOBAL_CMVN_H_
