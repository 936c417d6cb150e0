#include "server/admission.h"

#include <gtest/gtest.h>

#include <memory>

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

}  // namespace
}  // namespace leapstream
