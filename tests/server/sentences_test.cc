// Sentences that the server finds in running text: in streams, resumed streams, and Translate.
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/server/server_fixture.h"

namespace leapstream {
namespace {

// The sentences of a running text, with the white space behind them.
const std::vector<std::string>& RunningSentences() {
  static const auto* const sentences = new std::vector<std::string>{
      "The rain in Spain stays mainly on the plain. ", "Mr. J. Smith saw plan B. ",
      "Then it rains! ", "今天下雨。", "“真的吗？”", "No one knows the end\n\n",
      "of the rain that fell. ", "So be it"};
  return *sentences;
}

std::string Running() { return absl::StrJoin(RunningSentences(), ""); }

Request Sentences(v1::EarlyEnd early_end = v1::EARLY_END_UNSPECIFIED) {
  Request config = Config(2);
  config.mutable_config()->set_text_segmentation(v1::TEXT_SEGMENTATION_SENTENCES);
  config.mutable_config()->mutable_policy()->set_early_end(early_end);
  config.mutable_config()->mutable_output()->set_token_details(true);
  return config;
}

// A text in chunks, cut at random places between characters.
std::vector<std::string> RandomChunks(const std::string& text, std::mt19937& random) {
  std::vector<std::string> chunks = {""};
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && !chunks.back().empty() && random() % 7 == 0) chunks.emplace_back();
    chunks.back().push_back(text[i]);
  }
  return chunks;
}

// The messages of two segments of a client: the running text, and a shorter one.
std::vector<Request> Messages(std::mt19937& random) {
  std::vector<Request> messages;
  int64_t sequence = 0;
  for (const std::string& text : {Running(), std::string("And on. It goes. ")}) {
    for (const std::string& chunk : RandomChunks(text, random)) {
      messages.push_back(Text(chunk, ++sequence));
    }
    messages.push_back(EndSegment());
  }
  return messages;
}

std::vector<v1::SegmentCompleted> CompletedOf(const Result& result) {
  std::vector<v1::SegmentCompleted> completed;
  for (const Response& response : result.responses) {
    if (response.has_segment_completed()) completed.push_back(response.segment_completed());
  }
  return completed;
}

TEST_F(ServerTest, TheServerEndsSegmentsWhereSentencesEnd) {
  Request explicit_ends = Config(2);
  explicit_ends.mutable_config()->mutable_policy()->set_continue_in_next_segment(true);
  std::vector<Request> requests = {explicit_ends};
  for (const std::string& sentence : RunningSentences()) {
    requests.push_back(Text(sentence));
    requests.push_back(EndSegment());
  }
  const Result expected = Run(requests);
  ASSERT_TRUE(expected.status.ok()) << expected.status.error_message();
  ASSERT_GE(expected.segments.size(), RunningSentences().size());

  const Result whole = Run({Sentences(), Text(Running()), EndSegment()});
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.segments, expected.segments);
  const v1::SessionConfig& applied = whole.responses.front().started().effective_config();
  EXPECT_EQ(applied.text_segmentation(), v1::TEXT_SEGMENTATION_SENTENCES);
  EXPECT_TRUE(applied.policy().continue_in_next_segment());
  const std::vector<v1::SegmentCompleted> completed = CompletedOf(whole);
  for (const v1::SegmentCompleted& one : completed) {
    EXPECT_EQ(one.continues(), one.segment() < static_cast<int64_t>(completed.size()));
    EXPECT_FALSE(one.source_dropped());
  }
  // The end of the source ends the last sentence, too.
  EXPECT_EQ(Run({Sentences(), Text(Running())}).segments, expected.segments);
  // A client that does not ask for it has one segment.
  EXPECT_EQ(Run({Config(2), Text(Running())}).segments.size(), 1u);
}

