#ifndef LEAPSTREAM_TESTS_SERVER_SERVER_FIXTURE_H_
#define LEAPSTREAM_TESTS_SERVER_SERVER_FIXTURE_H_

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/server.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/fake_model.h"

// A real client and server on loopback, with a fake model.
namespace leapstream {

using ::testing::AnyOf;
using ::testing::Eq;
using ::testing::HasSubstr;

inline constexpr char kText[] =
    "the rain in spain stays mainly on the plain and thereafter it rains again";

struct Result {
  grpc::Status status;
  std::vector<Response> responses;
  std::map<int64_t, std::string> deltas;  // Concatenated, by segment.
  std::vector<std::string> segments;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override { Start({FakeModel()}); }

  void Start(std::vector<std::shared_ptr<const Model>> models, ServerOptions options = {}) {
    spdlog::set_level(spdlog::level::off);
    server_.reset();
    options.listen = "127.0.0.1:0";
    auto server = Server::Start(options, std::move(models));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = ConnectWithSmallWindow(server_->port());
    stub_ = v1::SimultaneousTranslationService::NewStub(channel_);
  }

  Result Run(const std::vector<Request>& requests) {
    grpc::ClientContext context;
    SetDeadline(&context);
    auto stream = stub_->StreamTranslate(&context);
    for (const Request& request : requests) {
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    Result result;
    for (Response response; stream->Read(&response);) {
      if (response.has_target()) {
        result.deltas[response.target().segment()] += response.target().text();
      } else if (response.has_segment_completed()) {
        const auto& completed = response.segment_completed();
        EXPECT_EQ(completed.segment(), static_cast<int64_t>(result.segments.size()) + 1);
        EXPECT_EQ(completed.text(), result.deltas[completed.segment()]);
        result.segments.push_back(completed.text());
      }
      result.responses.push_back(response);
    }
    result.status = stream->Finish();
    return result;
  }

  void ExpectError(const std::vector<Request>& requests, grpc::StatusCode code,
                   const std::string& reason, const std::string& message = "") {
    const Result result = Run(requests);
    EXPECT_EQ(result.status.error_code(), code) << result.status.error_message();
    EXPECT_EQ(Reason(result.status), reason) << result.status.error_message();
    EXPECT_THAT(result.status.error_message(), HasSubstr(message));
  }

  // Expects the server to translate as before.
  void ExpectAnswers() {
    const Result result = Run({Config(), Text("hello there")});
    ASSERT_TRUE(result.status.ok()) << result.status.error_message();
    ASSERT_EQ(result.segments.size(), 1u);
  }

  grpc::Status CallRaw(const char* method, const std::string& request, std::string* response) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return leapstream::CallRaw(channel_.get(), &context, method, request, response);
  }

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_SERVER_SERVER_FIXTURE_H_
