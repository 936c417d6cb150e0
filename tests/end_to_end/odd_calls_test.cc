// Calls that no client makes: random bytes, broken messages, and valid messages with odd values in
// odd order, ended in every way, on a real server. Nothing of them may stay. CHAOS_CALLS is their
// number; CHAOS_SEED repeats them (but for the order in which the threads' calls meet).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tests/end_to_end/measure.h"
#include "tests/end_to_end/processes.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

constexpr int kThreads = 4;
constexpr char kService[] = "/leapstream.v1.SimultaneousTranslationService/";

class OddCalls {
 public:
  OddCalls(int port, uint64_t seed) : random_(seed) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                         grpc::InsecureChannelCredentials(), arguments);
  }

  // Makes one call, of any kind.
  void Make() {
    grpc::ClientContext context;
    // Now and then the deadline is so short that it ends a call at any point.
    const absl::Duration limit =
        Below(20) == 0 ? absl::Microseconds(Below(20000)) : absl::Seconds(30);
    context.set_deadline(absl::ToChronoTime(absl::Now() + limit));
    if (Below(10) == 0) return Unary(&context);
    const auto stream = OpenRaw(channel_.get(), &context, kStreamMethod);
    const auto messages = Below(6);
    const bool begins_well = Below(4) != 0;
    for (uint64_t i = 0; i < messages; ++i) {
      if (Below(30) == 0) context.TryCancel();
      if (!stream->Write(
              Bytes(i == 0 && begins_well ? Mutated(SomeConfig(), 30) : SomeMessage()))) {
        break;
      }
    }
    switch (Below(4)) {
      case 0:  // The client is gone, without a word.
        context.TryCancel();
        break;
      case 1: {  // The client is gone, after the first answer.
        grpc::ByteBuffer response;
        stream->WritesDone();
        stream->Read(&response);
        context.TryCancel();
        break;
      }
      default:
        stream->WritesDone();
    }
    for (grpc::ByteBuffer response; stream->Read(&response);) {
    }
    Check(stream->Finish());
  }

  const std::map<std::string, int>& endings() const { return endings_; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }
  int64_t OddNumber() {
    static constexpr int64_t kNumbers[] = {
        0, 1, 2, 3, 5, 77, 1000, 5999, 6001, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
    return kNumbers[Below(std::size(kNumbers))];
  }
  std::string OddText() {
    static const char* const kTexts[] = {"",
                                         " ",
                                         "a word",
                                         "half a wo",
                                         "\n\n \t",
                                         "\u2028 ü \U0001F600 ",
                                         "</s> <pad> <unk> ",
                                         "%s %n \\0 ",
                                         "a b c d e f g h "};
    return Below(50) == 0 ? std::string(Below(70000), 'x') : kTexts[Below(std::size(kTexts))];
  }
  std::string RandomBytes(size_t size) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random_());
    return bytes;
  }

  Request SomeConfig() {
    Request request;
    v1::SessionConfig& config = *request.mutable_config();
    v1::DecodingPolicy& policy = *config.mutable_policy();
    // Most values allow a session to begin.
    policy.mutable_wait_k()->set_k(static_cast<int>(1 + Below(5)));
    if (Below(4) == 0) policy.mutable_offline();
    if (Below(20) == 0) policy.mutable_learned();
    if (Below(10) == 0) policy.mutable_wait_k()->set_k(static_cast<int>(OddNumber()));
    if (Below(10) == 0) policy.mutable_wait_k()->set_write_stride(static_cast<int>(OddNumber()));
    policy.set_early_end(static_cast<v1::EarlyEnd>(Below(5)));
    policy.set_max_target_tokens(static_cast<int>(1 + Below(8)));
    if (Below(20) == 0) policy.set_max_target_tokens(static_cast<int>(OddNumber()));
    if (Below(20) == 0) policy.set_max_length_a(static_cast<double>(OddNumber()));
    if (Below(20) == 0) policy.set_max_length_b(static_cast<int>(OddNumber()));
    if (Below(4) == 0) config.set_input_format(static_cast<v1::InputFormat>(Below(7)));
    if (Below(20) == 0) config.set_sample_rate_hertz(static_cast<int>(OddNumber()));
    if (Below(20) == 0) config.set_model(OddText());
    if (Below(20) == 0) config.mutable_idle_timeout()->set_seconds(OddNumber());
    if (Below(20) == 0) config.mutable_idle_timeout()->set_nanos(static_cast<int>(OddNumber()));
    if (Below(10) == 0) {
      v1::ResumeRequest& resume = *config.mutable_resume();
      resume.set_session_id(OddText());
      resume.set_resume_token(RandomBytes(Below(300)));
      resume.set_next_source_sequence(OddNumber());
      resume.mutable_committed_target()->add_ids(static_cast<int>(OddNumber()));
      resume.add_committed_source_tokens_read(static_cast<int>(OddNumber()));
    }
    config.mutable_output()->set_token_details(Below(2) == 0);
    config.mutable_output()->set_segment_stats(Below(2) == 0);
    return request;
  }
  std::string SomeMessage() {
    Request request;
    switch (Below(9)) {
      case 0:
        return RandomBytes(Below(200));
      case 1:
        request = SomeConfig();
        break;
      case 2:
        request.mutable_end_segment();
        break;
      case 3:
        request.mutable_keep_alive();
        break;
      case 4:
        request.mutable_source()->set_audio(RandomBytes(Below(400)));
        break;
      case 5:
        for (uint64_t i = Below(4); i > 0; --i) {
          request.mutable_source()->mutable_token_ids()->add_ids(static_cast<int>(OddNumber()));
        }
        break;
      case 6:
        for (uint64_t i = Below(4); i > 0; --i) {
          request.mutable_source()->mutable_pieces()->add_pieces(OddText());
        }
        break;
      default:
        request.mutable_source()->set_text(OddText());
        if (Below(5) == 0) request.mutable_source()->set_sequence(OddNumber());
    }
    return Mutated(request, 8);
  }
  // The request's bytes. One time in `rarely`, some are changed, cut off or added.
  std::string Mutated(const Request& request, uint64_t rarely) {
    std::string bytes = request.SerializeAsString();
    if (Below(rarely) != 0) return bytes;
    for (uint64_t i = Below(4); i > 0 && !bytes.empty(); --i) {
      bytes[Below(bytes.size())] ^= static_cast<char>(1 << Below(8));
    }
    if (Below(2) == 0) bytes.resize(Below(bytes.size() + 1));
    if (Below(4) == 0) bytes += RandomBytes(Below(20));
    return bytes;
  }

  void Unary(grpc::ClientContext* context) {
    static const char* const kMethods[] = {"Translate", "ListModels", "NoSuchMethod",
                                           "StreamTranslate"};
    v1::TranslateRequest request;
    request.set_text(OddText());
    if (Below(10) == 0) request.set_model(OddText());
    std::string response;
    Check(CallRaw(channel_.get(), context,
                  absl::StrCat(kService, kMethods[Below(std::size(kMethods))]).c_str(),
                  Below(2) == 0 ? RandomBytes(Below(60)) : request.SerializeAsString(), &response));
  }

  // No call may end for reasons that are not the caller's.
  void Check(const grpc::Status& status) {
    const std::string code =
        absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
    ++endings_[absl::StrCat(code, status.ok() ? "" : " ", status.ok() ? "" : Reason(status))];
    switch (status.error_code()) {
      case grpc::StatusCode::OK:
      case grpc::StatusCode::CANCELLED:
      case grpc::StatusCode::DEADLINE_EXCEEDED:
      case grpc::StatusCode::UNIMPLEMENTED:
        return;
      case grpc::StatusCode::INVALID_ARGUMENT:
      case grpc::StatusCode::NOT_FOUND:
      case grpc::StatusCode::FAILED_PRECONDITION:
      case grpc::StatusCode::ABORTED:
        EXPECT_NE(Reason(status), "no details") << status.error_message();
        return;
      default:
        ADD_FAILURE() << code << ": " << status.error_message();
    }
  }

  std::mt19937_64 random_;
  std::shared_ptr<grpc::Channel> channel_;
  std::map<std::string, int> endings_;
};

