#ifndef LEAPSTREAM_MODEL_API_SAFETENSORS_WRITER_H_
#define LEAPSTREAM_MODEL_API_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "model/api/safetensors.h"

namespace leapstream {

struct TensorHeader {
  TensorType type = TensorType::kFloat32;
  std::vector<int64_t> shape;
};

// Writes a safetensors file piece by piece, so that no tensor need be in memory as a whole. Data is
// aligned to 64 bytes. Not thread-safe.
class SafetensorsWriter {
 public:
  // Begins a file of these tensors. INTERNAL: the file cannot be written.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::string& path, const std::map<std::string, TensorHeader>& tensors);

  // The names of the tensors in the order in which their data must be appended.
  const std::vector<std::string>& order() const { return order_; }
  // Appends bytes of the tensor whose turn it is. A tensor may take any number of calls.
  void Append(absl::string_view bytes);
  // Appends numbers to a tensor of type kFloat32 or kFloat16. INVALID_ARGUMENT: a number is too
  // large for float16; the message begins with `what`.
  absl::Status AppendFloats(TensorType type, absl::string_view what,
                            absl::Span<const float> values);
  // Closes the file. REQUIRES: each tensor has all of its bytes. INTERNAL: something could not be
  // written.
  absl::Status Finish();

 private:
  SafetensorsWriter() = default;

  std::string path_;
  std::ofstream file_;
  std::vector<std::string> order_;
  int64_t left_ = 0;  // The bytes that are still to come.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_SAFETENSORS_WRITER_H_
