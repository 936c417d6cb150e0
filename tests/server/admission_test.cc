#include "server/admission.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <string>

#include "server/logging.h"

namespace leapstream {
namespace {

// Remembers the number of states for which it was asked to take memory.
class ReservingTranslator : public Translator {
 public:
  explicit ReservingTranslator(int* reserved) : reserved_(reserved) {}
  absl::Status Reserve(int states) const override {
    if (states > 1000) return absl::ResourceExhaustedError("no more");
    *reserved_ = states;
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override { return nullptr; }
  absl::Status Read(absl::Span<const SourceRows> /*rows*/,
                    BetweenLayers /*between_layers*/) const override {
    return absl::UnimplementedError("it has no states");
  }
  absl::Status Decide(absl::Span<SessionState* const> /*states*/, absl::Span<Decision> /*result*/,
                      BetweenLayers /*between_layers*/) const override {
    return absl::UnimplementedError("it has no states");
  }

 private:
  int* const reserved_;
};

class FakeCall : public LiveCall {
 public:
  CallDescription Describe() const override { return {}; }
  const std::string& token_entry() const override { return token_entry_; }
  void Drain(SteadyTime /*deadline*/) override {}
  void End(absl::Status /*why*/) override {}

 private:
  const std::string token_entry_;
};

TEST(Admission, ASessionHasOnePlaceHoweverLongItsOldCallTakesToEnd) {
  Admission admission(/*max_sessions=*/3, /*max_per_principal=*/3);
  const auto first = std::make_shared<FakeCall>(), other = std::make_shared<FakeCall>(),
             again = std::make_shared<FakeCall>(), fourth = std::make_shared<FakeCall>();
  ASSERT_TRUE(admission.Admit(first, "alice").ok());
  EXPECT_TRUE(admission.Claim("session", first).admitted);
  ASSERT_TRUE(admission.Admit(other, "alice").ok());
  ASSERT_TRUE(admission.Admit(again, "alice").ok());
  EXPECT_FALSE(admission.Admit(fourth, "alice").ok());
  EXPECT_TRUE(admission.Holds("session"));
  EXPECT_FALSE(admission.Holds("another"));
  EXPECT_EQ(admission.Claim("session", again).previous, first);
  EXPECT_EQ(admission.taken(), 2);
  EXPECT_TRUE(admission.Admit(fourth, "alice").ok());
  admission.Release(first.get());
  EXPECT_EQ(admission.taken(), 3) << "it had none any more";
  for (const auto& call : {first, other, again, fourth}) admission.Remove(call.get());
  EXPECT_EQ(admission.taken(), 0);
}

TEST(ByteBudget, BytesAreTakenAndGivenBack) {
  ByteBudget budget(100);
  TakenBytes one(&budget);
  {
    TakenBytes other(&budget);
    EXPECT_TRUE(one.GrowTo(60).ok());
    EXPECT_FALSE(other.GrowTo(50).ok());
    EXPECT_TRUE(other.GrowTo(40).ok()) << "what is refused takes nothing";
    one.ShrinkTo(10);
    one.ShrinkTo(20);
    EXPECT_EQ(budget.taken(), 50);
    EXPECT_TRUE(other.GrowTo(90).ok());
  }
  EXPECT_EQ(budget.taken(), 10);
}

TEST(ReserveStates, TakesMemoryForTheSessionsThatFitIntoItsBound) {
  int reserved = -1;
  Model model;
  model.translator = std::make_unique<ReservingTranslator>(&reserved);
  model.info.state_bytes_per_session = 1 << 20;
  EXPECT_TRUE(ReserveStates(model, 0, 7).ok());
  EXPECT_EQ(reserved, 7);
  EXPECT_TRUE(ReserveStates(model, 0, 20000).ok());
  EXPECT_EQ(reserved, 64);
  EXPECT_TRUE(ReserveStates(model, 100, 20000).ok());
  EXPECT_EQ(reserved, 164);
  EXPECT_TRUE(ReserveStates(model, 100, 120).ok());
  EXPECT_EQ(reserved, 120);
  model.info.state_bytes_per_session = (64 << 20) + 1;
  EXPECT_TRUE(ReserveStates(model, 0, 7).ok());
  EXPECT_EQ(reserved, 0);
  model.info.state_bytes_per_session = 0;
  EXPECT_TRUE(ReserveStates(model, 0, 7).ok());
  EXPECT_EQ(reserved, 7);
}

TEST(ReserveStates, TakesThatOfAllSessionsOnADeviceOrSaysWhatToDo) {
  int reserved = -1;
  Model model;
  model.translator = std::make_unique<ReservingTranslator>(&reserved);
  model.info.name = "ende";
  model.info.device = "cuda:0";
  model.info.state_bytes_per_session = 1 << 20;
  EXPECT_TRUE(ReserveStates(model, 0, 1000).ok());
  EXPECT_EQ(reserved, 1000);
  EXPECT_TRUE(ReserveStates(model, 500, 1001).ok()) << "all have their memory already";
  const absl::Status status = ReserveStates(model, 0, 1001);
  EXPECT_EQ(status, absl::ResourceExhaustedError(
                        "model ende needs memory on cuda:0 for 1001 sessions of 1024 KB each, and "
                        "there is not so much (no more); lower max_sessions"));
}

TEST(NotOpened, ALackOfMemoryIsLoggedNowAndThen) {
  const auto before = spdlog::default_logger();
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kText);
  for (int call = 0; call < 3; ++call) {
    EXPECT_TRUE(absl::IsUnavailable(NotOpened(absl::ResourceExhaustedError("no block is free"))));
    EXPECT_TRUE(absl::IsInvalidArgument(NotOpened(absl::InvalidArgumentError("no such k"))));
  }
  FlushOutput();
  const std::string log = testing::internal::GetCapturedStderr();
  spdlog::set_default_logger(before);
  EXPECT_THAT(log, testing::HasSubstr("SERVER_FULL: no block is free"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
}

}  // namespace
}  // namespace leapstream
