#ifndef LEAPSTREAM_SERVER_CONTROL_GROUPS_H_
#define LEAPSTREAM_SERVER_CONTROL_GROUPS_H_

#include <cstdint>
#include <optional>
#include <string>

namespace leapstream {

// The limits that control groups set for this process. They come from its own group and from all
// groups above it that can be seen, of versions 1 and 2. An empty field: there is no limit, or none
// that can be read.
struct GroupLimits {
  // The bytes that are left below the nearest limit. Page cache that the kernel can drop counts as
  // left.
  std::optional<int64_t> memory_left;
  std::optional<int64_t> cores;  // The smallest quota, rounded up.
};

// `root` is the folder that has /proc and /sys; tests invent one.
GroupLimits ReadGroupLimits(const std::string& root = "");

// The number of cores that this process may use: those that it may run on, or the quota of its
// control groups if that is smaller.
int UsableCores(const std::string& root = "");

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_CONTROL_GROUPS_H_
