#include "server/rpc/one_message_call.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using testing::ElementsAre;

constexpr char kMethod[] = "/test.Service/Call";

// A call that answers what the test says.
class TestCall final : public OneMessageCall {
 public:
  using OnRequestFunction = std::function<void(TestCall*, const v1::TranslateRequest&)>;
  TestCall(Serving* serving, grpc::CallbackServerContext* context, OnRequestFunction on_request,
           std::function<void(absl::Status)> on_replied)
      : OneMessageCall(serving, context, {serving->metrics.get(), Method::kTranslate}),
        on_request_(std::move(on_request)),
        on_replied_(std::move(on_replied)) {}
  using OneMessageCall::Reply;

 private:
  void OnRequest(grpc::ByteBuffer* bytes) override {
    v1::TranslateRequest request;
    const absl::Status status = Parse(bytes, &request);
    if (!status.ok()) return Reply(status);
    on_request_(this, request);
  }
  void OnReplied(const absl::Status& status) override { on_replied_(status); }

  const OnRequestFunction on_request_;
  const std::function<void(absl::Status)> on_replied_;
};

class TestService final : public grpc::Service {
 public:
  using Reactor = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;
  explicit TestService(std::function<Reactor*(grpc::CallbackServerContext*)> start) {
    AddMethod(new grpc::internal::RpcServiceMethod(
        kMethod, grpc::internal::RpcMethod::BIDI_STREAMING, nullptr));
    MarkMethodRawCallback(
        0, new grpc::internal::CallbackBidiHandler<grpc::ByteBuffer, grpc::ByteBuffer>(
               std::move(start)));
  }
};

class OneMessageCallTest : public testing::Test {
 protected:
  ~OneMessageCallTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }
  void Serve(TestCall::OnRequestFunction on_request) {
    auto metrics = std::make_unique<Metrics>();
    auto models = ServedModels::Create({FakeModel()}, 1, metrics.get());
    ASSERT_TRUE(models.ok()) << models.status();
    serving_ = std::make_unique<Serving>(options_, 8, 1 << 20, ResumeSigner::WithRandomKey(),
                                         nullptr, std::move(metrics), *std::move(models));
    service_ = std::make_unique<TestService>(
        [this, on_request = std::move(on_request)](grpc::CallbackServerContext* context) {
          const auto call = std::make_shared<TestCall>(
              serving_.get(), context, on_request, [this](absl::Status status) {
                MutexLock lock(&mutex_);
                replies_.push_back(std::move(status));
                changed_.NotifyAll();
              });
          call->ReadRequest();
          return call.get();
        });
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    channel_ = ConnectWithSmallWindow(port);
  }
  // Makes a call as a client of a unary method does.
  grpc::Status Call(const std::string& bytes) {
    grpc::ClientContext context;
    SetDeadline(&context);
    return CallRaw(channel_.get(), &context, kMethod, bytes, &response_);
  }
  static std::string Request(const std::string& text) {
    v1::TranslateRequest request;
    request.set_text(text);
    return request.SerializeAsString();
  }
  // The statuses with which calls were over, as the server saw them, once there are so many.
  std::vector<absl::StatusCode> Replies(size_t count) {
    const SteadyTime deadline = SteadyNow() + absl::Seconds(20);
    MutexLock lock(&mutex_);
    while (replies_.size() < count && changed_.WaitUntil(&mutex_, deadline)) continue;
    std::vector<absl::StatusCode> codes;
    for (const absl::Status& status : replies_) codes.push_back(status.code());
    return codes;
  }

  ServerOptions options_;
  Mutex mutex_;
  CondVar changed_;
  std::vector<absl::Status> replies_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Serving> serving_;
  std::unique_ptr<TestService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::string response_;
};

// Answers with the text of the request, and then once more, which must do nothing.
void Echo(TestCall* call, const v1::TranslateRequest& request) {
  v1::TranslateResponse response;
  response.set_text(request.text());
  call->Reply(absl::OkStatus(), &response);
  call->Reply(absl::InternalError("a second answer"));
}

