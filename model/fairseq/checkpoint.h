#ifndef LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/torchfile/torch_file.h"

namespace leapstream {

// Rows [first, first + count) of a parameter, which has at least one dimension.
struct ParameterRows {
  std::string parameter;
  int64_t first = 0;
  int64_t count = 0;
};

// A fairseq checkpoint_*.pt: its options and parameters under fairseq's names, without their
// meaning. Points into bytes that somebody else owns. Const and thread-safe.
class FairseqCheckpoint {
 public:
  // Reads the bytes of a file. `name` is the file's name in errors. Errors: those of TorchFile and
  // ReadOptions(); INVALID_ARGUMENT: a PyTorch file that is no fairseq checkpoint.
  static absl::StatusOr<FairseqCheckpoint> Parse(absl::string_view bytes, absl::string_view name);

  const std::string& name() const { return file_.name(); }
  // The options of the model and its task: see ReadOptions().
  const std::map<std::string, std::string>& options() const { return options_; }
  const std::map<std::string, PickledTensor>& parameters() const { return parameters_; }
  // fairseq's --arch; empty if the checkpoint has none.
  std::string architecture() const;

  // The values of a parameter, row-major. INVALID_ARGUMENT: they are damaged, not finite, or of no
  // floating type.
  absl::StatusOr<std::vector<float>> ReadFloats(const std::string& parameter) const;
  // The values of some rows of a parameter. INVALID_ARGUMENT: see ReadFloats(), or the parameter
  // has no such rows.
  absl::StatusOr<std::vector<float>> ReadRows(const ParameterRows& rows) const;
  // Reads the values [first, first + values.size()) of those rows, counted row by row. Number is
  // float or double. Errors: see ReadRows().
  template <typename Number>
  absl::Status ReadPart(const ParameterRows& rows, int64_t first,
                        absl::Span<Number> values) const;
  // All rows of a parameter; a number is one row. INVALID_ARGUMENT: there is no such parameter.
  absl::StatusOr<ParameterRows> AllRows(const std::string& parameter) const;

 private:
  explicit FairseqCheckpoint(TorchFile file) : file_(std::move(file)) {}
  absl::Status Error(absl::string_view what) const;
  absl::StatusOr<PickledTensor> RowsOf(const ParameterRows& rows) const;

  TorchFile file_;
  std::map<std::string, std::string> options_;
  std::map<std::string, PickledTensor> parameters_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
