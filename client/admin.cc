#include "client/admin.h"

#include <grpcpp/grpcpp.h>

#include "absl/time/time.h"
#include "base/clock.h"
#include "client/deadline.h"
#include "leapstream/admin/v1/admin.grpc.pb.h"

namespace leapstream::client {
namespace {

namespace pb = ::leapstream::admin::v1;

constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr absl::Duration kReloadTimeout = absl::Minutes(10);

// The codes have the same numbers. The message says it all; there is nobody to branch on the
// reason.
absl::Status ToStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace

struct AdminClient::Stub {
  // Calls the stub's method with `request`, within `timeout`.
  template <typename Method, typename Request, typename Response>
  absl::Status Call(Method method, const Request& request, absl::Duration timeout,
                    Response* response) {
    grpc::ClientContext context;
    context.set_deadline(GrpcDeadline(SteadyNow() + timeout));
    return ToStatus((service.get()->*method)(&context, request, response));
  }

  std::unique_ptr<pb::AdminService::Stub> service;
};

AdminClient::AdminClient(const std::string& address) {
  // The admin service listens on loopback alone, which no proxy can reach.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  stub_.reset(new Stub{pb::AdminService::NewStub(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments))});
}
AdminClient::~AdminClient() = default;

absl::StatusOr<std::vector<AdminSession>> AdminClient::ListSessions() {
  pb::ListSessionsResponse response;
  const absl::Status status = stub_->Call(&pb::AdminService::Stub::ListSessions,
                                          pb::ListSessionsRequest(), kTimeout, &response);
  if (!status.ok()) return status;
  std::vector<AdminSession> sessions;
  for (const pb::Session& session : response.sessions()) {
    sessions.push_back({session.method(), session.session_id(), session.model(), session.policy(),
                        session.principal(), session.peer(), session.trace_id(),
                        ToTime(session.start_time()), ToDuration(session.age()), session.segments(),
                        session.source_tokens(), session.target_tokens(), session.input_held(),
                        session.output_held()});
  }
  return sessions;
}

absl::StatusOr<AdminStats> AdminClient::GetStats() {
  pb::GetStatsResponse response;
  const absl::Status status =
      stub_->Call(&pb::AdminService::Stub::GetStats, pb::GetStatsRequest(), kTimeout, &response);
  if (!status.ok()) return status;
  AdminStats stats;
  stats.slots = response.slots();
  stats.slots_used = response.slots_used();
  stats.draining = response.draining();
  stats.uptime = ToDuration(response.uptime());
  for (const pb::ModelStats& model : response.models()) {
    stats.models.push_back({model.name(), model.checksum(), model.compute_type(), model.sessions(),
                            model.state_bytes(), ToTime(model.load_time())});
  }
  return stats;
}

absl::Status AdminClient::Drain() {
  pb::DrainResponse response;
  return stub_->Call(&pb::AdminService::Stub::Drain, pb::DrainRequest(), kTimeout, &response);
}

absl::StatusOr<std::vector<ReloadedModel>> AdminClient::Reload(const std::string& model) {
  pb::ReloadModelRequest request;
  request.set_name(model);
  pb::ReloadModelResponse response;
  const absl::Status status =
      stub_->Call(&pb::AdminService::Stub::ReloadModel, request, kReloadTimeout, &response);
  if (!status.ok()) return status;
  std::vector<ReloadedModel> models;
  for (const pb::ReloadedModel& reloaded : response.models()) {
    models.push_back({reloaded.name(), reloaded.old_checksum(), reloaded.new_checksum()});
  }
  return models;
}

}  // namespace leapstream::client
