// Reloads of models.

#include <atomic>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "tests/server/operations_fixture.h"

namespace leapstream {
namespace {

class ReloadTest : public OperationsTest {
 protected:
  void SetUp() override {
    ServerHooks hooks;
    hooks.load = [this](const std::string& name, const std::vector<std::shared_ptr<const Model>>&
                                                     loaded)
        -> absl::StatusOr<std::shared_ptr<const Model>> {
      EXPECT_EQ(name, "fake-en-de");
      loaded_ = loaded.size();
      if (same_) return loaded.front();
      if (fails_) return absl::InvalidArgumentError("weights.safetensors: cut short");
      MutexLock lock(&mutex_);
      return FakeModel(next_);
    };
    Start({}, hooks);
  }
  void TearDown() override { server_.reset(); }  // Its threads use what is declared here.
  grpc::Status Reload(const std::string& name = "",
                      admin::v1::ReloadModelResponse* response = nullptr) {
    grpc::ClientContext context;
    admin::v1::ReloadModelRequest request;
    request.set_name(name);
    admin::v1::ReloadModelResponse own;
    return admin_->ReloadModel(&context, request, response == nullptr ? &own : response);
  }
  std::string Checksum() {
    grpc::ClientContext context;
    v1::ListModelsResponse models;
    stub_->ListModels(&context, {}, &models);
    return models.models_size() == 1 ? models.models(0).checksum() : "";
  }

  void SetNext(const FakeModelOptions& next) {
    MutexLock lock(&mutex_);
    next_ = next;
  }

  std::atomic<bool> fails_{false};
  std::atomic<bool> same_{false};
  std::atomic<size_t> loaded_{0};  // Versions in memory at the last reload.

 private:
  Mutex mutex_;
  FakeModelOptions next_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(ReloadTest, NewSessionsGetTheNewModelAndOldOnesKeepTheirs) {
  grpc::ClientContext context;
  auto old = Open(&context);
  Response response;
  ASSERT_TRUE(old->Read(&response));
  EXPECT_EQ(response.started().model_checksum(), "fa4e");
  FakeModelOptions next;
  next.checksum = "0123";
  SetNext(next);
  admin::v1::ReloadModelResponse reloaded;
  ASSERT_TRUE(Reload("", &reloaded).ok());
  ASSERT_EQ(reloaded.models_size(), 1);
  EXPECT_EQ(reloaded.models(0).old_checksum(), "fa4e");
  EXPECT_EQ(reloaded.models(0).new_checksum(), "0123");
  EXPECT_EQ(Checksum(), "0123");
  grpc::ClientContext another;
  auto fresh = Open(&another);
  ASSERT_TRUE(fresh->Read(&response));
  EXPECT_EQ(response.started().model_checksum(), "0123");
  EXPECT_EQ(Metric("leapstream_sessions_active{model=\"fake-en-de\"}"), 2);
  std::string text;
  EXPECT_TRUE(Finish(old.get(), &text).ok()) << "it finishes on the old weights";
  EXPECT_FALSE(text.empty());
  EXPECT_TRUE(Finish(fresh.get()).ok());
  EXPECT_EQ(Metric("leapstream_model_reloads_total{model=\"fake-en-de\",result=\"ok\"}"), 1);
}

// An unchanged model is not loaded again, and a version that comes back is still there.
TEST_F(ReloadTest, TheSameModelStays) {
  grpc::ClientContext context;
  auto old = Open(&context);
  Response response;
  ASSERT_TRUE(old->Read(&response));
  same_ = true;
  admin::v1::ReloadModelResponse reloaded;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Reload("", &reloaded).ok());
  EXPECT_EQ(reloaded.models(0).old_checksum(), "fa4e");
  EXPECT_EQ(reloaded.models(0).new_checksum(), "fa4e");
  EXPECT_EQ(loaded_, 1u) << "there is one version of it";
  EXPECT_TRUE(Finish(old.get()).ok());
}

TEST_F(ReloadTest, AModelOfSpeechIsTriedWithAudio) {
  FakeModelOptions next;
  next.speech = true;
  next.checksum = "5bee";
  SetNext(next);
  const grpc::Status status = Reload();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Checksum(), "5bee");
}

TEST_F(ReloadTest, AModelThatCannotBeUsedChangesNothing) {
  fails_ = true;
  grpc::Status status = Reload();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Reason(status), "RELOAD_FAILED");
  EXPECT_THAT(status.error_message(), HasSubstr("cut short"));
  fails_ = false;
  FakeModelOptions broken;
  broken.fails = true;  // It loads, but cannot translate.
  broken.checksum = "bad";
  SetNext(broken);
  EXPECT_EQ(Reload().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  FakeModelOptions renamed;
  renamed.name = "another";
  SetNext(renamed);
  EXPECT_THAT(Reload().error_message(), HasSubstr("must keep the name"));
  EXPECT_EQ(Checksum(), "fa4e");
  EXPECT_TRUE(Translate().ok());
  EXPECT_EQ(Metric("leapstream_model_reloads_total{model=\"fake-en-de\",result=\"failed\"}"), 3);
  EXPECT_EQ(Reload("nobody").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ReloadTest, NoSessionNoticesReloadsUnderLoad) {
  std::string expected;
  ASSERT_TRUE(Translate({}, &expected).ok());
  std::atomic<bool> over{false};
  std::atomic<int> sessions{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (!over) {
        std::string text;
        const grpc::Status status = Translate({}, &text);
        EXPECT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(text, expected);
        ++sessions;
      }
    });
  }
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(Reload("fake-en-de").ok());
  over = true;
  for (std::thread& client : clients) client.join();
  EXPECT_GT(sessions, 4);
}

}  // namespace
}  // namespace leapstream
