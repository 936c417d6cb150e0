#include "server/rpc/session_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "server/logging.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

class SessionReportTest : public testing::Test {
 protected:
  SessionReportTest() { report_.SetModel("en-de", SessionOptions()); }

  // The value of the counter, or the count of the histogram, that has these labels among its own;
  // -1: there is none.
  double Count(const std::string& name, const std::map<std::string, std::string>& labels) const {
    for (const prometheus::MetricFamily& family : metrics_.registry().Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric) {
        size_t found = 0;
        for (const auto& label : metric.label) {
          const auto wanted = labels.find(label.name);
          found += wanted != labels.end() && wanted->second == label.value ? 1 : 0;
        }
        if (found != labels.size()) continue;
        const auto observed = static_cast<double>(metric.histogram.sample_count);
        return observed > 0 ? observed : metric.counter.value;
      }
    }
    return -1;
  }
  double Cut(const std::string& reason) const {
    return Count("leapstream_segments_cut_total", {{"model", "en-de"}, {"reason", reason}});
  }
  static SegmentCompleted Completed(FinishReason reason = FinishReason::kEndOfSentence) {
    SegmentCompleted completed;
    completed.reason = reason;
    completed.stats.source_tokens = 5;
    completed.stats.target_tokens = 4;
    return completed;
  }

  Metrics metrics_;
  SessionReport report_{&metrics_, "a"};
};

TEST_F(SessionReportTest, NamesTheSessionAsItWasSet) {
  EXPECT_EQ(report_.id(), "a");
  report_.SetId("resumed");
  EXPECT_EQ(report_.id(), "resumed");
  EXPECT_EQ(report_.model(), "en-de");
  EXPECT_EQ(report_.policy(), "k=3");
}

// Each value of a label is a series that stays, so large numbers have one together.
TEST_F(SessionReportTest, TheLaggingIsCountedByPolicy) {
  AdaptiveWaitK narrow, wide;
  wide.max_k = 20;
  const std::pair<Policy, const char*> labels[] = {
      {WaitK{16}, "16"},           {WaitK{17}, "17-32"},
      {WaitK{33}, "33+"},          {WaitK{3, 1, true}, "3 words"},
      {Offline(), "offline"},      {Learned(), "learned"},
      {LocalAgreement(), "la=2"},  {HoldN{3}, "hold=3"},
      {HoldN{40}, "hold=33+"},     {AlignAtt{2}, "alignatt=2"},
      {AlignAtt{20}, "alignatt=17-32"}, {narrow, "adaptive=1-9"},
      {wide, "adaptive=17+"}};
  for (const auto& [policy, label] : labels) {
    SessionOptions options;
    options.policy = policy;
    report_.SetModel("en-de", options);
    report_.Completed(Completed());
    EXPECT_EQ(Count("leapstream_average_lagging", {{"model", "en-de"}, {"k", label}}), 1) << label;
  }
  EXPECT_EQ(report_.policy(), "adaptive=1-20");
}

TEST_F(SessionReportTest, CountsStartsByWhetherTheyAreResumes) {
  report_.Started(false);
  report_.Started(true);
  report_.Started(true);
  const std::string name = "leapstream_sessions_started_total";
  EXPECT_EQ(Count(name, {{"model", "en-de"}, {"resumed", "false"}}), 1);
  EXPECT_EQ(Count(name, {{"model", "en-de"}, {"resumed", "true"}}), 2);
}

TEST_F(SessionReportTest, SumsSegmentsAndTakesTheSummaryInTheirPlace) {
  report_.Completed(Completed());
  report_.Completed(Completed());
  EXPECT_EQ(report_.summary().segments, 2);
  EXPECT_EQ(report_.summary().source_tokens, 10);
  EXPECT_EQ(report_.summary().target_tokens, 8);
  EXPECT_EQ(Count("leapstream_laal", {{"model", "en-de"}, {"k", "3"}}), 2);
  SessionSummary summary;
  summary.segments = 7;  // A resumed session had segments before.
  report_.Summarized(summary);
  EXPECT_EQ(report_.summary().segments, 7);
}

