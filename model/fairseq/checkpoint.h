#ifndef LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
#define LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/fairseq/pickle.h"
#include "model/fairseq/zip_archive.h"

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
  // Reads the bytes of a file. `name` is the file's name in errors. Errors: those of ZipArchive and
  // Pickle; INVALID_ARGUMENT: a PyTorch file that is no fairseq checkpoint.
  static absl::StatusOr<FairseqCheckpoint> Parse(absl::string_view bytes, absl::string_view name);

  const std::string& name() const { return name_; }
  // The options of the model and its task, as text. Numbers, bools and lists of them are written as
  // in Python; NumPy's numbers and one-element tensors are written as numbers; other objects are
  // <their class>. Options that are None are left out. Options of a nested configuration have flat
  // names: encoder_embed_dim.
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
  absl::StatusOr<std::vector<double>> ReadDoubleRows(const ParameterRows& rows) const;

 private:
  FairseqCheckpoint(absl::string_view name, ZipArchive archive, Pickle pickle)
      : name_(name), archive_(std::move(archive)), pickle_(std::move(pickle)) {}
  absl::Status Error(absl::string_view what) const;
  ValueId Unwrap(ValueId id) const;
  std::string OptionText(ValueId id, int depth) const;
  std::string RecordText(const PickledValue& record, int depth) const;
  std::optional<std::string> BytesOf(ValueId id) const;
  std::string NumpyText(ValueId dtype, ValueId bytes) const;
  std::string TensorText(const PickledTensor& tensor) const;
  void AddOptions(ValueId parent, absl::string_view prefix);
  void AddNestedOptions(ValueId parent);
  void ResolveInterpolations();
  absl::StatusOr<PickledTensor> RowsOf(const ParameterRows& rows) const;
  template <typename Number>
  absl::StatusOr<std::vector<Number>> ReadTensor(const std::string& parameter,
                                                 const PickledTensor& tensor) const;

  std::string name_;
  ZipArchive archive_;
  Pickle pickle_;
  std::string folder_;
  bool big_endian_ = false;
  std::map<std::string, std::string> options_;
  std::map<std::string, PickledTensor> parameters_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_FAIRSEQ_CHECKPOINT_H_
