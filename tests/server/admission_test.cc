#include "server/admission.h"

#include <gtest/gtest.h>

#include <memory>

namespace leapstream {
namespace {

// Remembers what it was asked to take memory for.
class ReservingTranslator : public Translator {
 public:
  explicit ReservingTranslator(int* reserved) : reserved_(reserved) {}
  void Reserve(int states) const override { *reserved_ = states; }
  std::unique_ptr<SessionState> NewState() const override { return nullptr; }
  absl::Status Read(absl::Span<const SourceRows> /*rows*/) const override {
    return absl::UnimplementedError("it has no states");
  }
  absl::Status Decide(absl::Span<SessionState* const> /*states*/,
                      absl::Span<Decision> /*result*/) const override {
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
  EXPECT_EQ(ReserveStates(model, 7), 7);
  EXPECT_EQ(reserved, 7);
  EXPECT_EQ(ReserveStates(model, 20000), 64);
  EXPECT_EQ(reserved, 64);
  model.info.state_bytes_per_session = (64 << 20) + 1;
  EXPECT_EQ(ReserveStates(model, 7), 0);
  EXPECT_EQ(reserved, 0);
  model.info.state_bytes_per_session = 0;
  EXPECT_EQ(ReserveStates(model, 7), 7);
}

}  // namespace
}  // namespace leapstream
