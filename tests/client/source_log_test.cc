#include "client/source_log.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

// Chunks are shown as "sequence:text ", ends of segments as "| ".
std::string Drain(SourceLog& log) {
  std::string text;
  while (const auto message = log.Next()) {
    absl::StrAppend(&text, message->sequence == 0
                               ? "| "
                               : absl::StrCat(message->sequence, ":", message->text, " "));
  }
  return text;
}

TEST(SourceLogTest, SendsAgainWhatIsNotComplete) {
  SourceLog log;
  log.Append("a");
  log.Append("b");
  log.EndSegment();
  log.Append("c");
  EXPECT_EQ(log.unsent_bytes(), 4);
  EXPECT_EQ(Drain(log), "1:a 2:b | 3:c ");
  EXPECT_EQ(log.unsent_bytes(), 0);
  EXPECT_EQ(log.Rewind(), 1);
  EXPECT_EQ(log.Next()->text, "a");
  EXPECT_EQ(log.Rewind(), 1);
  EXPECT_EQ(Drain(log), "1:a 2:b | 3:c ");
  log.Complete();
  EXPECT_EQ(log.Rewind(), 3);
  log.Append("d");
  EXPECT_FALSE(log.all_sent());
  log.Close();
  EXPECT_EQ(Drain(log), "3:c 4:d ");
  EXPECT_TRUE(log.all_sent());
  log.Complete();
  EXPECT_EQ(log.Rewind(), 5);
  EXPECT_TRUE(log.all_sent());
}

TEST(SourceLogTest, ASegmentMayBeCompleteBeforeItsSource) {
  SourceLog log;
  log.Append("a");
  log.Append("b");
  EXPECT_EQ(log.Next()->text, "a");
  log.Complete();
  EXPECT_EQ(Drain(log), "2:b ");  // The server waits for the end of the segment.
  log.Append("c");
  log.EndSegment();
  log.Append("d");
  EXPECT_EQ(Drain(log), "3:c | 4:d ");
  EXPECT_EQ(log.Rewind(), 4);
  EXPECT_EQ(Drain(log), "4:d ");

  log.Complete();
  EXPECT_EQ(log.Rewind(), 5);  // The new server's next chunk is of the next segment.
  log.Append("of the old one");
  EXPECT_EQ(log.unsent_bytes(), 0);
  EXPECT_EQ(Drain(log), "");
  log.EndSegment();  // The next end belongs to the next segment, too.
  log.Append("e");
  log.EndSegment();
  EXPECT_EQ(Drain(log), "5:e | ");
}

TEST(SourceLogTest, EmptySegmentsCount) {
  SourceLog log;
  log.EndSegment();
  log.EndSegment();
  log.Append("a");
  EXPECT_EQ(Drain(log), "| | 1:a ");
  log.Complete();
  EXPECT_EQ(log.Rewind(), 1);
  EXPECT_EQ(Drain(log), "| 1:a ");
  log.Complete();
  log.Complete();
  log.Complete();  // There is no second segment to complete.
  log.EndSegment();
  log.Close();
  EXPECT_EQ(log.Rewind(), 2);
  EXPECT_EQ(Drain(log), "");
  EXPECT_TRUE(log.all_sent());
}

TEST(SourceLogTest, TheServerMaySayWhatItHasDoneWith) {
  SourceLog log;
  for (const char* chunk : {"a", "b", "c"}) log.Append(chunk);
  EXPECT_EQ(log.Next()->text, "a");
  EXPECT_EQ(log.Next()->text, "b");
  log.Consume(1);
  EXPECT_EQ(Drain(log), "3:c ");
  EXPECT_EQ(log.Rewind(), 2);
  EXPECT_EQ(log.unsent_bytes(), 2);
  EXPECT_EQ(Drain(log), "2:b 3:c ");
  log.EndSegment();
  log.Append("d");
  log.Consume(3);
  EXPECT_EQ(log.Rewind(), 4);
  EXPECT_EQ(Drain(log), "| 4:d ");  // Its end had not been sent.
  log.Consume(3);
  log.Consume(3);
  EXPECT_EQ(log.Rewind(), 4);
  log.Close();
  EXPECT_EQ(Drain(log), "4:d ");
  EXPECT_TRUE(log.all_sent());
  log.Consume(9);
  EXPECT_EQ(log.Rewind(), 5);
  EXPECT_TRUE(log.all_sent());
}

// A plain model is the reference: whatever happens, each call is sent the source from the open
// segment on.
TEST(SourceLogTest, TheOpenSegmentMayBeDoneWithInPart) {
  SourceLog log;
  log.Append("a");
  log.Append("b");
  log.Append("c");
  log.EndSegment();
  // An empty segment. It stays incomplete while the first one is complete only in part.
  log.EndSegment();
  log.Append("d");
  EXPECT_EQ(log.Next()->text, "a");
  EXPECT_EQ(log.Next()->text, "b");
  log.ConsumeOpen(1);
  EXPECT_EQ(Drain(log), "3:c | | 4:d ");
  EXPECT_EQ(log.Rewind(), 2);
  EXPECT_EQ(Drain(log), "2:b 3:c | | 4:d ");
  log.ConsumeOpen(3);
  EXPECT_EQ(log.Rewind(), 4);
  EXPECT_EQ(Drain(log), "| | 4:d ");
  log.Complete();
  EXPECT_EQ(log.Rewind(), 4);
  EXPECT_EQ(Drain(log), "| 4:d ");
}

TEST(SourceLogTest, RandomHistories) {
  std::mt19937 random(1);
  for (int run = 0; run < 500; ++run) {
    SourceLog log;
    std::vector<std::string> segments = {""};  // All source so far, by segment.
    size_t completed = 0, sent_segment = 0;    // The state of this call's server.
    std::vector<std::string> call = {""};
    int64_t chunk = 0;
    for (int step = 0; step < 60; ++step) {
      switch (random() % 6) {
        case 0:
        case 1: {
          const std::string text = absl::StrCat("<", ++chunk, ">");
          log.Append(text);
          segments.back() += text;
          break;
        }
        case 2:
          log.EndSegment();
          segments.emplace_back();
          break;
        case 3:
          if (const auto message = log.Next()) {
            if (message->sequence == 0) {
              call.emplace_back();
            } else {
              call.back() += message->text;
            }
          }
          break;
        case 4: {  // The server completes the segment that it works at, if it knows that segment.
          const size_t known = sent_segment + call.size() - (call.back().empty() ? 1 : 0);
          if (completed < known) {
            log.Complete();
            ++completed;
          }
          break;
        }
        case 5:
          log.Rewind();
          call = {""};
          sent_segment = completed;
          break;
      }
    }
    while (const auto message = log.Next()) {
      if (message->sequence == 0) {
        call.emplace_back();
      } else {
        call.back() += message->text;
      }
    }
    EXPECT_EQ(log.unsent_bytes(), 0);
    std::vector<std::string> expected(segments.begin() + std::min(sent_segment, segments.size()),
                                      segments.end());
    if (expected.empty()) expected = {""};
    EXPECT_EQ(call, expected) << "run " << run;
  }
}

}  // namespace
}  // namespace leapstream::client
