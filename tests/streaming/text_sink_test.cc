#include "streaming/text_sink.h"

#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/utf8.h"
#include "gtest/gtest.h"
#include "model/api/sentencepiece.h"

namespace leapstream {
namespace {

constexpr char kSpace[] = "\xE2\x96\x81";

// Appends the pieces one by one; each part must be UTF-8 by itself.
std::string Stream(const Tokenizer& tokenizer, const std::vector<std::string>& pieces) {
  TextSink sink(&tokenizer);
  std::string text;
  for (const std::string& piece : pieces) {
    const std::string part = sink.Append(piece);
    EXPECT_TRUE(IsUtf8(part)) << absl::StrJoin(pieces, "|");
    text += part;
  }
  const std::string rest = sink.Finish();
  EXPECT_TRUE(IsUtf8(rest));
  return text + rest;
}

// A tokenizer whose pieces are bytes as <0xNN>, <unk>, <s> and </s> as usual, and otherwise text.
class FakeTokenizer : public SentencePiece {
 public:
  FakeTokenizer(bool strips, bool strips_all) : strips_(strips), strips_all_(strips_all) {}

  std::vector<std::string> Encode(absl::string_view) const override { return {}; }
  std::string Decode(const std::vector<std::string>&) const override { return ""; }
  PieceKind Kind(absl::string_view piece) const override {
    if (piece == "<unk>") return PieceKind::kUnknown;
    if (piece == "<s>" || piece == "</s>") return PieceKind::kControl;
    return piece.size() == 6 && piece.substr(0, 3) == "<0x" ? PieceKind::kByte : PieceKind::kText;
  }
  std::vector<std::string> AllPieces() const override { return {}; }
  const std::string& unknown_surface() const override { return unknown_; }
  bool strips_leading_space() const override { return strips_; }
  bool strips_all_leading_space() const override { return strips_all_; }