TEST(OddCallsTest, NothingOfThemStays) {
  const uint64_t seed = RandomSeed();
  TestFolder folder;
  ServerProcess server(folder, "server",
                       {"--metrics-listen", "127.0.0.1:0", "--config-timeout", "2s"});
  ASSERT_NO_FATAL_FAILURE(server.StartAndWait());
  const int calls = FromEnvironment("CHAOS_CALLS", 3000);
  const auto run = [&](int count, uint64_t own_seed) {
    std::map<std::string, int> endings;
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] {
        OddCalls odd(server.port(), own_seed * kThreads + i);
        for (int call = i; call < count && !testing::Test::HasFailure(); call += kThreads) {
          odd.Make();
        }
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto& [ending, times] : odd.endings()) endings[ending] += times;
      });
    }
    for (std::thread& thread : threads) thread.join();
    return endings;
  };
  run(calls / 4, seed + 1);  // The allocator and gRPC now have the memory that they keep.
  const int64_t memory = ResidentMemory(server.pid());
  const absl::Time start = absl::Now();
  for (const auto& [ending, times] : run(calls, seed)) absl::PrintF("%7d %s\n", times, ending);
  absl::PrintF("%d calls in %s; resident memory %d KiB, then %d KiB\n", calls,
               absl::FormatDuration(absl::Now() - start), memory, ResidentMemory(server.pid()));
  ASSERT_TRUE(server.running()) << server.log();

  httplib::Client http("127.0.0.1", server.port_of("metrics"));
  const auto gauges = [&] {
    const auto page = http.Get("/metrics");
    std::map<std::string, double> values;
    for (const char* gauge :
         {"leapstream_sessions_active{", "leapstream_slots_used ", "leapstream_state_bytes{",
          "leapstream_step_loop_turn_age_seconds{"}) {
      values[gauge] = page ? MetricsIn(page->body, gauge) : -1;
    }
    return values;
  };
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  const auto all_zero = [&] {
    for (const auto& [gauge, value] : gauges()) {
      if (value != 0) return false;
    }
    return true;
  };
  while (!all_zero() && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(50));
  for (const auto& [gauge, value] : gauges()) EXPECT_EQ(value, 0) << gauge;
  // The states of more sessions at once than before take one slab more, a huge page for each of
  // the model's nine blocks, which is kept.
  constexpr int64_t kSlab = 9 * 2048;  // KiB.
  EXPECT_LT(ResidentMemory(server.pid()), memory + memory / 10 + kSlab);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0) << server.log();  // A sanitizer would report a leak here.
}

}  // namespace
}  // namespace leapstream
