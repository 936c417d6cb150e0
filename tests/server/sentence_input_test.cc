#include "server/rpc/sentence_input.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

// Each part as "text@chunks.bytes", and each end of a segment as "|chunks.bytes".
std::string Shown(const std::vector<SentenceInput::Part>& parts) {
  std::string shown;
  for (const SentenceInput::Part& part : parts) {
    if (!part.text.empty()) {
      absl::StrAppend(&shown, "[", part.text, "]", part.at.chunks, ".", part.at.samples);
    }
    if (part.ends_segment) absl::StrAppend(&shown, "|", part.end.chunks, ".", part.end.samples);
  }
  return shown;
}

TEST(SentenceInputTest, PartsHaveTheirPlacesInChunks) {
  SentenceInput input("en", {});
  EXPECT_EQ(Shown(input.Append("It is. He", {0, 0})), "[It is. ]0.0|0.7[He]0.7");
  EXPECT_EQ(Shown(input.Append(" saw plan B. T", {1, 0})), "[ saw plan B. ]1.0");
  EXPECT_EQ(Shown(input.Append("h", {2, 0})), "");
  EXPECT_EQ(Shown(input.Append("en i", {3, 0})), "|1.13[T]1.13[h]2.0[en i]3.0");
  EXPECT_EQ(Shown(input.Append("s. \"", {4, 0})), "[s. ]4.0");
  EXPECT_EQ(Shown(input.Finish()), "|4.3[\"]4.3");
  EXPECT_EQ(Shown(input.Append("end. ", {5, 0})), "[end. ]5.0");
  EXPECT_EQ(Shown(input.Finish()), "");
}

TEST(SentenceInputTest, ASentenceOfWhichAPartIsTranslatedIsLookedAtFromItsBeginning) {
  // A new input begins with the sentence in chunk 3, at byte 5, and gives out text from chunk 4 on.
  SentenceInput input("en", {4, 2});
  EXPECT_EQ(Shown(input.Append("Mr. ", {3, 5})), "");
  EXPECT_EQ(Shown(input.Append("J. Smith. ", {4, 0})), "[ Smith. ]4.2");
  EXPECT_EQ(Shown(input.Append("He", {5, 0})), "|5.0[He]5.0");
}

}  // namespace
}  // namespace leapstream
