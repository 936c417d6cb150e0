#include "model/fairseq/checkpoint.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "model/fairseq/checkpoint_options.h"

namespace leapstream {

absl::Status FairseqCheckpoint::Error(absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(name(), ": ", what));
}

absl::StatusOr<FairseqCheckpoint> FairseqCheckpoint::Parse(absl::string_view bytes,
                                                           absl::string_view name) {
  LEAPSTREAM_ASSIGN_OR_RETURN(TorchFile file, TorchFile::Parse(bytes, name));
  FairseqCheckpoint result(std::move(file));
  const Pickle& pickle = result.file_.pickle();
  auto parameters = result.file_.Tensors(pickle.Find(pickle.root(), "model"), "`model`");
  if (!parameters.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(parameters.status().message(), "; not a fairseq checkpoint"));
  }
  result.parameters_ = *std::move(parameters);
  if (result.parameters_.empty()) {
    return result.Error("no `model` with tensors; not a fairseq checkpoint");
  }
  LEAPSTREAM_ASSIGN_OR_RETURN(result.options_, ReadOptions(result.file_));
  return result;
}

std::string FairseqCheckpoint::architecture() const {
  for (const char* option : {"arch", "_name"}) {
    if (const auto found = options_.find(option); found != options_.end()) return found->second;
  }
  return "";
}

absl::StatusOr<ParameterRows> FairseqCheckpoint::AllRows(const std::string& parameter) const {
  const auto found = parameters_.find(parameter);
  if (found == parameters_.end()) {
    return Error(absl::StrCat("parameter ", parameter, " is missing"));
  }
  const std::vector<int64_t>& shape = found->second.shape;
  return ParameterRows{parameter, 0, shape.empty() ? 1 : shape[0]};
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadFloats(
    const std::string& parameter) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const ParameterRows rows, AllRows(parameter));
  return ReadRows(rows);
}

absl::StatusOr<std::vector<float>> FairseqCheckpoint::ReadRows(const ParameterRows& rows) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const PickledTensor part, RowsOf(rows));
  // A damaged file can claim any size, so that there must be as many numbers before they are made.
  if (ElementsOf(part) > part.storage.elements) {
    return Error(absl::StrCat("parameter ", absl::CHexEscape(rows.parameter.substr(0, 200)),
                              ": larger than its storage"));
  }
  std::vector<float> values(ElementsOf(part));
  LEAPSTREAM_RETURN_IF_ERROR(ReadPart(rows, 0, absl::MakeSpan(values)));
  return values;
}

template <typename Number>
absl::Status FairseqCheckpoint::ReadPart(const ParameterRows& rows, int64_t first,
                                         absl::Span<Number> values) const {
  LEAPSTREAM_ASSIGN_OR_RETURN(const PickledTensor part, RowsOf(rows));
  return file_.Read(
      part, absl::StrCat("parameter ", absl::CHexEscape(rows.parameter.substr(0, 200))), first,
      values);
}
template absl::Status FairseqCheckpoint::ReadPart(const ParameterRows& rows, int64_t first,
                                                  absl::Span<float> values) const;
template absl::Status FairseqCheckpoint::ReadPart(const ParameterRows& rows, int64_t first,
                                                  absl::Span<double> values) const;

absl::StatusOr<PickledTensor> FairseqCheckpoint::RowsOf(const ParameterRows& rows) const {
  const auto found = parameters_.find(rows.parameter);
  if (found == parameters_.end()) {
    return Error(absl::StrCat("parameter ", rows.parameter, " is missing"));
  }
  PickledTensor part = found->second;
  if (part.shape.empty()) part.shape = part.strides = {1};  // A number is a row of its own.
  if (rows.first < 0 || rows.count < 1 || rows.first > part.shape[0] - rows.count) {
    return Error(absl::StrCat("parameter ", rows.parameter, " has no rows [", rows.first, ", ",
                              rows.first + rows.count, ")"));
  }
  part.offset += rows.first * part.strides[0];
  part.shape[0] = rows.count;
  return part;
}

}  // namespace leapstream