TEST_F(ServerTest, AnyChunkingGivesTheSameSentences) {
  std::mt19937 random(5);
  for (const v1::EarlyEnd early_end : {v1::EARLY_END_READ_ON, v1::EARLY_END_STOP}) {
    std::vector<std::string> expected;
    for (int round = 0; round < 12; ++round) {
      std::vector<Request> requests = Messages(random);
      requests.insert(requests.begin(), Sentences(early_end));
      const Result result = Run(requests);
      ASSERT_TRUE(result.status.ok()) << result.status.error_message();
      if (expected.empty()) expected = result.segments;
      EXPECT_EQ(result.segments, expected);
    }
    EXPECT_GE(expected.size(), RunningSentences().size());
  }
}

// A client that goes on with a session, and its knowledge of it.
class ResumedSentencesTest : public ServerTest {
 protected:
  // Reads a stream until `most` more tokens have come. False: the stream is over.
  bool Read(OpenStream& stream, int64_t most) {
    int64_t tokens = 0;
    while (stream.ReadUntil([](const Response&) { return true; })) {
      const Response& response = stream.last;
      if (response.has_started()) id_ = response.started().session_id();
      if (response.has_resume_point()) {
        points_[response.resume_point().segment()] = response.resume_point();
      }
      if (response.has_segment_completed()) {
        completed_.push_back(response.segment_completed());
        ids_.clear();
        read_.clear();
      }
      if (!response.has_target()) continue;
      for (const v1::TargetToken& token : response.target().tokens()) {
        ids_.push_back(token.id());
        read_.push_back(token.source_tokens_read());
        ++tokens;
      }
      if (tokens >= most) return true;
    }
    return false;
  }
  // The messages of another call: the config, and all source that the server still needs.
  std::vector<Request> Rest(Request config, const std::vector<Request>& messages) {
    const v1::ResumePoint& point = points_.at(static_cast<int64_t>(completed_.size()) + 1);
    v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
    resume.set_session_id(id_);
    resume.set_resume_token(point.resume_token());
    resume.set_next_source_sequence(point.consumed_source_sequence() + 1);
    for (const int id : ids_) resume.mutable_committed_target()->add_ids(id);
    for (const int read : read_) resume.add_committed_source_tokens_read(read);
    std::vector<Request> rest = {config};
    for (const Request& message : messages) {
      const bool is_needed = message.source().sequence() > point.consumed_source_sequence();
      if (is_needed || (message.has_end_segment() && rest.size() > 1)) rest.push_back(message);
    }
    return rest;
  }

  std::string id_;
  std::map<int64_t, v1::ResumePoint> points_;
  std::vector<v1::SegmentCompleted> completed_;
  std::vector<int> ids_, read_;
};

TEST_F(ResumedSentencesTest, GoOnAsIfNothingHadHappened) {
  std::mt19937 random(9);
  for (const v1::EarlyEnd early_end : {v1::EARLY_END_READ_ON, v1::EARLY_END_STOP}) {
    const std::vector<Request> messages = Messages(random);
    const Request config = Sentences(early_end);
    std::vector<Request> requests = messages;
    requests.insert(requests.begin(), config);
    const std::vector<v1::SegmentCompleted> expected = CompletedOf(Run(requests));
    for (int64_t step = 1; step < 40; step += 3) {
      id_.clear();
      points_.clear();
      completed_.clear();
      ids_.clear();
      read_.clear();
      std::vector<Request> call = requests;
      int calls = 0;
      grpc::Status status;
      for (bool is_over = false; !is_over; ++calls) {
        OpenStream stream(*stub_, call);
        stream.stream->WritesDone();
        is_over = !Read(stream, step);
        if (is_over) {
          status = stream.stream->Finish();
        } else {
          stream.context.TryCancel();
          call = Rest(config, messages);
        }
        ASSERT_LT(calls, 500);
      }
      ASSERT_TRUE(status.ok()) << status.error_message();
      ASSERT_EQ(completed_.size(), expected.size()) << step;
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(completed_[i].continues(), expected[i].continues()) << i;
        EXPECT_EQ(completed_[i].untranslated_source_tokens(),
                  expected[i].untranslated_source_tokens());
        // The text of the segment's deltas before the break was shown before.
        EXPECT_EQ(completed_[i].text(), expected[i].text()) << i;
      }
      EXPECT_GT(calls, 2);
    }
  }
}

