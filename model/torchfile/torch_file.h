#ifndef LEAPSTREAM_MODEL_TORCHFILE_TORCH_FILE_H_
#define LEAPSTREAM_MODEL_TORCHFILE_TORCH_FILE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/torchfile/pickle.h"
#include "model/torchfile/zip_archive.h"

namespace leapstream {

// A file that torch.save() wrote: a pickled object and the storages of its tensors. Both formats
// are read: the zip file, and the row of pickles that PyTorch wrote before 1.6. Nothing in the file
// is imported or called. Points into bytes that somebody else owns. Const and thread-safe.
class TorchFile {
 public:
  // Reads the bytes of a file, without its numbers. `name` is the file's name in errors.
  // INVALID_ARGUMENT: not such a file, or a damaged or cut one; UNIMPLEMENTED: a compressed or
  // split zip file, and of the old format a big-endian file, views of storages and pickled modules;
  // RESOURCE_EXHAUSTED: see Pickle.
  static absl::StatusOr<TorchFile> Parse(absl::string_view bytes, absl::string_view name);
  ~TorchFile();
  TorchFile(TorchFile&&) noexcept;
  TorchFile& operator=(TorchFile&&) noexcept;

  const std::string& name() const { return name_; }
  // The object that was saved, and all that it holds.
  const Pickle& pickle() const { return pickle_; }

  // The tensors of a dict, by their keys. `what` is the dict in errors. INVALID_ARGUMENT: some key
  // is no string, or some value no tensor.
  absl::StatusOr<std::map<std::string, PickledTensor>> Tensors(ValueId dict,
                                                               absl::string_view what) const;

  // Reads the elements [first, first + values.size()) of a tensor, in row-major order. `what` is
  // the tensor in errors. A storage is checked when it is first read. INVALID_ARGUMENT: numbers
  // that are damaged, not finite or of no floating type, or elements that the tensor does not have.
  absl::Status Read(const PickledTensor& tensor, absl::string_view what, int64_t first,
                    absl::Span<float> values) const;
  absl::Status Read(const PickledTensor& tensor, absl::string_view what, int64_t first,
                    absl::Span<double> values) const;
  // The number of a tensor of one element, as Python writes it; nullopt: there is no such number.
  std::optional<std::string> NumberText(const PickledTensor& tensor) const;

 private:
  struct Storages;

  TorchFile(absl::string_view bytes, absl::string_view name);
  absl::Status Error(absl::string_view what) const;
  absl::Status ParseZip();
  absl::Status ParseOld();
  absl::StatusOr<absl::string_view> Bytes(const PickledStorage& storage) const;
  template <typename Number>
  absl::Status ReadNumbers(const PickledTensor& tensor, absl::string_view what, int64_t first,
                           absl::Span<Number> values) const;

  absl::string_view bytes_;
  std::string name_;
  Pickle pickle_;
  std::optional<ZipArchive> archive_;  // Unset: a file of the old format.
  std::string folder_;                 // The folder of all entries of a zip file.
  bool big_endian_ = false;
  std::unique_ptr<Storages> storages_;  // The bytes of storages that are known to be whole.
};

// The number of elements of a tensor. Pickle has checked that it fits.
int64_t ElementsOf(const PickledTensor& tensor);

// The unsigned number of `size` bytes, of which the first is the lowest unless `swap`.
uint64_t BitsOf(const char* bytes, int size, bool swap);
// The number of these bits. REQUIRES: `type` is a floating type.
double RealOf(StorageType type, uint64_t bits);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_TORCHFILE_TORCH_FILE_H_
