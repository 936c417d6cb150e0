// The admin service.

#include <atomic>

#include "tests/server/operations_fixture.h"

namespace leapstream {
namespace {

TEST_F(OperationsTest, SessionsAreListedWithoutText) {
  Start();
  grpc::ClientContext context;
  auto stream = Open(&context, {"", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"});
  Request request;
  request.mutable_source()->set_text("secretword secretword secretword ");
  stream->Write(request);
  request.mutable_end_segment();
  stream->Write(request);
  Response response;
  while (stream->Read(&response) && !response.has_segment_completed()) continue;
  grpc::ClientContext list;
  admin::v1::ListSessionsResponse sessions;
  ASSERT_TRUE(admin_->ListSessions(&list, {}, &sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  const admin::v1::Session& session = sessions.sessions(0);
  EXPECT_EQ(session.session_id().size(), 32u);
  EXPECT_EQ(session.model(), "fake-en-de");
  EXPECT_EQ(session.policy(), "k=2");
  EXPECT_EQ(session.segments(), 1);
  EXPECT_GT(session.source_tokens(), 3);
  EXPECT_EQ(session.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_THAT(sessions.DebugString(), Not(HasSubstr("secret")));

  grpc::ClientContext ask;
  admin::v1::GetStatsResponse stats;
  ASSERT_TRUE(admin_->GetStats(&ask, {}, &stats).ok());
  EXPECT_EQ(stats.slots_used(), 1);
  EXPECT_FALSE(stats.draining());
  ASSERT_EQ(stats.models_size(), 1);
  EXPECT_EQ(stats.models(0).sessions(), 1);
  EXPECT_TRUE(Finish(stream.get()).ok());
}

TEST_F(OperationsTest, TheAdminServiceIsNotOnThePublicPort) {
  Start();
  auto outside = admin::v1::AdminService::NewStub(channel_);
  grpc::ClientContext context;
  admin::v1::DrainResponse response;
  EXPECT_EQ(outside->Drain(&context, {}, &response).error_code(), grpc::StatusCode::UNIMPLEMENTED);
  ServerOptions options;
  options.listen = "localhost:0";
  options.admin_listen = "0.0.0.0:0";
  EXPECT_EQ(Server::Start(options, {FakeModel()}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(OperationsTest, DrainCallsItsHook) {
  std::atomic<int> drains{0};
  ServerHooks hooks;
  hooks.drain = [&] { ++drains; };
  Start({}, hooks);
  grpc::ClientContext context;
  admin::v1::DrainResponse response;
  EXPECT_TRUE(admin_->Drain(&context, {}, &response).ok());
  EXPECT_EQ(drains, 1);
}

}  // namespace
}  // namespace leapstream