TEST_F(OneMessageCallTest, AnswersOnce) {
  Serve(Echo);
  ASSERT_TRUE(Call(Request("a word")).ok());
  v1::TranslateResponse response;
  ASSERT_TRUE(response.ParseFromString(response_));
  EXPECT_EQ(response.text(), "a word");
  EXPECT_THAT(Replies(1), ElementsAre(absl::StatusCode::kOk));
}

TEST_F(OneMessageCallTest, AnswersWithAnError) {
  Serve([](TestCall* call, const v1::TranslateRequest&) {
    call->Reply(absl::NotFoundError("no such model"));
  });
  const grpc::Status status = Call(Request(""));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such model");
  EXPECT_THAT(Replies(1), ElementsAre(absl::StatusCode::kNotFound));
}

TEST_F(OneMessageCallTest, AnswersLaterOnAnotherThread) {
  std::shared_ptr<OneMessageCall> waiting;
  std::promise<void> asked;
  Serve([&](TestCall* call, const v1::TranslateRequest&) {
    waiting = call->shared_from_this();
    asked.set_value();
  });
  std::thread answer([&] {
    asked.get_future().wait();
    v1::TranslateResponse response;
    response.set_text("late");
    static_cast<TestCall&>(*waiting).Reply(absl::OkStatus(), &response);
    waiting.reset();
  });
  EXPECT_TRUE(Call(Request("")).ok());
  answer.join();
  EXPECT_TRUE(absl::StrContains(response_, "late"));
}

TEST_F(OneMessageCallTest, BytesThatAreNoMessageAreRefused) {
  Serve(Echo);
  for (const std::string& bytes : {std::string("\xff\xff\xff"), Request("\xff")}) {
    const grpc::Status status = Call(bytes);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(Reason(status), "MALFORMED_MESSAGE");
  }
}

TEST_F(OneMessageCallTest, ACallWithoutAMessageIsRefused) {
  Serve(Echo);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = OpenRaw(channel_.get(), &context, kMethod);
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Reason(status), "MALFORMED_MESSAGE");
}

TEST_F(OneMessageCallTest, AMessageThatDoesNotComeIsNotWaitedForLong) {
  options_.limits.config_timeout = absl::Milliseconds(10);
  Serve(Echo);
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = OpenRaw(channel_.get(), &context, kMethod);
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Reason(status), "CONFIG_TIMEOUT");
  EXPECT_THAT(Replies(1), ElementsAre(absl::StatusCode::kAborted));
}

TEST_F(OneMessageCallTest, AClientThatGoesAwayEndsTheCall) {
  std::promise<void> asked;
  Serve([&](TestCall*, const v1::TranslateRequest&) { asked.set_value(); });
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = OpenRaw(channel_.get(), &context, kMethod);
  stream->Write(Bytes(Request("")));
  asked.get_future().wait();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_THAT(Replies(1), ElementsAre(absl::StatusCode::kCancelled));
}

// The answer is larger than the client's window, and the client does not read it.
TEST_F(OneMessageCallTest, AClientThatDoesNotReadItsAnswerEndsTheCall) {
  options_.limits.stuck_reader_timeout = absl::Milliseconds(10);
  Serve([](TestCall* call, const v1::TranslateRequest&) {
    v1::TranslateResponse response;
    response.set_text(std::string(2 << 20, 'x'));
    call->Reply(absl::OkStatus(), &response);
  });
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = OpenRaw(channel_.get(), &context, kMethod);
  stream->Write(Bytes(Request("")));
  EXPECT_THAT(Replies(1), ElementsAre(absl::StatusCode::kCancelled));
  grpc::ByteBuffer answer;
  EXPECT_FALSE(stream->Read(&answer)) << "it was cut";
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(OneMessageCallTest, ARefusedCallReadsNothing) {
  Serve(Echo);
  TestService refusing([this](grpc::CallbackServerContext*) {
    return Refuse(serving_.get(), {serving_->metrics.get(), Method::kTranslate},
                  WithReason(absl::UnavailableError("full"), "SERVER_FULL"));
  });
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&refusing);
  const auto server = builder.BuildAndStart();
  channel_ = ConnectWithSmallWindow(port);
  const grpc::Status status = Call(Request("a word"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Reason(status), "SERVER_FULL");
}

}  // namespace
}  // namespace leapstream
