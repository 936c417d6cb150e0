#include "server/wire/source_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "server/status_mapping.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SourceReader::Form FormOf(v1::InputFormat format, SourcePosition first = {}) {
  SourceReader::Form form;
  form.format = format;
  form.model_name = "en-de";
  form.max_chunk_bytes = 64;
  form.first = first;
  return form;
}

v1::SourceChunk Text(const std::string& text) {
  v1::SourceChunk chunk;
  chunk.set_text(text);
  return chunk;
}

void ExpectReason(const absl::Status& status, const std::string& reason,
                  const std::string& message) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), reason);
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(SourceReaderTest, ReadsEachFormat) {
  const SourceReader text(FormOf(v1::INPUT_FORMAT_TEXT));
  EXPECT_EQ(std::get<std::string>(*text.Read(Text("one two"), 0)), "one two");

  v1::SourceChunk pieces;
  pieces.mutable_pieces()->add_pieces("a");
  pieces.mutable_pieces()->add_pieces("b");
  const SourceReader reads_pieces(FormOf(v1::INPUT_FORMAT_PIECES));
  EXPECT_THAT(std::get<std::vector<std::string>>(*reads_pieces.Read(pieces, 0)),
              ElementsAre("a", "b"));

  v1::SourceChunk ids;
  ids.mutable_token_ids()->add_ids(7);
  const SourceReader reads_ids(FormOf(v1::INPUT_FORMAT_TOKEN_IDS));
  EXPECT_THAT(std::get<std::vector<TokenId>>(*reads_ids.Read(ids, 0)), ElementsAre(7));

  v1::SourceChunk audio;
  audio.set_audio(std::string("\1\0\2\0", 4));
  const SourceReader reads_audio(FormOf(v1::INPUT_FORMAT_PCM_S16LE));
  EXPECT_TRUE(reads_audio.reads_audio());
  EXPECT_THAT(std::get<AudioSamples>(*reads_audio.Read(audio, 0)), ElementsAre(1.0f, 2.0f));
}

TEST(SourceReaderTest, SaysWhatIsWrongWithAChunk) {
  const SourceReader text(FormOf(v1::INPUT_FORMAT_TEXT));
  ExpectReason(text.Read(Text(std::string(100, 'x')), 0).status(), "CHUNK_TOO_LARGE",
               "may have 64 bytes, got 102");
  ExpectReason(text.Read(v1::SourceChunk(), 0).status(), "CONTENT_MISSING", "must have text");
  v1::SourceChunk audio;
  audio.set_audio("1234");
  ExpectReason(text.Read(audio, 0).status(), "INPUT_FORMAT_MISMATCH", "model en-de takes text");
  const SourceReader reads_audio(FormOf(v1::INPUT_FORMAT_PCM_F32LE));
  ExpectReason(reads_audio.Read(Text("one"), 0).status(), "INPUT_FORMAT_MISMATCH", "takes audio");
}

// A resumed session has translated a part of the chunk that comes first.
TEST(SourceReaderTest, SkipsWhatWasTranslated) {
  const SourceReader text(FormOf(v1::INPUT_FORMAT_TEXT, {5, 4}));
  EXPECT_EQ(std::get<std::string>(*text.Read(Text("one two"), 5)), "two");
  EXPECT_EQ(text.Begin(5).samples, 4);
  EXPECT_EQ(std::get<std::string>(*text.Read(Text("three"), 6)), "three");
  EXPECT_EQ(text.Begin(6).chunks, 6);
  EXPECT_EQ(text.Begin(6).samples, 0);
  EXPECT_EQ(std::get<std::string>(*text.Read(Text("four"), 5)), "");
  ExpectReason(text.Read(Text("one"), 5).status(), "SEQUENCE_MISMATCH", "must be as it was");
}

}  // namespace
}  // namespace leapstream
