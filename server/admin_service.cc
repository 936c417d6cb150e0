#include "server/admin_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/wire/to_proto.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const google::protobuf::Duration since = ToProto(time - absl::UnixEpoch());
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(since.seconds());
  timestamp.set_nanos(since.nanos());
  return timestamp;
}

}  // namespace

AdminService::AdminService(Serving* serving, ModelReloader* reloader, std::function<void()> drain)
    : serving_(serving), reloader_(reloader), drain_(std::move(drain)), started_(SteadyNow()) {}

grpc::Status AdminService::ListSessions(grpc::ServerContext* /*context*/,
                                        const admin::v1::ListSessionsRequest* /*request*/,
                                        admin::v1::ListSessionsResponse* response) {
  std::vector<CallDescription> calls;
  for (const auto& call : serving_->admission.WithPermit()) calls.push_back(call->Describe());
  std::sort(calls.begin(), calls.end(),
            [](const auto& a, const auto& b) { return a.age > b.age; });
  for (const CallDescription& call : calls) {
    admin::v1::Session& session = *response->add_sessions();
    session.set_method(call.method);
    session.set_session_id(call.session_id);
    session.set_model(call.model);
    session.set_policy(call.policy);
    session.set_principal(call.principal);
    session.set_peer(call.peer);
    session.set_trace_id(call.trace_id);
    *session.mutable_start_time() = ToTimestamp(call.started);
    *session.mutable_age() = ToProto(call.age);
    session.set_segments(call.segments);
    session.set_source_tokens(call.source_tokens);
    session.set_target_tokens(call.target_tokens);
    session.set_input_held(call.input_held);
    session.set_output_held(call.output_held);
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::Drain(grpc::ServerContext* context,
                                 const admin::v1::DrainRequest* /*request*/,
                                 admin::v1::DrainResponse* /*response*/) {
  if (drain_ == nullptr) {
    return ToGrpcStatus(absl::UnimplementedError("this server cannot drain itself; end it"));
  }
  spdlog::info("drain, asked for by {}", context->peer());
  drain_();
  return grpc::Status::OK;
}

grpc::Status AdminService::ReloadModel(grpc::ServerContext* /*context*/,
                                       const admin::v1::ReloadModelRequest* request,
                                       admin::v1::ReloadModelResponse* response) {
  const auto reloaded = reloader_->Reload(request->name());
  if (!reloaded.ok()) return ToGrpcStatus(reloaded.status());
  for (const ReloadedModel& model : *reloaded) {
    admin::v1::ReloadedModel& proto = *response->add_models();
    proto.set_name(model.name);
    proto.set_old_checksum(model.old_checksum);
    proto.set_new_checksum(model.new_checksum);
  }
  return grpc::Status::OK;
}

grpc::Status AdminService::GetStats(grpc::ServerContext* /*context*/,
                                    const admin::v1::GetStatsRequest* /*request*/,
                                    admin::v1::GetStatsResponse* response) {
  response->set_slots(serving_->admission.max_sessions());
  response->set_slots_used(serving_->admission.taken());
  response->set_draining(serving_->admission.draining());
  *response->mutable_uptime() = ToProto(SteadyNow() - started_);
  for (const ServedModels::State& model : serving_->models->States()) {
    admin::v1::ModelStats& stats = *response->add_models();
    stats.set_name(model.info.name);
    stats.set_checksum(model.info.checksum);
    stats.set_compute_type(model.info.compute_type);
    stats.set_sessions(model.sessions);
    stats.set_state_bytes(model.state_bytes);
    *stats.mutable_load_time() = ToTimestamp(model.since);
    *stats.mutable_turn_age() = ToProto(model.turn_age);
  }
  return grpc::Status::OK;
}

}  // namespace leapstream
