// Runs one loaded model on many threads: several schedulers step it at once, as with `replicas`,
// and each step has threads of its own, as with `intra_op_threads`. The test needs no LibTorch, so
// that TSan sees all of the code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "model/engine/load_model.h"
#include "model/engine/parallel.h"
#include "nlohmann/json.hpp"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"

namespace leapstream {
namespace {

constexpr char kModel[] = LEAPSTREAM_SOURCE_DIR "/model/pretrained/en-de";
constexpr size_t kSentences = 3;

std::vector<std::string> ReadSources() {
  std::vector<std::string> sources;
  std::ifstream in(LEAPSTREAM_SOURCE_DIR "/tests/golden/en-de/traces.k3.stop.jsonl");
  for (std::string line; sources.size() < kSentences && std::getline(in, line);) {
    sources.push_back(nlohmann::json::parse(line)["source"]);
  }
  EXPECT_EQ(sources.size(), kSentences);
  return sources;
}

std::shared_ptr<const Model> Load(int intra_op_threads) {
  LoadOptions load;
  load.intra_op_threads = intra_op_threads;
  auto model = LoadModel(kModel, load);
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

// Translates all sources at once on each of so many schedulers of one model. Returns each
// scheduler's translations.
std::vector<std::vector<std::string>> Translate(const std::shared_ptr<const Model>& model,
                                                size_t schedulers) {
  std::vector<CollectingSink> sinks(schedulers * kSentences);
  std::vector<std::unique_ptr<Scheduler>> running;
  const std::vector<std::string> sources = ReadSources();
  for (size_t i = 0; i < schedulers; ++i) running.push_back(std::make_unique<Scheduler>(model));
  for (size_t i = 0; i < sinks.size(); ++i) {
    auto session = running[i / kSentences]->Open({}, &sinks[i]);
    EXPECT_TRUE(session.ok()) << session.status();
    (*session)->Push(sources[i % kSentences]);
    (*session)->EndSource();
  }
  std::vector<std::vector<std::string>> texts(schedulers);
  for (size_t i = 0; i < sinks.size(); ++i) {
    sinks[i].Wait();
    EXPECT_TRUE(sinks[i].status.ok()) << sinks[i].status;
    texts[i / kSentences].push_back(sinks[i].appended.at(0));
  }
  return texts;
}

TEST(ThreadsTest, ReplicasAndTheirThreadsGiveWhatOneThreadGives) {
  const std::vector<std::string> alone = Translate(Load(1), 1)[0];
  for (const int threads : {1, 2}) {
    for (const auto& texts : Translate(Load(threads), 3)) {
      EXPECT_EQ(texts, alone) << threads << " threads each";
    }
  }
}

TEST(ParallelForTest, EachPartIsDoneOnce) {
  const ThreadsScope threads(3);
  for (const int count : {0, 1, 2, 3, 257}) {
    // No atomics are needed: each part is one thread's, and all parts end before the values are
    // read.
    std::vector<int> done(count);
    for (int round = 1; round <= 20; ++round) {
      ParallelFor(count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++done[i];
      });
      EXPECT_THAT(done, testing::Each(round));
    }
  }
}

TEST(ParallelForTest, WhatAllPartsThrowIsThrownOnce) {
  const ThreadsScope threads(3);
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(ParallelFor(300, 1, [](int64_t, int64_t) { throw std::runtime_error("a part"); }),
                 std::runtime_error);
  }
}

TEST(ParallelForTest, CallersHaveTheirOwnThreads) {
  std::vector<std::thread> callers;
  std::vector<int64_t> sums(4);
  for (size_t c = 0; c < sums.size(); ++c) {
    callers.emplace_back([&sum = sums[c]] {
      const ThreadsScope threads(2);
      std::vector<int64_t> of_part(2);
      for (int round = 0; round < 50; ++round) {
        ParallelFor(1000, 500, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) of_part[begin / 500] += i;
        });
      }
      sum = of_part[0] + of_part[1];
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_THAT(sums, testing::Each(50 * 999 * 500));
}

}  // namespace
}  // namespace leapstream
