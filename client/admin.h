#ifndef LEAPSTREAM_CLIENT_ADMIN_H_
#define LEAPSTREAM_CLIENT_ADMIN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace leapstream::client {

// A call that holds one of the server's permits.
struct AdminSession {
  std::string method;
  std::string session_id;  // This, model and policy: empty until it has a session.
  std::string model;
  std::string policy;
  std::string principal;  // Empty: not authenticated.
  std::string peer;
  std::string trace_id;
  absl::Time started;  // The date, by the server's clock…
  absl::Duration age;  // …and how long ago that was.
  int64_t segments = 0;  // Complete ones, and the tokens of these.
  int64_t source_tokens = 0;
  int64_t target_tokens = 0;
  bool input_held = false;
  bool output_held = false;
};

struct AdminModel {
  std::string name;
  std::string checksum;
  std::string compute_type;
  int sessions = 0;
  int64_t state_bytes = 0;
  absl::Time loaded;
};

struct AdminStats {
  int slots = 0;
  int slots_used = 0;
  bool draining = false;
  absl::Duration uptime;
  std::vector<AdminModel> models;
};

struct ReloadedModel {
  std::string name;
  std::string old_checksum;
  std::string new_checksum;
};

// The admin service of one server (leapstream.admin.v1). Errors are those of the calls;
// UNAVAILABLE: nobody answers there. Thread-safe.
class AdminClient {
 public:
  explicit AdminClient(const std::string& address);
  ~AdminClient();

  absl::StatusOr<std::vector<AdminSession>> ListSessions();
  absl::StatusOr<AdminStats> GetStats();
  // Begins what SIGTERM begins; does not wait for the end.
  absl::Status Drain();
  // Of the model of this name; of all, if it is empty. Returns when they serve.
  absl::StatusOr<std::vector<ReloadedModel>> Reload(const std::string& model);

 private:
  struct Stub;
  std::unique_ptr<Stub> stub_;  // Set once.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_ADMIN_H_
