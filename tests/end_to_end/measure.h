#ifndef LEAPSTREAM_TESTS_END_TO_END_MEASURE_H_
#define LEAPSTREAM_TESTS_END_TO_END_MEASURE_H_

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace leapstream {

// A sanitizer changes a program's times and memory.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kMeasures = false;
#else
inline constexpr bool kMeasures = true;
#endif

inline int FromEnvironment(const char* name, int otherwise) {
  const char* const given = std::getenv(name);
  return given != nullptr ? std::atoi(given) : otherwise;
}

inline absl::Duration Quantile(std::vector<absl::Duration> values, double q) {
  if (values.empty()) return absl::ZeroDuration();
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

// Resident memory in KiB, or -1.
inline int64_t ResidentMemory(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0) return std::atoll(line.c_str() + 6);
  }
  return -1;
}

inline int64_t Descriptors(pid_t pid) {
  const std::filesystem::directory_iterator all(absl::StrCat("/proc/", pid, "/fd"));
  return std::distance(begin(all), end(all));
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_MEASURE_H_
