#ifndef LEAPSTREAM_TESTS_FUZZ_FUZZ_INPUT_H_
#define LEAPSTREAM_TESTS_FUZZ_FUZZ_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// libFuzzer, or run_corpus.cc, calls this with one input.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace leapstream {

// The input as bytes.
inline absl::string_view FuzzBytes(const uint8_t* data, size_t size) {
  return size == 0 ? "" : absl::string_view(reinterpret_cast<const char*>(data), size);
}

// Cuts the input into parts. Before each part stands its length in two bytes, the low one first.
// The last part may be shorter than its length.
inline std::vector<std::string> FuzzParts(absl::string_view bytes) {
  std::vector<std::string> parts;
  while (bytes.size() >= 2) {
    const size_t size = static_cast<uint8_t>(bytes[0]) | static_cast<uint8_t>(bytes[1]) << 8;
    bytes.remove_prefix(2);
    parts.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(parts.back().size());
  }
  return parts;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_FUZZ_FUZZ_INPUT_H_
