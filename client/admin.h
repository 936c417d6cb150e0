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
  std::string session_id;  // Empty, like model and policy, until the call has a session.
  std::string model;
  std::string policy;
  std::string principal;  // Empty: the call is not authenticated.
  std::string peer;
  std::string trace_id;
  absl::Time started;         // The date, by the server's clock.
  absl::Duration age;         // The time since `started`.
  int64_t segments = 0;       // Complete segments only.
  int64_t source_tokens = 0;  // In complete segments, like target_tokens.
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

// The admin service of one server (leapstream.admin.v1). Each method returns the error of its call.
// UNAVAILABLE: no server answers. Thread-safe.
class AdminClient {
 public:
  explicit AdminClient(const std::string& address);
  ~AdminClient();

  absl::StatusOr<std::vector<AdminSession>> ListSessions();
  absl::StatusOr<AdminStats> GetStats();
  // Starts the drain that SIGTERM starts, and does not wait for its end.
  absl::Status Drain();
  // Reloads the model of this name, or all models if `model` is empty. Returns when the new ones
  // serve.
  absl::StatusOr<std::vector<ReloadedModel>> Reload(const std::string& model);

 private:
  struct Stub;
  std::unique_ptr<Stub> stub_;  // Set once.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_ADMIN_H_