TEST_F(SessionReportTest, SaysWhySegmentsWereCut) {
  report_.Completed(Completed());
  EXPECT_LE(Cut("early_end") + Cut("max_length") + Cut("source_limit"), 0) << "it was complete";
  report_.Completed(Completed(FinishReason::kMaxLength));
  EXPECT_EQ(Cut("max_length"), 1);
  SegmentCompleted dropped = Completed();
  dropped.source_dropped = true;
  report_.Completed(dropped);
  EXPECT_EQ(Cut("early_end"), 1);
  SegmentCompleted limit = Completed(FinishReason::kSourceLimit);
  report_.Completed(limit);
  EXPECT_EQ(Cut("source_limit"), 1);
  limit.continues_at = SourcePosition{1, 0};
  report_.Completed(limit);
  EXPECT_EQ(Cut("source_limit"), 1) << "the rest is in the next segment";
}

TEST_F(SessionReportTest, CountsDroppedSourceOnce) {
  SegmentCompleted completed = Completed();
  completed.untranslated_source_tokens = 2;
  completed.so_far.dropped_source_bytes = 30;  // All of the session's until now.
  report_.Completed(completed);
  completed.so_far.dropped_source_bytes = 50;
  report_.Completed(completed);
  SessionSummary summary;
  summary.dropped_source_bytes = 60;
  report_.Summarized(summary);
  EXPECT_EQ(Count("leapstream_source_dropped_bytes_total", {{"model", "en-de"}}), 60);
  EXPECT_EQ(Count("leapstream_source_tokens_untranslated_total", {{"model", "en-de"}}), 4);
}

// All sessions of a batch end then, and perhaps those of the next one, too.
TEST_F(SessionReportTest, ALackOfMemoryIsLoggedNowAndThen) {
  const auto before = spdlog::default_logger();
  testing::internal::CaptureStderr();
  SetUpLogging("info", LogFormat::kText);
  ModelMetrics* const model = metrics_.ForModel("en-de");
  for (int step = 0; step < 3; ++step) model->OnNoMemory("no block is free", 7);
  metrics_.ForModel("de-en")->OnNoMemory("out of memory", 1);
  FlushOutput();
  const std::string log = testing::internal::GetCapturedStderr();
  spdlog::set_default_logger(before);
  EXPECT_THAT(log, HasSubstr("model en-de: a step found no memory (no block is free)"));
  EXPECT_THAT(log, HasSubstr("; 7 so far"));
  EXPECT_THAT(log, HasSubstr("model de-en: a step found no memory (out of memory)"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 2) << log;
}

TEST_F(SessionReportTest, TheEndIsCountedAndLoggedAndTextOnlyIfItMayBe) {
  const auto before = spdlog::default_logger();
  Caller caller;
  caller.principal = "alice";
  caller.peer = "ipv4:10.0.0.7:1";
  caller.trace_id = "4bf92f35";
  Accounts accounts(CharacterQuotas(), &metrics_);
  CallUsage usage(accounts.Of("alice"));
  ASSERT_TRUE(usage.TakeSource({17, absl::Milliseconds(250)}).ok());
  report_.Completed(Completed());
  const absl::Status status =
      WithReason(absl::AbortedError("the client said \"secret\""), "IDLE_TIMEOUT");
  for (const bool with_text : {false, true}) {
    testing::internal::CaptureStderr();
    SetUpLogging("info", LogFormat::kJson);
    report_.Ended(status, caller, usage, absl::Milliseconds(1500), with_text);
    FlushOutput();
    const std::string log = testing::internal::GetCapturedStderr();
    const nlohmann::json line = nlohmann::json::parse(log, nullptr, false);
    ASSERT_TRUE(line.is_object()) << log;
    EXPECT_EQ(line["message"], "session");
    EXPECT_EQ(line["session"], "a");
    EXPECT_EQ(line["principal"], "alice");
    EXPECT_EQ(line["trace_id"], "4bf92f35");
    EXPECT_EQ(line["policy"], "k=3");
    EXPECT_EQ(line["segments"], 1);
    EXPECT_EQ(line["source_tokens"], 5);
    EXPECT_EQ(line["source_characters"], 17);
    EXPECT_EQ(line["audio_seconds"], 0.25);
    EXPECT_EQ(line["seconds"], 1.5);
    EXPECT_EQ(line["status"], "ABORTED");
    EXPECT_EQ(line["reason"], "IDLE_TIMEOUT");
    EXPECT_EQ(log.find("secret") != std::string::npos, with_text) << log;
  }
  spdlog::set_default_logger(before);
  EXPECT_EQ(Count("leapstream_sessions_finished_total",
                  {{"model", "en-de"}, {"outcome", "Aborted"}, {"reason", "IDLE_TIMEOUT"}}),
            2);
}

}  // namespace
}  // namespace leapstream
