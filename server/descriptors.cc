#include "server/descriptors.h"

#include <dirent.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/budget.h"

namespace leapstream {

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, budget::kMaxDescriptors);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  setrlimit(RLIMIT_NOFILE, &limit);  // If this fails, PlanDescriptors() has fewer.
}

int OpenDescriptors() {
  int count = -3;  // ".", ".." and the descriptor of the folder itself.
  DIR* const folder = opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

DescriptorPlan PlanDescriptors(int limit, int open) {
  const int reserve = std::clamp(limit / 4, budget::kLeastReservedDescriptors,
                                 budget::kMostReservedDescriptors);
  DescriptorPlan plan;
  plan.limit = limit;
  plan.connections = limit - reserve;
  plan.administrators = limit - reserve / 4;
  plan.http = reserve / 2;
  plan.sessions = std::max(plan.connections - open - budget::kServerDescriptors, 1);
  return plan;
}

DescriptorPlan PlanDescriptors() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return PlanDescriptors(
      static_cast<int>(std::min<rlim_t>(limit.rlim_cur, budget::kMaxDescriptors)),
      OpenDescriptors());
}

}  // namespace leapstream
