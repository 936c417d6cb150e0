#ifndef LEAPSTREAM_SERVER_CONTROL_GROUPS_H_
#define LEAPSTREAM_SERVER_CONTROL_GROUPS_H_

#include <cstdint>
#include <optional>
#include <string>

namespace leapstream {

// What control groups grant this process: its own group and all above it that can be seen, of
// version 1 and 2, where a machine mounts them. Empty: no limit, or none that can be read.
struct GroupLimits {
  // Bytes that are left below the nearest limit. Page cache that the kernel can drop is left, too.
  std::optional<int64_t> memory_left;
  std::optional<int64_t> cores;  // The smallest quota, rounded up.
};

// `root`: of the file tree that /proc and /sys are looked for in; tests invent one.
GroupLimits ReadGroupLimits(const std::string& root = "");

// Cores that this process may use: those it may run on, or what its control groups grant.
int UsableCores(const std::string& root = "");

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONTROL_GROUPS_H_
