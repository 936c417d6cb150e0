#ifndef LEAPSTREAM_CLIENT_HUB_HUB_H_
#define LEAPSTREAM_CLIENT_HUB_HUB_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/hub/checksum.h"
#include "client/hub/url.h"

namespace leapstream::client {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;    // Sent to the endpoint's host alone; empty: none.
  std::string ca_file;  // PEM of the authorities that sign certificates; empty: the system's.
  std::map<std::string, std::string> environment;  // Of proxies: see ProxyFor().
  int tries = 5;  // Of a request that breaks or is told to come later; progress begins anew.
  absl::Duration connect_timeout = absl::Seconds(10);
  absl::Duration read_timeout = absl::Seconds(60);
  std::function<void(absl::Duration)> wait;  // Waits before another try; null: sleeps.
};

// A revision of a repository.
struct HubRevision {
  std::string commit;
  std::string license;  // As its card says; empty: it does not say.
  std::vector<std::string> files;
};

// A file of a revision.
struct HubFile {
  int64_t size = -1;  // -1: the hub does not say.
  HubChecksum checksum;
};

// A hub that speaks as huggingface.co does. It follows redirects, and a file that breaks off goes
// on where it ended. Not thread-safe.
//
// Errors: UNAUTHENTICATED and PERMISSION_DENIED (401, 403), NOT_FOUND (404), RESOURCE_EXHAUSTED
// (429 after all tries, or no space on the disk), UNAVAILABLE (no connection, 5xx), DATA_LOSS (a
// wrong checksum), INVALID_ARGUMENT (an endpoint or an answer that makes no sense).
class Hub {
 public:
  static absl::StatusOr<Hub> Create(HubOptions options);

  // The commit that a branch, a tag or a commit names, and its files.
  absl::StatusOr<HubRevision> Look(const std::string& repo, const std::string& revision);
  absl::StatusOr<HubFile> LookAt(const std::string& repo, const std::string& commit,
                                 const std::string& file);
  // Fetches a file to `path`. What was fetched before it is complete is in `path` + ".part", and
  // stays there for a later call. `on_bytes` is told how many bytes there are.
  absl::Status Fetch(const std::string& repo, const std::string& commit, const std::string& file,
                     const HubFile& known, const std::string& path,
                     const std::function<void(int64_t)>& on_bytes);

 private:
  struct Answer;
  explicit Hub(HubOptions options, Url endpoint)
      : options_(std::move(options)), endpoint_(std::move(endpoint)) {}

  std::string FilePath(const std::string& repo, const std::string& commit,
                       const std::string& file) const;
  using Sink = std::function<bool(const char* bytes, size_t count)>;
  // One request. `begin`: of the bytes that are wanted. `on_head` sees status and headers, before
  // the body goes to `sink`. Redirects are followed; with `head` up to the one to a file of LFS.
  absl::StatusOr<Answer> Ask(const std::string& path, bool head, int64_t begin,
                             const std::function<bool(const Answer&)>& on_head, const Sink& sink);
  // Ask() of a small answer, until it is one that will not change.
  absl::StatusOr<Answer> AskAgain(const std::string& path, bool head, std::string* body);
  absl::Status ErrorOf(const Answer& answer, const std::string& what) const;
  void Wait(int tried, const Answer* answer) const;

  HubOptions options_;
  Url endpoint_;
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HUB_HUB_H_
