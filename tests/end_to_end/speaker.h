#ifndef LEAPSTREAM_TESTS_END_TO_END_SPEAKER_H_
#define LEAPSTREAM_TESTS_END_TO_END_SPEAKER_H_

#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace leapstream {

struct Sentence {
  std::string source;
  std::string translation;  // The reference's, with wait-3; an early end stops.
};

inline std::vector<Sentence> ReadSentences() {
  std::vector<Sentence> sentences;
  std::ifstream file(LEAPSTREAM_SOURCE_DIR "/tests/golden/en-de/traces.k3.stop.jsonl");
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    // Two tokens that are nearly as likely change places when the weights are rounded to float16.
    if (json["margin"] < 1e-3) continue;
    sentences.push_back({json["source"], json["prediction"]});
  }
  EXPECT_GE(sentences.size(), 20u);
  return sentences;
}

inline client::StreamOptions LikeTheReference() {
  client::StreamOptions options;
  options.policy.rule = client::WaitK{3};
  options.early_end = client::EarlyEnd::kStop;
  return options;
}

// One client in a thread. It speaks sentences at a pace, with pauses between them, and records the
// answers.
class Speaker {
 public:
  struct Interruption {
    absl::Time at;                                         // Time at which the client noticed.
    absl::Duration until_text = absl::InfiniteDuration();  // Time until the next text.
  };

  Speaker(client::Client& client, std::vector<Sentence> sentences, double words_per_second,
          absl::Duration pause = absl::ZeroDuration(),
          const client::StreamOptions& options = LikeTheReference())
      : sentences_(std::move(sentences)),
        interval_(absl::Seconds(1) / words_per_second),
        pause_(pause),
        stream_(client.StartStream(options)),
        thread_([this] { Run(); }) {}
  ~Speaker() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  // Called after Join(). Expects the transcript that was promised, whatever happened to the
  // servers.
  void ExpectFaultlessTranscript() const {
    EXPECT_TRUE(status_.ok()) << status_;
    ASSERT_EQ(texts_.size(), sentences_.size());
    for (size_t i = 0; i < sentences_.size(); ++i) {
      EXPECT_EQ(texts_[i], sentences_[i].translation) << "segment " << i + 1;
      EXPECT_EQ(appended_[i], sentences_[i].translation) << "deltas of segment " << i + 1;
    }
    EXPECT_EQ(summary_.segments, static_cast<int64_t>(sentences_.size()));
  }
  const std::vector<Interruption>& interruptions() const { return interruptions_; }
  int moves() const { return moves_; }

 private:
  void Run() {
    std::thread listener([this] { Listen(); });
    absl::Time due = absl::Now();
    for (const Sentence& sentence : sentences_) {
      const std::vector<std::string> words = absl::StrSplit(sentence.source, ' ');
      for (size_t i = 0; i < words.size(); ++i) {
        absl::SleepFor(due - absl::Now());
        due += interval_;
        EXPECT_TRUE(stream_->PushText(i == 0 ? words[i] : " " + words[i]).ok());
      }
      EXPECT_TRUE(stream_->EndSegment().ok());
      due += pause_;
    }
    EXPECT_TRUE(stream_->CloseSource().ok());
    listener.join();
    status_ = stream_->Wait();
  }

  void Listen() {
    appended_.resize(sentences_.size());
    while (const auto event = stream_->Next()) {
      if (const auto* delta = std::get_if<client::Delta>(&*event)) {
        ASSERT_LE(delta->segment, static_cast<int64_t>(appended_.size()));
        appended_[delta->segment - 1] += delta->text;
        NoteText();
      } else if (const auto* completed = std::get_if<client::SegmentCompleted>(&*event)) {
        texts_.push_back(completed->text);
        NoteText();
      } else if (std::holds_alternative<client::Interrupted>(*event)) {
        interruptions_.push_back({absl::Now()});
      } else if (std::holds_alternative<client::Resumed>(*event)) {
        ++moves_;
      } else if (const auto* summary = std::get_if<client::Summary>(&*event)) {
        summary_ = *summary;
      }
    }
  }
  void NoteText() {
    for (auto i = interruptions_.rbegin(); i != interruptions_.rend(); ++i) {
      if (i->until_text < absl::InfiniteDuration()) break;
      i->until_text = absl::Now() - i->at;
    }
  }

  const std::vector<Sentence> sentences_;
  const absl::Duration interval_, pause_;
  const std::unique_ptr<client::Stream> stream_;
  std::vector<std::string> appended_, texts_;
  std::vector<Interruption> interruptions_;
  int moves_ = 0;
  client::Summary summary_;
  absl::Status status_;
  std::thread thread_;  // Declared last, since it uses the rest.
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_END_TO_END_SPEAKER_H_
