#include "server/control_groups.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/admission.h"

namespace leapstream {
namespace {

// A machine's /proc and /sys, with the files that limits need.
class ControlGroupsTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "control_groups.XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  // Writes /proc/self/cgroup and /proc/self/mountinfo.
  void Proc(const std::string& cgroup, const std::string& mountinfo) {
    Write("/proc/self/cgroup", cgroup);
    Write("/proc/self/mountinfo", mountinfo);
  }
  int64_t Memory() { return ReadGroupLimits(root_).memory_left.value_or(-1); }
  int64_t CoreQuota() { return ReadGroupLimits(root_).cores.value_or(-1); }

  std::string root_;
};

constexpr char kUnifiedMount[] =
    "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
    "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST_F(ControlGroupsTest, WithoutAnyThereIsNoLimit) {
  EXPECT_EQ(Memory(), -1);
  EXPECT_EQ(CoreQuota(), -1);
  Proc("0::/\n", kUnifiedMount);
  EXPECT_EQ(Memory(), -1);
  Write("/sys/fs/cgroup/memory.max", "max\n");
  Write("/sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(Memory(), -1);
  EXPECT_EQ(CoreQuota(), -1);
}

// Containers see their own group this way, and so do systemd's services.
TEST_F(ControlGroupsTest, Version2AtAnyDepth) {
  for (const std::string group : {"/", "/system.slice/leapstream.service", "/a/b/c/d"}) {
    SetUp();
    Proc(absl::StrCat("0::", group, "\n"), kUnifiedMount);
    const std::string folder = group == "/" ? "/sys/fs/cgroup" : "/sys/fs/cgroup" + group;
    Write(folder + "/memory.max", "2147483648\n");
    Write(folder + "/memory.current", "147483648\n");
    Write(folder + "/cpu.max", "150000 100000\n");
    EXPECT_EQ(Memory(), 2'000'000'000) << group;
    EXPECT_EQ(CoreQuota(), 2) << group;
    TearDown();
  }
}

TEST_F(ControlGroupsTest, EveryGroupAboveCounts) {
  Proc("0::/pods.slice/pod1/container\n", kUnifiedMount);
  Write("/sys/fs/cgroup/pods.slice/pod1/container/memory.max", "max\n");
  Write("/sys/fs/cgroup/pods.slice/pod1/container/cpu.max", "800000 100000\n");
  Write("/sys/fs/cgroup/pods.slice/pod1/memory.max", "5000000000\n");
  Write("/sys/fs/cgroup/pods.slice/pod1/memory.current", "100\n");
  Write("/sys/fs/cgroup/pods.slice/memory.max", "8000000000\n");
  // Includes the neighbours' memory.
  Write("/sys/fs/cgroup/pods.slice/memory.current", "7000000000\n");
  Write("/sys/fs/cgroup/pods.slice/cpu.max", "400000 100000\n");
  EXPECT_EQ(Memory(), 1'000'000'000);
  EXPECT_EQ(CoreQuota(), 4);
}

TEST_F(ControlGroupsTest, PageCacheIsNotTakenAndThrottlingIsALimit) {
  Proc("0::/a\n", kUnifiedMount);
  Write("/sys/fs/cgroup/a/memory.max", "3000\n");
  Write("/sys/fs/cgroup/a/memory.current", "2900\n");
  Write("/sys/fs/cgroup/a/memory.stat", "anon 900\nfile 2000\ninactive_file 1900\n");
  EXPECT_EQ(Memory(), 2000);
  Write("/sys/fs/cgroup/a/memory.high", "2000\n");
  EXPECT_EQ(Memory(), 1000);
  Write("/sys/fs/cgroup/a/memory.high", "500\n");
  EXPECT_EQ(Memory(), 0) << "more than the limit is used already";
}

constexpr char kVersion1Mounts[] =
    "31 30 0:27 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /sys/fs/cgroup/cpuset rw shared:7 - cgroup cgroup rw,cpuset\n";
constexpr char kVersion1Groups[] =
    "6:cpuset:/\n5:cpu,cpuacct:/jobs/job7\n4:memory:/jobs/job7\n1:name=systemd:/init.scope\n";

TEST_F(ControlGroupsTest, Version1AtAnyDepth) {
  Proc(kVersion1Groups, kVersion1Mounts);
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/jobs/job7/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/job7/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/job7/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Memory(), -1);
  EXPECT_EQ(CoreQuota(), -1);
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "2000000000\n");
  Write("/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "1500000000\n");
  Write("/sys/fs/cgroup/memory/jobs/memory.stat",
        "inactive_file 7\ntotal_inactive_file 500000000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "250000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Memory(), 1'000'000'000);
  EXPECT_EQ(CoreQuota(), 3);
}

// This is Docker with version 1: /proc names the group as the machine does, and shows it as the
// root.
TEST_F(ControlGroupsTest, AContainerSeesItsGroupAsTheRoot) {
  Proc("4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc/below\n",
       "31 30 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
       "32 30 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/below/cpu.cfs_quota_us", "100000\n");
  Write("/sys/fs/cgroup/cpu,cpuacct/below/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(Memory(), 4096);
  EXPECT_EQ(CoreQuota(), 1);
  // The process is in another group than the one that is shown.
  Proc("4:memory:/../elsewhere\n",
       "31 30 0:27 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  EXPECT_EQ(Memory(), 4096);
  Proc("4:memory:/docker/abcdef\n",
       "31 30 0:27 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  EXPECT_EQ(Memory(), 4096);
}

TEST_F(ControlGroupsTest, BothVersionsAtOnce) {
  Proc("4:memory:/jobs\n0::/user.slice\n",
       "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
       "40 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "1000\n");
  Write("/sys/fs/cgroup/unified/user.slice/cpu.max", "50000 100000\n");
  EXPECT_EQ(Memory(), 1000);
  EXPECT_EQ(CoreQuota(), 1);
}

TEST_F(ControlGroupsTest, OddPlacesAndNames) {
  Proc("0::/a:b c/d\n", "30 22 0:26 / /mnt/control\\040groups rw - cgroup2 none rw\n");
  Write("/mnt/control groups/a:b c/memory.max", "777\n");
  EXPECT_EQ(Memory(), 777);
  Proc("nonsense\n\n:\n0::\n", "nonsense\n - cgroup2\n");
  Write("/sys/fs/cgroup/memory.max", "555\n");  // The usual place.
  EXPECT_EQ(Memory(), 555);
}

TEST_F(ControlGroupsTest, SessionsAreSizedByTheLeast) {
  Write("/proc/meminfo", "MemTotal: 4000 kB\nMemAvailable: 3000 kB\nHugePages_Total: 0\n");
  EXPECT_EQ(AvailableMemory(root_), 3000 << 10);
  Proc("4:memory:/jobs\n", kVersion1Mounts);
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "1000000\n");
  EXPECT_EQ(AvailableMemory(root_), 1000000);
  Write("/sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "1000000\n");
  EXPECT_EQ(AvailableMemory(root_), 1) << "0 would be unknown";
  Write("/sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "9000000000\n");
  EXPECT_EQ(AvailableMemory(root_), 3000 << 10);
}

}  // namespace
}  // namespace leapstream
