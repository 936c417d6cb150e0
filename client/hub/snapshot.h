#ifndef LEAPSTREAM_CLIENT_HUB_SNAPSHOT_H_
#define LEAPSTREAM_CLIENT_HUB_SNAPSHOT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/hub/hub.h"

namespace leapstream::client {

struct SnapshotRequest {
  std::string repo;               // "owner/name", or a name alone.
  std::string revision = "main";  // A branch, a tag or a commit.
  std::string cache;              // A folder, which is made if need be.
  bool offline = false;           // Only what is in the cache.
  struct Progress {
    std::string file;
    int64_t there = 0;  // The bytes of all files, and those that there will be.
    int64_t total = 0;
  };
  std::function<void(const Progress&)> on_progress;
};

// A revision's files in the cache: those that an export reads, all with their right checksums.
struct Snapshot {
  std::string folder;
  std::string commit;
  std::string license;
  std::vector<std::string> files;
  int64_t bytes = 0;
};

// "owner/name@revision" as a request. INVALID_ARGUMENT: it is none.
absl::StatusOr<SnapshotRequest> ParseRepo(absl::string_view text);

// Those of a repository's files that an export reads: configuration, tokenizer, licence, and the
// weights in one form. INVALID_ARGUMENT: there is no model that can be exported.
absl::StatusOr<std::vector<std::string>> FilesToExport(const std::vector<std::string>& files);

// Fetches a revision into the cache, or finds it there. Two calls for one cache and repository at
// once are refused. Errors: those of Hub, and NOT_FOUND: offline, and it is not in the cache.
// `hub` may be null if offline.
absl::StatusOr<Snapshot> FetchSnapshot(const SnapshotRequest& request, Hub* hub);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HUB_SNAPSHOT_H_
