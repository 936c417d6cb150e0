#ifndef LEAPSTREAM_MODEL_ENGINE_ATTENTION_STATE_BYTES_H_
#define LEAPSTREAM_MODEL_ENGINE_ATTENTION_STATE_BYTES_H_

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

// States as bytes: little-endian integers of 8 bytes, float32 and float16. Whatever is read is
// checked, since bytes come from outside.
namespace leapstream {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they lie in memory");

inline void AppendNumber(int64_t number, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&number), sizeof(number));
}
inline void AppendFloats(const float* floats, int64_t count, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(floats), static_cast<size_t>(count) * sizeof(float));
}

// Take a number in [0, most], and finite floats. False: there are none.
inline bool TakeNumber(absl::string_view* bytes, int64_t most, int64_t* number) {
  if (bytes->size() < sizeof(*number)) return false;
  std::memcpy(number, bytes->data(), sizeof(*number));
  bytes->remove_prefix(sizeof(*number));
  return *number >= 0 && *number <= most;
}
inline bool TakeFloats(absl::string_view* bytes, int64_t count, float* floats) {
  const size_t size = static_cast<size_t>(count) * sizeof(float);
  if (bytes->size() < size) return false;
  std::memcpy(floats, bytes->data(), size);
  bytes->remove_prefix(size);
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(floats[i])) return false;
  }
  return true;
}
// Takes finite float16 numbers, which lie as they are in `to`.
inline bool TakeHalves(absl::string_view* bytes, int64_t count, void* to) {
  const size_t size = static_cast<size_t>(count) * sizeof(uint16_t);
  if (bytes->size() < size) return false;
  for (size_t i = 0; i < size; i += sizeof(uint16_t)) {
    uint16_t half;
    std::memcpy(&half, bytes->data() + i, sizeof(half));
    if ((half & 0x7c00) == 0x7c00) return false;
  }
  std::memcpy(to, bytes->data(), size);
  bytes->remove_prefix(size);
  return true;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_ENGINE_ATTENTION_STATE_BYTES_H_
