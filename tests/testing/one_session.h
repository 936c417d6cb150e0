#ifndef LEAPSTREAM_TESTS_TESTING_ONE_SESSION_H_
#define LEAPSTREAM_TESTS_TESTING_ONE_SESSION_H_

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include "absl/types/span.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"

namespace leapstream {

// The output of a session that gets these chunks of text as one segment, however it ends.
inline std::unique_ptr<CollectingSink> RunSession(Scheduler& scheduler,
                                                  const SessionOptions& options,
                                                  absl::Span<const std::string> chunks,
                                                  ResumeFrom from = {}) {
  auto sink = std::make_unique<CollectingSink>();
  auto session = scheduler.Open(options, sink.get(), std::move(from));
  EXPECT_TRUE(session.ok()) << session.status();
  if (!session.ok()) return sink;
  for (const std::string& chunk : chunks) (*session)->Push(chunk);
  (*session)->EndSource();
  sink->Wait();
  return sink;
}

// RunSession() of one that ends well.
inline std::unique_ptr<CollectingSink> Translate(Scheduler& scheduler,
                                                 const SessionOptions& options,
                                                 absl::Span<const std::string> chunks,
                                                 ResumeFrom from = {}) {
  auto sink = RunSession(scheduler, options, chunks, std::move(from));
  EXPECT_TRUE(sink->status.ok()) << sink->status;
  return sink;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_ONE_SESSION_H_
