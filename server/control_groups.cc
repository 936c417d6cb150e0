#include "server/control_groups.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace leapstream {
namespace {

// Version 1 says "no limit" by a huge number, the last whole page of an int64_t. Any number above
// this one means it.
constexpr int64_t kNoLimit = int64_t{1} << 60;

enum class Kind { kUnified, kMemory, kCpu };  // Version 2, and two controllers of version 1.

struct Mount {
  std::string root;   // The group that is seen at `point`.
  std::string point;  // The folder's path, with the `root` of ReadGroupLimits() before it.
};

// The number that the file begins with, or that follows `key` in the file.
std::optional<int64_t> ReadNumber(const std::string& path, absl::string_view key = "") {
  std::ifstream file(path);
  std::string word;
  int64_t number = 0;
  while (file >> word) {
    if (!key.empty()) {
      if (word != key) continue;
      if (!(file >> word)) break;
    }
    if (absl::SimpleAtoi(word, &number)) return number;
    break;
  }
  return std::nullopt;
}

// Undoes the kernel's escapes: it writes a space in a path as \040.
std::string Unescape(absl::string_view path) {
  std::string plain;
  for (size_t i = 0; i < path.size(); ++i) {
    const auto octal = [&](size_t at) { return path[at] >= '0' && path[at] <= '7'; };
    if (path[i] == '\\' && i + 3 < path.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      plain.push_back(static_cast<char>((path[i + 1] - '0') * 64 + (path[i + 2] - '0') * 8 +
                                        (path[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(path[i]);
    }
  }
  return plain;
}

bool HasController(absl::string_view list, absl::string_view controller) {
  const std::vector<absl::string_view> all = absl::StrSplit(list, ',');
  return std::find(all.begin(), all.end(), controller) != all.end();
}

// The controller's name in version 1.
absl::string_view Controller(Kind kind) { return kind == Kind::kMemory ? "memory" : "cpu"; }

// The places where groups of this kind are mounted; if none is found, the usual places.
std::vector<Mount> Mounts(const std::string& root, Kind kind) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    // The form is: ID parent device root point options [tags] - type source options.
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    const std::vector<absl::string_view> here = absl::StrSplit(halves.first, ' ');
    const std::vector<absl::string_view> there = absl::StrSplit(halves.second, ' ');
    if (here.size() < 5 || there.size() < 3) continue;
    const bool wanted = kind == Kind::kUnified
                            ? there[0] == "cgroup2"
                            : there[0] == "cgroup" && HasController(there[2], Controller(kind));
    if (wanted) mounts.push_back({Unescape(here[3]), root + Unescape(here[4])});
  }
  if (!mounts.empty()) return mounts;
  const std::string usual = root + "/sys/fs/cgroup";
  if (kind == Kind::kUnified) return {{"/", usual}, {"/", usual + "/unified"}};
  if (kind == Kind::kMemory) return {{"/", usual + "/memory"}};
  return {{"/", usual + "/cpu"}, {"/", usual + "/cpu,cpuacct"}};
}

// The group of this process; "/" if /proc does not say.
std::string OwnGroup(const std::string& root, Kind kind) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() < 3) continue;
    if (kind == Kind::kUnified ? parts[0] == "0" && parts[1].empty()
                               : HasController(parts[1], Controller(kind))) {
      return parts[2];
    }
  }
  return "/";
}

// The folders of this process's group and of the groups above it, as far as `mount` shows them.
std::vector<std::string> Folders(const Mount& mount, const std::string& group) {
  std::string below = group;
  if (mount.root != "/") {
    // In a container the group may be the root of the mount, while /proc has its full name.
    below = absl::StartsWith(absl::StrCat(group, "/"), absl::StrCat(mount.root, "/"))
                ? group.substr(mount.root.size())
                : "";
  }
  if (absl::StrContains(absl::StrCat(below, "/"), "/../")) below = "";  // It is not shown.
  std::vector<std::string> folders;
  while (!below.empty() && below != "/") {
    folders.push_back(mount.point + below);
    below.resize(below.rfind('/'));
  }
  folders.push_back(mount.point);
  return folders;
}

void TakeLeast(std::optional<int64_t> value, std::optional<int64_t>* least) {
  if (value.has_value() && (!least->has_value() || *value < **least)) *least = value;
}

void ReadMemory(const std::string& folder, Kind kind, GroupLimits* limits) {
  std::optional<int64_t> limit, used, cache;
  if (kind == Kind::kUnified) {
    TakeLeast(ReadNumber(folder + "/memory.max"), &limit);
    TakeLeast(ReadNumber(folder + "/memory.high"), &limit);  // Beyond it the kernel slows us.
    if (!limit.has_value()) return;
    used = ReadNumber(folder + "/memory.current");
    cache = ReadNumber(folder + "/memory.stat", "inactive_file");
  } else {
    limit = ReadNumber(folder + "/memory.limit_in_bytes");
    if (!limit.has_value() || *limit >= kNoLimit) return;
    used = ReadNumber(folder + "/memory.usage_in_bytes");
    cache = ReadNumber(folder + "/memory.stat", "total_inactive_file");
  }
  const int64_t taken = std::max<int64_t>(used.value_or(0) - cache.value_or(0), 0);
  TakeLeast(std::max<int64_t>(*limit - taken, 0), &limits->memory_left);
}

void ReadCores(const std::string& folder, Kind kind, GroupLimits* limits) {
  std::optional<int64_t> quota, period;
  if (kind == Kind::kUnified) {
    quota = ReadNumber(folder + "/cpu.max");  // "max" means no limit.
    if (quota.has_value()) period = ReadNumber(folder + "/cpu.max", absl::StrCat(*quota));
  } else {
    quota = ReadNumber(folder + "/cpu.cfs_quota_us");  // -1 means no limit.
    period = ReadNumber(folder + "/cpu.cfs_period_us");
  }
  if (quota.value_or(0) <= 0 || period.value_or(0) <= 0) return;
  TakeLeast((*quota + *period - 1) / *period, &limits->cores);
}

}  // namespace

GroupLimits ReadGroupLimits(const std::string& root) {
  GroupLimits limits;
  for (const Kind kind : {Kind::kUnified, Kind::kMemory, Kind::kCpu}) {
    const std::string group = OwnGroup(root, kind);
    for (const Mount& mount : Mounts(root, kind)) {
      for (const std::string& folder : Folders(mount, group)) {
        if (kind != Kind::kCpu) ReadMemory(folder, kind, &limits);
        if (kind != Kind::kMemory) ReadCores(folder, kind, &limits);
      }
    }
  }
  return limits;
}

int UsableCores(const std::string& root) {
  cpu_set_t may_run;
  const int cores =
      sched_getaffinity(0, sizeof(may_run), &may_run) == 0 ? CPU_COUNT(&may_run) : CPU_SETSIZE;
  return static_cast<int>(std::min<int64_t>(cores, ReadGroupLimits(root).cores.value_or(cores)));
}

}  // namespace leapstream
