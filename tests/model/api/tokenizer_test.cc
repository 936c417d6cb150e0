#include "model/api/sentencepiece.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream {
namespace {

constexpr char kModel[] = LEAPSTREAM_SOURCE_DIR "/tests/golden/reference/data/joint/spm.model";
constexpr char kSpace[] = "\xE2\x96\x81";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

absl::StatusCode LoadBytes(const std::string& bytes) {
  const std::string path = ::testing::TempDir() + "/tokenizer_test.model";
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return SentencePiece::Load(path).status().code();
}

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto loaded = SentencePiece::Load(kModel);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    tokenizer_ = *std::move(loaded);
  }
  std::unique_ptr<const SentencePiece> tokenizer_;
};

TEST_F(TokenizerTest, EncodesAndDecodes) {
  const std::string text = "The device is ready, das Gerät ist bereit.";
  const std::vector<std::string> pieces = tokenizer_->Encode(text);
  EXPECT_GT(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].substr(0, 3), kSpace);
  EXPECT_EQ(tokenizer_->Decode(pieces), text);
  EXPECT_TRUE(tokenizer_->Encode("").empty());
  EXPECT_EQ(tokenizer_->Decode({}), "");
}

TEST_F(TokenizerTest, UnknownCharactersKeepTheirSurface) {
  const std::vector<std::string> pieces = tokenizer_->Encode("\xE9\xBE\x8D\xE9\xBE\x8D");  // 龍龍
  EXPECT_THAT(pieces, ::testing::Contains("\xE9\xBE\x8D\xE9\xBE\x8D"));
  EXPECT_EQ(tokenizer_->Kind("\xE9\xBE\x8D\xE9\xBE\x8D"), PieceKind::kVerbatim);
}

TEST_F(TokenizerTest, KindsAreWhatDecodeDoes) {
  EXPECT_EQ(tokenizer_->Kind("<s>"), PieceKind::kControl);
  EXPECT_EQ(tokenizer_->Kind("</s>"), PieceKind::kControl);
  EXPECT_EQ(tokenizer_->Kind("<unk>"), PieceKind::kUnknown);
  EXPECT_EQ(tokenizer_->Kind(tokenizer_->Encode("the")[0]), PieceKind::kText);
  EXPECT_EQ(tokenizer_->Kind(""), PieceKind::kText);
  EXPECT_EQ(tokenizer_->Decode({"<s>", "</s>"}), "");
  EXPECT_EQ(tokenizer_->Decode({"<unk>"}), tokenizer_->unknown_surface());
  EXPECT_EQ(tokenizer_->unknown_surface(), " \xE2\x81\x87 ");
  EXPECT_EQ(tokenizer_->Decode({"\xE2\x96\x81\xE9\xBE\x8D"}), "\xE2\x96\x81\xE9\xBE\x8D");
  EXPECT_TRUE(tokenizer_->strips_leading_space());
  EXPECT_TRUE(tokenizer_->strips_all_leading_space());
  EXPECT_EQ(tokenizer_->Decode({kSpace, kSpace, tokenizer_->Encode("the")[0]}), "the");
}

TEST_F(TokenizerTest, BytesThatAreNotTextDoNotHarm) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    std::string text(random() % 50, '\0');
    for (char& c : text) c = static_cast<char>(random());
    tokenizer_->Encode(text);
    tokenizer_->Decode({text, text});
    tokenizer_->Kind(text);
  }
}

TEST(TokenizerLoadTest, MissingFile) {
  EXPECT_EQ(SentencePiece::Load("/nonexistent/spm.model").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(SentencePiece::Load(::testing::TempDir()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(TokenizerLoadTest, GarbageIsAnError) {
  EXPECT_EQ(LoadBytes(""), absl::StatusCode::kInvalidArgument);
  std::mt19937 random(2);
  for (int i = 0; i < 100; ++i) {
    std::string bytes(1 + random() % 3000, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    EXPECT_EQ(LoadBytes(bytes), absl::StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerLoadTest, TruncatedModelIsAnError) {
  const std::string model = ReadFile(kModel);
  ASSERT_GT(model.size(), 1000u);
  for (size_t size = 0; size < model.size(); size += 1 + model.size() / 300) {
    EXPECT_EQ(LoadBytes(model.substr(0, size)), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(TokenizerLoadTest, DamagedModelDoesNotCrash) {
  const std::string model = ReadFile(kModel);
  const std::string path = ::testing::TempDir() + "/tokenizer_test.damaged";
  std::mt19937 random(3);
  int loaded = 0;
  for (int i = 0; i < 200; ++i) {
    std::string damaged = model;
    for (int n = 0; n < 4; ++n) damaged[random() % damaged.size()] = static_cast<char>(random());
    std::ofstream(path, std::ios::binary | std::ios::trunc) << damaged;
    if (auto tokenizer = SentencePiece::Load(path); tokenizer.ok()) {
      ++loaded;
      (*tokenizer)->Decode((*tokenizer)->Encode("A \xC3\xBC word \xE2\x84\xA2 of \xEF\xBC\xA1."));
    }
  }
  EXPECT_GT(loaded, 0);
}

}  // namespace
}  // namespace leapstream
