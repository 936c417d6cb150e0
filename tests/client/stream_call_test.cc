#include "client/stream_call.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "tests/client/fake_service.h"

namespace leapstream::client {
namespace {

using testing::ElementsAre;

using Request = v1::StreamTranslateRequest;
using Response = v1::StreamTranslateResponse;

// Notes what happens to a call, and lets a test wait for it.
class Listener final : public StreamCallListener {
 public:
  // `reads`: the number of responses after which it does not read on.
  explicit Listener(size_t reads = 1000) : reads_(reads) {}

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(done_);
    writes_.push_back(ok);
    changed_.NotifyAll();
  }
  bool OnResponse(const Response& response) override {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(read_over_);
    if (response.has_target()) text_ += response.target().text();
    ++responses_;
    changed_.NotifyAll();
    return responses_ != reads_;
  }
  void OnReadOver() override {
    MutexLock lock(&mutex_);
    EXPECT_FALSE(read_over_) << "once";
    read_over_ = true;
  }
  void OnCallDone(const grpc::Status& status) override {
    MutexLock lock(&mutex_);
    EXPECT_TRUE(read_over_) << "this comes last";
    EXPECT_FALSE(done_) << "once";
    done_ = true;
    status_ = status;
    changed_.NotifyAll();
  }

  std::vector<bool> AwaitWrites(size_t count) {
    MutexLock lock(&mutex_);
    while (writes_.size() < count && Wait()) continue;
    return writes_;
  }
  size_t AwaitResponses(size_t count) {
    MutexLock lock(&mutex_);
    while (responses_ < count && Wait()) continue;
    return responses_;
  }
  grpc::Status AwaitDone() {
    MutexLock lock(&mutex_);
    while (!done_ && Wait()) continue;
    EXPECT_TRUE(done_);
    return status_;
  }
  size_t responses() {
    MutexLock lock(&mutex_);
    return responses_;
  }
  std::string text() {
    MutexLock lock(&mutex_);
    return text_;
  }

 private:
  bool Wait() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return changed_.WaitUntil(&mutex_, give_up_);
  }

  const size_t reads_;
  const SteadyTime give_up_ = SteadyNow() + absl::Seconds(30);
  Mutex mutex_;
  CondVar changed_;
  std::vector<bool> writes_ ABSL_GUARDED_BY(mutex_);
  size_t responses_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string text_ ABSL_GUARDED_BY(mutex_);
  bool read_over_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
};

class StreamCallTest : public testing::Test {
 protected:
  StreamCallTest()
      : stub_(v1::SimultaneousTranslationService::NewStub(
            grpc::CreateChannel(service_.address(), grpc::InsecureChannelCredentials()))) {}

  std::shared_ptr<StreamCall> Start(const std::shared_ptr<Listener>& listener,
                                    const std::string& model = "",
                                    SteadyTime deadline = SteadyTime::InfiniteFuture()) {
    Request config;
    config.mutable_config()->set_model(model);
    return StreamCall::Start(*stub_, deadline, listener, std::move(config));
  }
  static Request Text(const std::string& text) {
    Request request;
    request.mutable_source()->set_text(text);
    return request;
  }

  FakeService service_;
  const std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
};

TEST_F(StreamCallTest, MovesMessagesBothWaysAndEnds) {
  const auto listener = std::make_shared<Listener>();
  const auto call = Start(listener);
  EXPECT_THAT(listener->AwaitWrites(1), ElementsAre(true)) << "the config";
  EXPECT_EQ(listener->AwaitResponses(1), 1u) << "the session has started";
  call->Write(Text("a word "));
  EXPECT_THAT(listener->AwaitWrites(2), ElementsAre(true, true));
  call->HalfClose();
  EXPECT_TRUE(listener->AwaitDone().ok());
  EXPECT_EQ(listener->text(), "A WORD");
  EXPECT_EQ(service_.source(), "a word ");
}

TEST_F(StreamCallTest, ReadsOnOnlyWhenItIsToldTo) {
  const auto listener = std::make_shared<Listener>(/*reads=*/1);
  const auto call = Start(listener);
  EXPECT_EQ(listener->AwaitResponses(1), 1u);
  call->Write(Text("a word "));
  EXPECT_EQ(listener->AwaitWrites(2).size(), 2u);
  call->HalfClose();
  EXPECT_EQ(listener->responses(), 1u) << "nobody has read";
  call->Read();
  EXPECT_TRUE(listener->AwaitDone().ok());
  EXPECT_EQ(listener->text(), "A WORD");
}

TEST_F(StreamCallTest, IsCancelled) {
  const auto listener = std::make_shared<Listener>();
  const auto call = Start(listener);
  listener->AwaitResponses(1);
  call->Cancel();
  call->Cancel();
  EXPECT_EQ(listener->AwaitDone().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(StreamCallTest, EndsAtItsDeadline) {
  const auto listener = std::make_shared<Listener>();
  const auto call = Start(listener, "silent", SteadyNow() + absl::Milliseconds(50));
  EXPECT_EQ(listener->AwaitDone().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  service_.ReleaseSilent();
}

TEST_F(StreamCallTest, TellsTheServersRefusal) {
  const auto listener = std::make_shared<Listener>();
  const auto call = Start(listener, "missing");
  const grpc::Status status = listener->AwaitDone();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(status.error_details().empty());
  EXPECT_EQ(listener->responses(), 0u);
}

TEST_F(StreamCallTest, AWriteThatFailsIsTold) {
  const auto listener = std::make_shared<Listener>();
  const auto stub = v1::SimultaneousTranslationService::NewStub(grpc::CreateChannel(
      "unix:/nowhere/leapstream", grpc::InsecureChannelCredentials()));
  const auto call =
      StreamCall::Start(*stub, SteadyTime::InfiniteFuture(), listener, Text("a word"));
  EXPECT_EQ(listener->AwaitDone().error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(listener->AwaitWrites(1), ElementsAre(false));
}

TEST_F(StreamCallTest, KeepsItselfAndItsListenerUntilItIsDone) {
  auto listener = std::make_shared<Listener>();
  const std::weak_ptr<Listener> weak = listener;
  auto call = Start(listener);
  listener->AwaitResponses(1);
  const std::weak_ptr<StreamCall> weak_call = call;
  StreamCall* const raw = call.get();
  call.reset();
  Listener* const raw_listener = listener.get();
  listener.reset();
  ASSERT_FALSE(weak.expired());
  ASSERT_FALSE(weak_call.expired());
  raw_listener->AwaitResponses(1);
  raw->HalfClose();
  const SteadyTime give_up = SteadyNow() + absl::Seconds(30);
  while (!weak.expired() && SteadyNow() < give_up) std::this_thread::yield();
  EXPECT_TRUE(weak.expired()) << "nothing keeps them after the end";
}

}  // namespace
}  // namespace leapstream::client
