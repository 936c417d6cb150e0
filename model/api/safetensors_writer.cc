#include "model/api/safetensors_writer.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "model/api/half.h"

namespace leapstream {
namespace {

using Json = nlohmann::json;

constexpr size_t kDataAlignment = 64;

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, const std::map<std::string, TensorHeader>& tensors) {
  SafetensorsWriter writer;
  writer.path_ = path;
  for (const auto& entry : tensors) writer.order_.push_back(entry.first);
  // The format has no padding between tensors: widest elements first keeps each one aligned.
  std::stable_sort(writer.order_.begin(), writer.order_.end(),
                   [&tensors](const std::string& a, const std::string& b) {
                     return ElementBytes(tensors.at(a).type) > ElementBytes(tensors.at(b).type);
                   });
  Json header = Json::object();
  for (const std::string& name : writer.order_) {
    const TensorHeader& tensor = tensors.at(name);
    int64_t bytes = ElementBytes(tensor.type);
    for (const int64_t size : tensor.shape) {
      LEAPSTREAM_CHECK(!__builtin_mul_overflow(bytes, size, &bytes));
    }
    const int64_t begin = writer.left_;
    writer.left_ += bytes;
    header[name] = {{"dtype", TypeNameOf(tensor.type)},
                    {"shape", tensor.shape},
                    {"data_offsets", {begin, writer.left_}}};
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((kDataAlignment - (8 + text.size()) % kDataAlignment) % kDataAlignment, ' ');
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(uint64_t(text.size()) >> (8 * i));
  writer.file_.open(path, std::ios::binary | std::ios::trunc);
  writer.file_.write(length, sizeof(length));
  writer.file_.write(text.data(), text.size());
  if (!writer.file_) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return writer;
}

void SafetensorsWriter::Append(absl::string_view bytes) {
  left_ -= static_cast<int64_t>(bytes.size());
  LEAPSTREAM_CHECK(left_ >= 0);
  file_.write(bytes.data(), bytes.size());  // Finish() says whether it worked.
}

absl::Status SafetensorsWriter::AppendFloats(TensorType type, absl::string_view what,
                                             absl::Span<const float> values) {
  if (type == TensorType::kFloat32) {
    Append(absl::string_view(reinterpret_cast<const char*>(values.data()), values.size() * 4));
    return absl::OkStatus();
  }
  LEAPSTREAM_CHECK(type == TensorType::kFloat16);
  std::vector<uint16_t> halves;
  halves.reserve(values.size());
  for (const float value : values) {
    halves.push_back(FloatToHalf(value));
    if (std::isfinite(HalfToFloat(halves.back()))) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        what, " holds ", value, ", too large for float16; export with --dtype float32"));
  }
  Append(absl::string_view(reinterpret_cast<const char*>(halves.data()), halves.size() * 2));
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  LEAPSTREAM_CHECK(left_ == 0 || !file_);
  file_.close();
  if (!file_) return absl::InternalError(absl::StrCat(path_, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace leapstream
