#include "server/text_state.h"

#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

class TextStateTest : public ::testing::Test {
 protected:
  TextStateTest() {
    model_.name = "lm";
    model_.checksum = "0a1b";
    model_.compute_type = "float32";
    text_.state = std::string("numbers\n\0with\nlines", 19);
    text_.pending = {5, 6};
    text_.recent = {1, 2, 3};
  }
  std::string Seal() const {
    return SealText(text_, model_, "ann", now_ + absl::Hours(1), signer_);
  }

  const ResumeSigner signer_ = ResumeSigner::WithRandomKey();
  const absl::Time now_ = absl::Now();
  ModelInfo model_;
  SavedText text_;
};

TEST_F(TextStateTest, ATextComesBackAsItWas) {
  const auto text = UnsealText(Seal(), model_, "ann", now_, signer_);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->state, text_.state);
  EXPECT_EQ(text->pending, text_.pending);
  EXPECT_EQ(text->recent, text_.recent);
}

TEST_F(TextStateTest, EachKindOfOtherTextIsRefused) {
  const auto reason = [&](const std::string& state, const ModelInfo& model,
                          const std::string& principal, absl::Time now) {
    const auto text = UnsealText(state, model, principal, now, signer_);
    EXPECT_FALSE(text.ok());
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("send the text again"));
    return ReasonOf(text.status());
  };
  EXPECT_EQ(reason(Seal(), model_, "bob", now_), "TEXT_STATE_INVALID");
  EXPECT_EQ(reason(Seal(), model_, "ann", now_ + absl::Hours(2)), "TEXT_STATE_EXPIRED");
  ModelInfo other = model_;
  other.checksum = "ffff";
  EXPECT_EQ(reason(Seal(), other, "ann", now_), "TEXT_STATE_MISMATCH");
  other = model_;
  other.compute_type = "int8";
  EXPECT_EQ(reason(Seal(), other, "ann", now_), "TEXT_STATE_MISMATCH");
  other = model_;
  other.state_type = "float16";
  EXPECT_EQ(reason(Seal(), other, "ann", now_), "TEXT_STATE_MISMATCH");
  std::swap(other, model_);
  EXPECT_EQ(reason(Seal(), other, "ann", now_), "TEXT_STATE_MISMATCH");
  std::swap(other, model_);
  for (size_t at = 0; at < Seal().size(); ++at) {
    std::string changed = Seal();
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_EQ(reason(changed, model_, "ann", now_), "TEXT_STATE_INVALID");
    EXPECT_EQ(reason(Seal().substr(0, at), model_, "ann", now_), "TEXT_STATE_INVALID");
  }
  // Texts that this key has signed and that are no states: a resume token, another version, too few
  // lines.
  EXPECT_EQ(reason(signer_.Sign(ResumeToken()), model_, "ann", now_), "TEXT_STATE_INVALID");
  for (const char* text : {"leapstream text 2\nabc", "leapstream text 1\n", "leapstream text 1"}) {
    EXPECT_EQ(reason(signer_.Seal(text), model_, "ann", now_), "TEXT_STATE_EXPIRED");
  }
}

TEST_F(TextStateTest, ARequestHasRoomForAStateOfFixedSize) {
  auto leap = std::make_shared<Model>();
  leap->info.generates = true;
  leap->info.state_bytes_per_session = 5 << 20;
  EXPECT_GT(MessageBytes(1 << 20, {leap}), 5 << 20);
  auto softmax = std::make_shared<Model>();
  softmax->info = leap->info;
  softmax->info.state_bytes_per_token = 100;
  EXPECT_EQ(MessageBytes(1 << 20, {softmax}), 1 << 20);
}

}  // namespace
}  // namespace leapstream