 private:
  std::string unknown_ = " \xE2\x81\x87 ";
  bool strips_;
  bool strips_all_;
};

std::vector<std::string> BytePieces(absl::string_view bytes) {
  std::vector<std::string> pieces;
  for (const char c : bytes) {
    pieces.push_back(absl::StrFormat("<0x%02X>", static_cast<unsigned char>(c)));
  }
  return pieces;
}

// A length-delimited field in protobuf's wire format. The overload below is for a small number.
std::string Field(int number, absl::string_view bytes) {
  std::string out = {static_cast<char>(number << 3 | 2)};
  LEAPSTREAM_CHECK(bytes.size() < 128);
  out += static_cast<char>(bytes.size());
  return absl::StrCat(out, bytes);
}
std::string Field(int number, int value) {
  std::string out;
  for (int key = number << 3; key != 0; key >>= 7) {
    out += static_cast<char>((key & 0x7F) | (key > 0x7F ? 0x80 : 0));
  }
  return out + static_cast<char>(value);
}

// A BPE model with byte fallback, in the format of sentencepiece_model.proto.
std::string ByteFallbackModel(bool dummy_prefix, bool remove_extra_whitespaces) {
  std::string model;
  const auto add = [&model](absl::string_view piece, int type) {
    model += Field(1, absl::StrCat(Field(1, piece), Field(3, type)));
  };
  add("<unk>", 2);
  add("<s>", 3);
  add("</s>", 3);
  for (int byte = 0; byte < 256; ++byte) add(absl::StrFormat("<0x%02X>", byte), 6);
  for (const char* piece : {"a", "b", "ab"}) {
    add(piece, 1);
    add(absl::StrCat(kSpace, piece), 1);
  }
  add(kSpace, 1);
  add(absl::StrCat(kSpace, kSpace), 1);
  model += Field(2, absl::StrCat(Field(3, 2), Field(35, 1)));
  return model + Field(3, absl::StrCat(Field(3, dummy_prefix), Field(4, remove_extra_whitespaces)));
}

TEST(TextSinkTest, EqualsDecodeOfByteFallbackModels) {
  const std::string path = ::testing::TempDir() + "/text_sink_test.model";
  for (int flags = 0; flags < 4; ++flags) {
    std::ofstream(path, std::ios::binary) << ByteFallbackModel(flags & 1, flags & 2);
    auto loaded = SentencePiece::Load(path);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const SentencePiece& tokenizer = **loaded;
    ASSERT_EQ(tokenizer.Kind("<0xE2>"), PieceKind::kByte);
    const std::vector<std::string> text = {"a",
                                           "b",
                                           absl::StrCat(kSpace, "ab"),
                                           kSpace,
                                           kSpace,
                                           absl::StrCat(kSpace, kSpace),
                                           "<unk>",
                                           "<s>",
                                           "</s>",
                                           "zz",
                                           absl::StrCat(kSpace, "zz")};
    // The bytes at which the rules of UTF-8 change.
    const std::vector<std::string> bytes = BytePieces(
        "A\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE2\xED\xEF\xF0\xF4\xF5\xFF"
        "\xBF");
    std::mt19937 random(13 + flags);
    for (int i = 0; i < 30000; ++i) {
      std::vector<std::string> pieces(random() % 10);
      for (std::string& piece : pieces) {
        piece = random() % 3 == 0 ? text[random() % text.size()] : bytes[random() % bytes.size()];
      }
      if (i % 3 == 0 && !pieces.empty()) pieces[0] = kSpace;
      ASSERT_EQ(Stream(tokenizer, pieces), tokenizer.Decode(pieces)) << absl::StrJoin(pieces, "|");
    }
  }
}

TEST(TextSinkTest, EqualsDecodeOnRandomPieces) {
  auto loaded =
      Tokenizer::Load(LEAPSTREAM_SOURCE_DIR "/tests/golden/reference/data/joint/spm.model");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Tokenizer& tokenizer = **loaded;
  std::vector<std::string> choice = {kSpace,
                                     kSpace,
                                     kSpace,
                                     "<unk>",
                                     "<unk>",
                                     "<pad>",
                                     "<s>",
                                     "</s>",
                                     "<0xE2>",
                                     "<0x96>",
                                     "<0x81>",
                                     "\xE9\xBE\x8D",
                                     absl::StrCat(kSpace, "\xE9\xBE\x8D"),
                                     absl::StrCat(kSpace, kSpace, "x"),
                                     " ",
                                     "",
                                     "no such piece",
                                     absl::StrCat("no", kSpace, "such")};
  for (const std::string& piece : tokenizer.Encode(
           "The device is ready when all the data has been read, das Ger\xC3\xA4t ist bereit.")) {
    choice.push_back(piece);
  }
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::string> pieces(random() % 9);
    // The beginning is the hard part, so half of the sequences start with pieces that may vanish.
    for (size_t n = 0; n < pieces.size(); ++n) {
      pieces[n] = choice[random() % (n < 3 && i % 2 == 0 ? 8 : choice.size())];
    }
    ASSERT_EQ(Stream(tokenizer, pieces), tokenizer.Decode(pieces)) << absl::StrJoin(pieces, "|");
  }
}

TEST(TextSinkTest, LeadingSpaces) {
  const std::vector<std::string> pieces = {kSpace, "<s>", absl::StrCat(kSpace, "a"),
                                           absl::StrCat(kSpace, "b")};
  EXPECT_EQ(Stream(FakeTokenizer(true, true), pieces), "a b");
  EXPECT_EQ(Stream(FakeTokenizer(true, false), pieces), " a b");
  EXPECT_EQ(Stream(FakeTokenizer(false, false), pieces), "  a b");
  EXPECT_EQ(Stream(FakeTokenizer(true, true), {absl::StrCat(kSpace, kSpace, "a")}), " a");
  EXPECT_EQ(Stream(FakeTokenizer(true, true), {"<unk>", absl::StrCat(kSpace, "a")}),
            " \xE2\x81\x87  a");
  EXPECT_EQ(Stream(FakeTokenizer(true, true), {"<0x41>", absl::StrCat(kSpace, "a")}), "A a");
}

TEST(TextSinkTest, HoldsBytesUntilTheyMakeACharacter) {
  const FakeTokenizer tokenizer(true, true);
  TextSink sink(&tokenizer);
  EXPECT_EQ(sink.Append("<0xF0>"), "");
  EXPECT_EQ(sink.Append("<0x9F>"), "");
  EXPECT_EQ(sink.Append("<0x98>"), "");
  EXPECT_EQ(sink.Append("<0x80>"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(sink.Append("<0xC3>"), "");
  EXPECT_EQ(sink.Append("<0xC3>"), "\xEF\xBF\xBD");
  EXPECT_EQ(sink.Append("<0xA4>"), "\xC3\xA4");
  EXPECT_EQ(sink.Append("<0xE2>"), "");
  EXPECT_EQ(sink.Append("<0x96>"), "");
  EXPECT_EQ(sink.Append("a"),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(sink.Append("<0xE2>"), "");
  EXPECT_EQ(sink.Append("</s>"), "\xEF\xBF\xBD");
  EXPECT_EQ(sink.Append("<0xE2>"), "");
  EXPECT_EQ(sink.Finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(sink.Finish(), "");
}

TEST(TextSinkTest, ResetForgets) {
  const FakeTokenizer tokenizer(true, true);
  TextSink sink(&tokenizer);
  sink.Append("a");
  sink.Append("<0xE2>");
  sink.Reset();
  EXPECT_EQ(sink.Append(absl::StrCat(kSpace, "b")), "b");
  EXPECT_EQ(sink.Finish(), "");
}

TEST(TextSinkTest, InvalidBytesBecomeOneReplacementEach) {
  const FakeTokenizer tokenizer(true, true);
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xC0\x80")), r + r);                  // Overlong.
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xE0\x9F\xBF")), r + r + r);          // Overlong.
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xED\xA0\x80")), r + r + r);          // Surrogate.
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xF4\x90\x80\x80")), r + r + r + r);  // > U+10FFFF.
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xF5\xFF\x80")), r + r + r);
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xF4\x8F\xBF\xBF")), "\xF4\x8F\xBF\xBF");  // U+10FFFF.
  EXPECT_EQ(Stream(tokenizer, BytePieces("\xEF\xBF\xBD")), r);
}

}  // namespace
}  // namespace leapstream
