#ifndef LEAPSTREAM_SERVER_ADMIN_SERVICE_H_
#define LEAPSTREAM_SERVER_ADMIN_SERVICE_H_

#include <functional>

#include "base/clock.h"
#include "leapstream/admin/v1/admin.grpc.pb.h"
#include "server/model_reloader.h"
#include "server/serving.h"

namespace leapstream {

// The service leapstream.admin.v1. Its calls run on threads of gRPC's synchronous server; a reload
// takes one of them until it is done. Thread-safe.
class AdminService final : public admin::v1::AdminService::Service {
 public:
  // `serving` and `reloader` must outlive this. `drain` may be null: the service cannot drain.
  AdminService(Serving* serving, ModelReloader* reloader, std::function<void()> drain);

  grpc::Status ListSessions(grpc::ServerContext* context,
                            const admin::v1::ListSessionsRequest* request,
                            admin::v1::ListSessionsResponse* response) override;
  grpc::Status Drain(grpc::ServerContext* context, const admin::v1::DrainRequest* request,
                     admin::v1::DrainResponse* response) override;
  grpc::Status ReloadModel(grpc::ServerContext* context,
                           const admin::v1::ReloadModelRequest* request,
                           admin::v1::ReloadModelResponse* response) override;
  grpc::Status GetStats(grpc::ServerContext* context, const admin::v1::GetStatsRequest* request,
                        admin::v1::GetStatsResponse* response) override;

 private:
  Serving* const serving_;
  ModelReloader* const reloader_;
  const std::function<void()> drain_;
  const SteadyTime started_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_ADMIN_SERVICE_H_