TEST_F(ServerTest, SentencesAreOfText) {
  Request config = Sentences();
  config.mutable_config()->set_input_format(v1::INPUT_FORMAT_PIECES);
  ExpectError({config}, grpc::StatusCode::INVALID_ARGUMENT, "SEGMENTATION_INVALID", "in text");
  config.mutable_config()->set_text_segmentation(static_cast<v1::TextSegmentation>(9));
  ExpectError({config}, grpc::StatusCode::INVALID_ARGUMENT, "UNKNOWN_ENUM_VALUE", "number 9");
  FakeModelOptions speech;
  speech.speech = true;
  Start({FakeModel(speech)});
  ExpectError({Sentences()}, grpc::StatusCode::INVALID_ARGUMENT, "SEGMENTATION_INVALID",
              "takes audio");
}

class TranslateSentencesTest : public ServerTest {
 protected:
  std::string Translate(const v1::TranslateRequest& request) {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::TranslateResponse response;
    const grpc::Status status = stub_->Translate(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.text();
  }
  // The translation of a stream, with a space after a segment that goes on.
  std::string Stream(const std::vector<Request>& requests) {
    const Result result = Run(requests);
    EXPECT_TRUE(result.status.ok()) << result.status.error_message();
    std::string text;
    bool joins = false;
    for (const v1::SegmentCompleted& completed : CompletedOf(result)) {
      if (completed.segment() > 1 && !(joins && completed.text().empty())) {
        text += joins ? " " : "\n";
      }
      text += completed.text();
      joins = completed.continues();
    }
    return text;
  }
};

TEST_F(TranslateSentencesTest, EachSentenceOfALineIsASegment) {
  const std::string line = "The rain in Spain. It rains. 今天下雨。是吗？ Then it ends";
  v1::TranslateRequest request;
  request.set_text(absl::StrCat(line, "\n\nand on. And off"));
  Request config = Sentences();
  config.mutable_config()->clear_policy();  // The model's own.
  EXPECT_EQ(Translate(request), Stream({config, Text(line), EndSegment(), EndSegment(),
                                        Text("and on. And off"), EndSegment()}));
  request.set_text_segmentation(v1::TEXT_SEGMENTATION_OFF);
  config.mutable_config()->set_text_segmentation(v1::TEXT_SEGMENTATION_OFF);
  config.mutable_config()->mutable_policy()->set_continue_in_next_segment(true);
  EXPECT_EQ(Translate(request), Stream({config, Text(line), EndSegment(), EndSegment(),
                                        Text("and on. And off"), EndSegment()}));
}

TEST_F(TranslateSentencesTest, TakesAPolicy) {
  v1::TranslateRequest request;
  request.set_text(kText);
  std::vector<std::string> translations;
  for (const int k : {0, 1, 5, -1}) {  // 0: the default; -1: offline.
    Request config = Config(std::max(k, 0));
    if (k < 0) config.mutable_config()->mutable_policy()->mutable_offline();
    *request.mutable_policy() = config.config().policy();
    config.mutable_config()->mutable_policy()->set_continue_in_next_segment(true);
    translations.push_back(Translate(request));
    EXPECT_EQ(translations.back(), Stream({config, Text(kText)}));
  }
  EXPECT_NE(translations[1], translations[2]);
  EXPECT_NE(translations[0], translations[3]);
  request.mutable_policy()->mutable_wait_k()->set_k(1 << 20);
  grpc::ClientContext context;
  v1::TranslateResponse response;
  EXPECT_EQ(Reason(stub_->Translate(&context, request, &response)), "INVALID_POLICY");
  request.clear_policy();
  request.set_text_segmentation(static_cast<v1::TextSegmentation>(9));
  grpc::ClientContext another;
  EXPECT_EQ(Reason(stub_->Translate(&another, request, &response)), "UNKNOWN_ENUM_VALUE");
}

}  // namespace
}  // namespace leapstream
