// The counters of signals are those of a process, so each test has a process of its own.
#include "client/cli/signals.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <iostream>
#include <thread>

#include <gtest/gtest.h>

namespace leapstream::client {
namespace {

// Runs `test` in a child that has taken the signals over.
void InChild(const std::function<void()>& test) {
  std::cout.flush();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(30);  // Poll() that does not end would hang the test.
    EXPECT_TRUE(signals::TakeOver().ok());
    test();
    std::cout.flush();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

absl::Status PollForEver() { return signals::Poll({}, SteadyTime::InfiniteFuture()); }

TEST(SignalsTest, TheFirstInterruptEndsTheInputAndTheSecondTheRun) {
  InChild([] {
    EXPECT_FALSE(signals::EndWanted());
    EXPECT_FALSE(signals::CancelWanted());
    raise(SIGINT);
    EXPECT_TRUE(signals::EndWanted());
    EXPECT_FALSE(signals::CancelWanted());
    raise(SIGINT);
    EXPECT_TRUE(signals::EndWanted());
    EXPECT_TRUE(signals::CancelWanted());
  });
}

TEST(SignalsTest, TermEndsTheRun) {
  InChild([] {
    raise(SIGTERM);
    EXPECT_TRUE(signals::EndWanted());
    EXPECT_TRUE(signals::CancelWanted());
  });
}

TEST(SignalsTest, ChangesOfTheTerminalAreToldOnce) {
  InChild([] {
    EXPECT_FALSE(signals::TakeResized());
    EXPECT_FALSE(signals::TakeContinued());
    raise(SIGWINCH);
    raise(SIGWINCH);
    EXPECT_FALSE(signals::TakeContinued());
    EXPECT_TRUE(signals::TakeResized());
    EXPECT_FALSE(signals::TakeResized());
    raise(SIGCONT);
    EXPECT_TRUE(signals::TakeContinued());
    EXPECT_FALSE(signals::TakeContinued());
    EXPECT_FALSE(signals::EndWanted());
  });
}

TEST(SignalsTest, ASignalBeforeTheWaitEndsItAndTheNextOneWaits) {
  InChild([] {
    raise(SIGINT);
    EXPECT_TRUE(PollForEver().ok());
    const SteadyTime start = SteadyNow();
    EXPECT_TRUE(signals::Poll({}, start + absl::Milliseconds(20)).ok());
    EXPECT_GE(SteadyNow() - start, absl::Milliseconds(20));
  });
}

TEST(SignalsTest, ASignalEndsTheWait) {
  InChild([] {
    std::thread other([] { kill(getpid(), SIGWINCH); });  // Before the wait, or within it.
    while (!signals::TakeResized()) EXPECT_TRUE(PollForEver().ok());
    other.join();
  });
}

TEST(SignalsTest, WhatIsReadyIsToldAndASignalBesideItIsLeft) {
  InChild([] {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    pollfd fds[] = {{pipe[0], POLLIN, 0}, {-1, POLLIN, 0}};
    raise(SIGINT);
    EXPECT_TRUE(signals::Poll(absl::MakeSpan(fds), SteadyTime::InfiniteFuture()).ok());
    EXPECT_EQ(fds[0].revents, 0) << "a signal came";
    ASSERT_EQ(write(pipe[1], "x", 1), 1);
    EXPECT_TRUE(signals::Poll(absl::MakeSpan(fds), SteadyTime::InfiniteFuture()).ok());
    EXPECT_EQ(fds[0].revents, POLLIN);
    EXPECT_EQ(fds[1].revents, 0);
    signals::WakeNextPoll();
    EXPECT_TRUE(signals::Poll(absl::MakeSpan(fds), SteadyTime::InfiniteFuture()).ok());
    EXPECT_EQ(fds[0].revents, POLLIN);
    EXPECT_TRUE(PollForEver().ok()) << "it is left for this call";
  });
}

TEST(SignalsTest, AReaderThatIsGoneIsAnErrorAndNoSignal) {
  InChild([] {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    close(pipe[0]);
    EXPECT_LT(write(pipe[1], "x", 1), 0);
    EXPECT_EQ(errno, EPIPE);
  });
}

}  // namespace
}  // namespace leapstream::client
