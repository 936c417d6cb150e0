#include "client/admin.h"

#include <grpcpp/grpcpp.h>

#include "absl/time/time.h"
#include "base/clock.h"
#include "client/deadline.h"
#include "leapstream/admin/v1/admin.grpc.pb.h"

namespace leapstream::client {
namespace {

namespace admin_pb = ::leapstream::admin::v1;

constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr absl::Duration kReloadTimeout = absl::Minutes(10);

// The codes have the same numbers. The message says it all; there is nobody to branch on the
// reason.
absl::Status ToPlainStatus(const grpc::Status& status) {
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
    return ToPlainStatus((service.get()->*method)(&context, request, response));
  }

  std::unique_ptr<admin_pb::AdminService::Stub> service;
};

AdminClient::AdminClient(const std::string& address) {
  // The admin service listens on loopback alone, which no proxy can reach.
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  stub_.reset(new Stub{admin_pb::AdminService::NewStub(grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments))});
}
AdminClient::~AdminClient() = default;

absl::StatusOr<std::vector<AdminSession>> AdminClient::ListSessions() {
  admin_pb::ListSessionsResponse response;
  const absl::Status status = stub_->Call(&admin_pb::AdminService::Stub::ListSessions,
                                          admin_pb::ListSessionsRequest(), kTimeout, &response);
  if (!status.ok()) return status;
  std::vector<AdminSession> sessions;
  for (const admin_pb::Session& session : response.sessions()) {
    sessions.push_back({session.method(), session.session_id(), session.model(), session.policy(),
                        session.principal(), session.peer(), session.trace_id(),
                        ToTime(session.start_time()), ToDuration(session.age()), session.segments(),
                        session.source_tokens(), session.target_tokens(), session.input_held(),
                        session.output_held()});
  }
  return sessions;
}

absl::StatusOr<AdminStats> AdminClient::GetStats() {
  admin_pb::GetStatsResponse response;
  const absl::Status status =
      stub_->Call(&admin_pb::AdminService::Stub::GetStats, admin_pb::GetStatsRequest(), kTimeout,
                  &response);
  if (!status.ok()) return status;
  AdminStats stats;
  stats.slots = response.slots();
  stats.slots_used = response.slots_used();
  stats.draining = response.draining();
  stats.uptime = ToDuration(response.uptime());
  for (const admin_pb::ModelStats& model : response.models()) {
    stats.models.push_back({model.name(), model.checksum(), model.compute_type(), model.sessions(),
                            model.state_bytes(), ToTime(model.load_time())});
  }
  return stats;
}

absl::Status AdminClient::Drain() {
  admin_pb::DrainResponse response;
  return stub_->Call(&admin_pb::AdminService::Stub::Drain, admin_pb::DrainRequest(), kTimeout, &response);
}

absl::StatusOr<std::vector<ReloadedModel>> AdminClient::Reload(const std::string& model) {
  admin_pb::ReloadModelRequest request;
  request.set_name(model);
  admin_pb::ReloadModelResponse response;
  const absl::Status status =
      stub_->Call(&admin_pb::AdminService::Stub::ReloadModel, request, kReloadTimeout, &response);
  if (!status.ok()) return status;
  std::vector<ReloadedModel> models;
  for (const admin_pb::ReloadedModel& reloaded : response.models()) {
    models.push_back({reloaded.name(), reloaded.old_checksum(), reloaded.new_checksum()});
  }
  return models;
}

}  // namespace leapstream::client
