// Audio on the wire: a real server and the client library on loopback, with a fake model of speech.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/client.h"
#include "leapstream/v1/simultaneous_translation.grpc.pb.h"
#include "server/pcm.h"
#include "server/server.h"
#include "tests/testing/fake_model.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;
using Request = v1::StreamTranslateRequest;

// Two seconds of a chirp, 16-bit.
std::string Pcm16(int rate = 16000) {
  std::string bytes;
  for (int i = 0; i < 2 * rate; ++i) {
    const double t = static_cast<double>(i) / rate;
    const auto sample = static_cast<int16_t>(8000 * std::sin(2 * M_PI * (200 + 300 * t) * t));
    bytes.push_back(static_cast<char>(sample & 0xff));
    bytes.push_back(static_cast<char>(sample >> 8 & 0xff));
  }
  return bytes;
}

// Five utterances with pauses between them, and one that is too short to count. No pause follows
// the last.
std::string Talk() {
  std::string bytes;
  const auto add = [&](double seconds, double level, double hertz) {
    for (int i = 0; i < seconds * 16000; ++i) {
      const auto sample = static_cast<int16_t>(level * std::sin(2 * M_PI * hertz * i / 16000));
      bytes.push_back(static_cast<char>(sample & 0xff));
      bytes.push_back(static_cast<char>(sample >> 8 & 0xff));
    }
  };
  add(1.0, 0, 1);
  add(1.7, 9000, 300);
  add(0.83, 20, 500);
  add(2.6, 5000, 250);
  add(0.3, 0, 1);
  add(1.1, 5000, 350);
  add(0.6, 0, 1);
  add(0.4, 9000, 400);
  add(0.607, 0, 1);
  add(2.3, 9000, 440);
  add(13.0, 0, 1);
  add(1.9, 9000, 200);
  return bytes;
}

std::string ToFloats(const std::string& pcm16) {
  std::string bytes;
  for (size_t i = 0; i < pcm16.size(); i += 2) {
    int16_t sample;
    std::memcpy(&sample, pcm16.data() + i, sizeof(sample));
    const float value = sample / 32768.0f;
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  return bytes;
}

class SpeechServerTest : public testing::Test {
 protected:
  void SetUp() override {
    spdlog::set_level(spdlog::level::off);
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    FakeModelOptions speech, text;
    speech.name = "speech";
    speech.speech = true;
    text.name = "text";
    models_ = {FakeModel(speech), FakeModel(text)};
    auto server = Server::Start(options, models_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    const std::string address = absl::StrCat("127.0.0.1:", server_->port());
    stub_ = v1::SimultaneousTranslationService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
    client::ClientOptions to;
    to.address = address;
    auto connected = client::Client::Connect(to);
    ASSERT_TRUE(connected.ok()) << connected.status();
    client_ = *std::move(connected);
  }

  // Goes on with a server whose segments have so many source tokens at most.
  void StartWithLimit(int max_source_tokens) {
    ServerOptions options;
    options.listen = "127.0.0.1:0";
    options.limits.max_source_tokens = max_source_tokens;
    auto server = Server::Start(options, models_);
    ASSERT_TRUE(server.ok()) << server.status();
    stub_.reset();
    server_ = *std::move(server);
    stub_ = v1::SimultaneousTranslationService::NewStub(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials()));
  }

  struct Result {
    std::string text;
    std::vector<double> delays;
    client::Started started;
    client::Summary summary;
    absl::Status status;
  };
  Result Run(client::StreamOptions options, const std::string& bytes, size_t largest) {
    options.model = "speech";
    options.policy.rule = client::WaitK{2};
    options.token_details = true;
    auto stream = client_->StartStream(options);
    const size_t width = options.audio == client::AudioFormat::kPcmF32Le ? 4 : 2;
    std::mt19937 random(3);
    for (size_t begin = 0; begin < bytes.size();) {
      const size_t count =
          std::min(bytes.size() - begin, width * (1 + random() % (largest / width)));
      EXPECT_TRUE(stream->PushAudio(absl::string_view(bytes).substr(begin, count)).ok());
      begin += count;
    }
    EXPECT_TRUE(stream->CloseSource().ok());
    Result result;
    while (const auto event = stream->Next()) {
      if (const auto* started = std::get_if<client::Started>(&*event)) result.started = *started;
      if (const auto* summary = std::get_if<client::Summary>(&*event)) result.summary = *summary;
      if (const auto* delta = std::get_if<client::Delta>(&*event)) {
        result.text += delta->text;
        for (const client::Token& token : delta->tokens) {
          result.delays.push_back(token.source_audio_ms);
        }
      }
    }
    result.status = stream->Wait();
    return result;
  }

  // The status that ends a stream of these requests.
  grpc::Status Ending(const std::vector<Request>& requests) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    auto stream = stub_->StreamTranslate(&context);
    for (const Request& request : requests) {
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    v1::StreamTranslateResponse response;
    while (stream->Read(&response)) continue;
    return stream->Finish();
  }
  static Request Config(const std::string& model, v1::InputFormat format, int rate) {
    Request request;
    request.mutable_config()->set_model(model);
    request.mutable_config()->set_input_format(format);
    request.mutable_config()->set_sample_rate_hertz(rate);
    return request;
  }
  static Request Audio(const std::string& bytes) {
    Request request;
    request.mutable_source()->set_audio(bytes);
    return request;
  }

  // All segments of a raw stream, and its resume points.
  struct RawRun {
    std::vector<v1::SegmentCompleted> segments;
    std::vector<v1::ResumePoint> points;
    std::string session_id;
    grpc::Status status;
  };
  static Request ResumeAt(Request config, const RawRun& run, const v1::ResumePoint& point,
                          int64_t next_source_sequence) {
    v1::ResumeRequest& resume = *config.mutable_config()->mutable_resume();
    resume.set_session_id(run.session_id);
    resume.set_resume_token(point.resume_token());
    resume.set_next_source_sequence(next_source_sequence);
    return config;
  }
  RawRun RunRaw(const Request& config, const std::vector<std::string>& chunks, int64_t first) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(30)));
    auto stream = stub_->StreamTranslate(&context);
    EXPECT_TRUE(stream->Write(config));
    for (int64_t i = first; i <= static_cast<int64_t>(chunks.size()); ++i) {
      Request request = Audio(chunks[i - 1]);
      request.mutable_source()->set_sequence(i);
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
    RawRun run;
    v1::StreamTranslateResponse response;
    while (stream->Read(&response)) {
      if (response.has_started()) run.session_id = response.started().session_id();
      if (response.has_resume_point()) run.points.push_back(response.resume_point());
      if (response.has_segment_completed()) run.segments.push_back(response.segment_completed());
    }
    run.status = stream->Finish();
    return run;
  }
  static std::vector<std::string> CutUp(const std::string& bytes, int seed, size_t largest) {
    std::mt19937 random(seed);
    std::vector<std::string> chunks;
    for (size_t begin = 0; begin < bytes.size();) {
      chunks.push_back(bytes.substr(begin, 2 * (1 + random() % (largest / 2))));
      begin += chunks.back().size();
    }
    return chunks;
  }
  static Request PauseConfig(int ms, v1::EarlyEnd early_end) {
    Request request = Config("speech", v1::INPUT_FORMAT_PCM_S16LE, 0);
    request.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(2);
    request.mutable_config()->mutable_policy()->set_early_end(early_end);
    request.mutable_config()->mutable_pause_detection()->mutable_min_duration()->set_nanos(ms *
                                                                                           1000000);
    return request;
  }

  std::vector<std::shared_ptr<const Model>> models_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub_;
  std::unique_ptr<client::Client> client_;
};

TEST_F(SpeechServerTest, ChunksAndEncodingsDoNotShow) {
  client::StreamOptions options;
  options.audio = client::AudioFormat::kPcmS16Le;
  const Result whole = Run(options, Pcm16(), 1 << 20);
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  EXPECT_FALSE(whole.text.empty());
  EXPECT_EQ(whole.started.applied.sample_rate, 16000);
  EXPECT_EQ(whole.started.applied.audio, client::AudioFormat::kPcmS16Le);
  EXPECT_DOUBLE_EQ(whole.summary.totals.source_audio_ms, 2000);
  ASSERT_FALSE(whole.delays.empty());
  EXPECT_EQ(whole.delays.front(), 560);  // k 2, READs of 280 ms.
  for (size_t i = 1; i < whole.delays.size(); ++i) EXPECT_GE(whole.delays[i], whole.delays[i - 1]);
  const Result cut = Run(options, Pcm16(), 50);
  EXPECT_EQ(cut.text, whole.text);
  EXPECT_EQ(cut.delays, whole.delays);
  options.audio = client::AudioFormat::kPcmF32Le;
  const Result floats = Run(options, ToFloats(Pcm16()), 3000);
  EXPECT_EQ(floats.text, whole.text);
  EXPECT_EQ(floats.delays, whole.delays);
}

TEST_F(SpeechServerTest, ResamplesOtherRatesHoweverTheyAreCut) {
  client::StreamOptions options;
  options.audio = client::AudioFormat::kPcmS16Le;
  for (const int rate : {8000, 22050, 48000, 192000}) {
    options.sample_rate = rate;
    const Result whole = Run(options, Pcm16(rate), 1 << 20);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    EXPECT_EQ(whole.started.applied.sample_rate, rate);
    EXPECT_NEAR(whole.summary.totals.source_audio_ms, 2000, 1) << rate;
    const Result cut = Run(options, Pcm16(rate), 700);
    EXPECT_EQ(cut.text, whole.text) << rate;
    EXPECT_EQ(cut.delays, whole.delays) << rate;
  }
}

TEST_F(SpeechServerTest, PausesEndSegmentsHoweverTheAudioIsCut) {
  const Request config = PauseConfig(600, v1::EARLY_END_READ_ON);
  const RawRun whole = RunRaw(config, CutUp(Talk(), 1, 60000), 1);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  ASSERT_EQ(whole.segments.size(), 5u);
  // Each segment gives the same alone, with the lead-in and with the pause.
  Request alone = config;
  alone.mutable_config()->clear_pause_detection();
  const std::pair<double, double> parts[] = {
      {0.8, 3.3}, {3.33, 8.13}, {8.13, 9.13}, {9.13, 12.04}, {24.23, 26.337}};
  for (size_t s = 0; s < 5; ++s) {
    const auto begin = static_cast<size_t>(std::lround(parts[s].first * 16000)) * 2;
    const auto end = static_cast<size_t>(std::lround(parts[s].second * 16000)) * 2;
    const RawRun own = RunRaw(alone, CutUp(Talk().substr(begin, end - begin), 2, 9000), 1);
    ASSERT_EQ(own.segments.size(), 1u);
    EXPECT_FALSE(own.segments[0].text().empty());
    EXPECT_EQ(whole.segments[s].text(), own.segments[0].text()) << s;
  }
  for (const auto& [seed, largest] : {std::pair(3, size_t{60}), {4, 2000}, {5, 20000}}) {
    const RawRun cut = RunRaw(config, CutUp(Talk(), seed, largest), 1);
    ASSERT_EQ(cut.segments.size(), 5u) << largest;
    for (size_t s = 0; s < 5; ++s) EXPECT_EQ(cut.segments[s].text(), whole.segments[s].text());
  }
  // A minute of quiet moves the resume point of the last segment on. It is longer than can be
  // queued while the segment before is translated.
  std::string with_minute = Talk();
  with_minute.insert(15 * 32000, 60 * 32000, '\0');
  const RawRun minute = RunRaw(config, CutUp(with_minute, 1, 60000), 1);
  ASSERT_EQ(minute.segments.size(), 5u);
  std::vector<int64_t> consumed;
  for (const v1::ResumePoint& point : minute.points) {
    if (point.segment() == 5) consumed.push_back(point.consumed_source_sequence());
  }
  ASSERT_GE(consumed.size(), 2u);
  EXPECT_GT(consumed.back(), consumed.front());
}

// From each resume point the rest is the same, also where a translation had ended before its
// source.
TEST_F(SpeechServerTest, PausesAreWhereTheyWereAfterAResume) {
  for (const v1::EarlyEnd early_end : {v1::EARLY_END_READ_ON, v1::EARLY_END_STOP}) {
    for (int seed = 1; seed <= 3; ++seed) {
      const Request config = PauseConfig(600, early_end);
      const auto chunks = CutUp(Talk(), seed, 9000 * seed);
      const RawRun whole = RunRaw(config, chunks, 1);
      ASSERT_EQ(whole.segments.size(), 5u);
      ASSERT_GE(whole.points.size(), 6u);
      // A client forgets the source that a point has consumed, so no point goes back behind an
      // earlier one.
      for (size_t p = 1; p < whole.points.size(); ++p) {
        EXPECT_GE(whole.points[p].consumed_source_sequence(),
                  whole.points[p - 1].consumed_source_sequence())
            << "of segment " << whole.points[p].segment() << ", early end " << early_end;
      }
      for (const v1::ResumePoint& point : whole.points) {
        const int64_t next = point.consumed_source_sequence() + 1;
        const RawRun rest = RunRaw(ResumeAt(config, whole, point, next), chunks, next);
        ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
        ASSERT_EQ(rest.segments.size(), 5u - (point.segment() - 1));
        for (const v1::SegmentCompleted& segment : rest.segments) {
          EXPECT_EQ(segment.text(), whole.segments[segment.segment() - 1].text())
              << "segment " << segment.segment() << " from " << point.segment();
        }
        // The client cannot choose where the resume begins.
        const RawRun wrong = RunRaw(ResumeAt(config, whole, point, next + 1), {}, 1);
        EXPECT_THAT(wrong.status.error_message(), HasSubstr("next_source_sequence must be"));
      }
    }
  }
}

// The segments of a run, but for those before number `first`: text, place in the audio, and whether
// they go on.
std::vector<std::string> Shown(const std::vector<v1::SegmentCompleted>& segments,
                               int64_t first = 1) {
  std::vector<std::string> shown;
  for (const v1::SegmentCompleted& segment : segments) {
    if (segment.segment() < first) continue;
    shown.push_back(absl::StrCat(segment.segment(), " [", segment.audio_start_ms(), " ",
                                 segment.audio_end_ms(), "] ", segment.text(),
                                 segment.continues() ? " ..." : "",
                                 segment.source_dropped() ? " dropped" : ""));
  }
  return shown;
}

// In audio that is too long for a segment, and never pauses, segments are cut. The client does not
// have to know where, and need not keep what was translated.
TEST_F(SpeechServerTest, LongAudioGoesOnInTheNextSegmentHoweverItIsCutUp) {
  StartWithLimit(100);  // 4 s.
  std::string talk = Talk();
  talk.insert(talk.size() / 4, talk.substr(32000, 50000));
  Request with_pauses = PauseConfig(600, v1::EARLY_END_READ_ON), config = with_pauses;
  config.mutable_config()->clear_pause_detection();
  Request stops = config;
  stops.mutable_config()->mutable_policy()->set_early_end(v1::EARLY_END_STOP);
  for (const Request& asked : {config, stops, with_pauses}) {
    const bool drops = asked.config().policy().early_end() == v1::EARLY_END_STOP;
    const bool pauses = asked.config().has_pause_detection();
    const RawRun whole = RunRaw(asked, CutUp(talk, 1, 60000), 1);
    ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
    ASSERT_GE(whole.segments.size(), 4u);  // What is loud has room in three.
    EXPECT_EQ(whole.segments.back().continues(), false);
    double heard = 0, end = 0;
    for (const v1::SegmentCompleted& segment : whole.segments) {
      EXPECT_LE(segment.audio_end_ms() - segment.audio_start_ms(), 4000);
      EXPECT_NE(segment.finish_reason(), v1::FINISH_REASON_SOURCE_LIMIT);
      if (segment.audio_end_ms() == 0) continue;  // Nobody spoke.
      EXPECT_GE(segment.audio_start_ms(), end);
      end = segment.audio_end_ms();
      heard += end - segment.audio_start_ms();
    }
    // 11.56 s are loud; the rest is lead-in, pauses, and quiet within segments.
    if (!drops) {
      EXPECT_GE(heard, pauses ? 11560 : 28000 - 13000);
    }
    for (int seed = 2; seed <= 4; ++seed) {
      const auto chunks = CutUp(talk, seed, seed == 2 ? 700 : 9000 * seed);
      const RawRun cut = RunRaw(asked, chunks, 1);
      ASSERT_EQ(Shown(cut.segments), Shown(whole.segments)) << seed;
      if (seed == 2) continue;
      for (const v1::ResumePoint& point : cut.points) {
        const int64_t next = point.consumed_source_sequence() + 1;
        const RawRun rest = RunRaw(ResumeAt(asked, cut, point, next), chunks, next);
        ASSERT_TRUE(rest.status.ok()) << rest.status.error_message();
        EXPECT_EQ(Shown(rest.segments), Shown(whole.segments, point.segment()))
            << "from segment " << point.segment() << ", chunk " << next;
      }
      EXPECT_GT(cut.points.back().consumed_source_sequence(),
                static_cast<int64_t>(chunks.size() * 3 / 4));
    }
  }
}

// One end of the client's ends the last of several segments, and completes an empty one if it has
// nothing else to complete.
TEST_F(SpeechServerTest, EachEndOfTheClientsIsAnswered) {
  StartWithLimit(100);
  Request config = Config("speech", v1::INPUT_FORMAT_PCM_S16LE, 0), end;
  config.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(2);
  config.mutable_config()->mutable_policy()->set_max_target_tokens(3);  // It ends early.
  end.mutable_end_segment();
  const std::string loud = Talk().substr(1 << 16, 1 << 15), quiet(1 << 15, '\0');
  grpc::ClientContext context;
  auto stream = stub_->StreamTranslate(&context);
  std::vector<Request> requests = {config, end, Audio(quiet), end};
  for (int second = 0; second < 6; ++second) requests.push_back(Audio(loud));
  for (const Request& request : {end, Audio(quiet), Audio(loud), Audio(loud), Audio(loud)}) {
    requests.push_back(request);
  }
  for (const Request& request : requests) ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();
  int answers = 0, dropped = 0;
  v1::StreamTranslateResponse response;
  while (stream->Read(&response)) {
    if (!response.has_segment_completed()) continue;
    const v1::SegmentCompleted& completed = response.segment_completed();
    answers += completed.continues() ? 0 : 1;
    dropped += completed.continues() && completed.source_dropped() ? 1 : 0;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers, 4);
  EXPECT_GE(dropped, 2);
}

TEST_F(SpeechServerTest, OnlyWhatWasHeardIsASegment) {
  const Request config = PauseConfig(600, v1::EARLY_END_READ_ON);
  Request end;
  end.mutable_end_segment();
  const std::string second = Talk().substr(1 << 16, 1 << 15), silence(1 << 15, '\0');
  grpc::ClientContext context;
  auto stream = stub_->StreamTranslate(&context);
  for (const Request& request :
       {config, end, Audio(silence), end, Audio(second), end, end, Audio(silence), end}) {
    ASSERT_TRUE(stream->Write(request));
  }
  stream->WritesDone();
  int segments = 0;
  v1::StreamTranslateResponse response;
  while (stream->Read(&response)) segments += response.has_segment_completed() ? 1 : 0;
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(segments, 1);
}

TEST_F(SpeechServerTest, APauseIsTheServersUnlessTheClientSaysSo) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.pause.duration = absl::Milliseconds(600);
  auto server = Server::Start(options, models_);
  ASSERT_TRUE(server.ok()) << server.status();
  client::ClientOptions to;
  to.address = absl::StrCat("127.0.0.1:", (*server)->port());
  auto connected = client::Client::Connect(to);
  ASSERT_TRUE(connected.ok());
  client_ = *std::move(connected);
  client::StreamOptions asked;
  asked.audio = client::AudioFormat::kPcmS16Le;
  const Result by_default = Run(asked, Talk(), 5000);
  EXPECT_EQ(by_default.summary.segments, 5);
  EXPECT_EQ(by_default.started.applied.pause, absl::Milliseconds(600));
  EXPECT_EQ(by_default.started.applied.pause_threshold_db, -40);
  EXPECT_EQ(by_default.summary.totals.source_audio_ms, 2500 + 4800 + 1000 + 2910 + 2107);
  asked.pause = absl::Milliseconds(700);
  asked.pause_threshold_db = -60;  // With this, a level of 20 in 32768, -67 dB, is still quiet.
  EXPECT_EQ(Run(asked, Talk(), 5000).summary.segments, 3);
  asked.pause_threshold_db = -80;
  EXPECT_EQ(Run(asked, Talk(), 5000).summary.segments, 2);
  asked.pause = absl::ZeroDuration();
  const Result off = Run(asked, Talk(), 5000);
  EXPECT_EQ(off.summary.segments, 1);
  EXPECT_EQ(off.summary.totals.source_audio_ms, 26337);
  EXPECT_EQ(off.started.applied.pause, absl::ZeroDuration());
}

// The library goes on when servers go away in the middle.
TEST_F(SpeechServerTest, StreamsWithPausesSurviveTheirServers) {
  const std::string key = absl::StrCat(testing::TempDir(), "/speech_server_test_key");
  std::ofstream(key) << std::string(64, 'k');
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.resume_key_file = key;
  options.limits.max_source_tokens = 100;  // 4 s: some segments are cut.
  FakeModelOptions slow;
  slow.name = "speech";
  slow.speech = true;
  slow.step_delay = absl::Milliseconds(2);
  models_ = {FakeModel(slow)};
  std::vector<std::unique_ptr<Server>> servers;
  client::ClientOptions to;
  to.address.clear();
  for (int i = 0; i < 2; ++i) {
    auto server = Server::Start(options, models_);
    ASSERT_TRUE(server.ok()) << server.status();
    servers.push_back(*std::move(server));
    absl::StrAppend(&to.address, i > 0 ? "," : "", "127.0.0.1:", servers[i]->port());
  }
  auto connected = client::Client::Connect(to);
  ASSERT_TRUE(connected.ok()) << connected.status();
  int resumed = 0;
  for (const auto& [early_end, pause] : {std::pair(client::EarlyEnd::kReadOn, 600),
                                         {client::EarlyEnd::kStop, 600},
                                         {client::EarlyEnd::kReadOn, 0},
                                         {client::EarlyEnd::kStop, 0}}) {
    std::string undisturbed;
    for (int seed = 0; seed < 4; ++seed) {  // The first one is not disturbed.
      std::mt19937 random(seed);
      client::StreamOptions asked;
      asked.policy.rule = client::WaitK{2};
      asked.audio = client::AudioFormat::kPcmS16Le;
      asked.pause = absl::Milliseconds(pause);
      asked.early_end = early_end;
      auto stream = (*connected)->StartStream(asked);
      for (const std::string& chunk : CutUp(Talk(), seed, 20000)) {
        ASSERT_TRUE(stream->PushAudio(chunk).ok());
        absl::SleepFor(absl::Milliseconds(1));
        if (seed == 0 || random() % 20 != 0) continue;
        const size_t victim = random() % 2;
        options.listen = absl::StrCat("127.0.0.1:", servers[victim]->port());
        servers[victim]->Shutdown(SteadyNow());
        servers[victim].reset();
        auto server = Server::Start(options, models_);
        ASSERT_TRUE(server.ok()) << server.status();
        servers[victim] = *std::move(server);
      }
      ASSERT_TRUE(stream->CloseSource().ok());
      std::string text;
      while (const auto event = stream->Next()) {
        if (const auto* delta = std::get_if<client::Delta>(&*event)) text += delta->text;
        if (const auto* end = std::get_if<client::SegmentCompleted>(&*event)) {
          absl::StrAppend(&text, " [", end->audio_start_ms, " ", end->audio_end_ms, "]\n");
        }
        if (std::holds_alternative<client::Resumed>(*event)) ++resumed;
      }
      EXPECT_TRUE(stream->Wait().ok()) << stream->Wait();
      if (seed == 0) undisturbed = text;
      EXPECT_EQ(text, undisturbed) << "seed " << seed;
    }
    EXPECT_GE(std::count(undisturbed.begin(), undisturbed.end(), '\n'), 6);
  }
  EXPECT_GT(resumed, 3);
}

TEST_F(SpeechServerTest, RefusesWhatIsNoAudioByName) {
  const auto s16 = v1::INPUT_FORMAT_PCM_S16LE, f32 = v1::INPUT_FORMAT_PCM_F32LE;
  const auto unset = v1::INPUT_FORMAT_UNSPECIFIED;
  const float nan = std::numeric_limits<float>::quiet_NaN(), loud = 20000;
  const std::string not_a_number(reinterpret_cast<const char*>(&nan), 4);
  const std::string integer(reinterpret_cast<const char*>(&loud), 4);
  Request text;
  text.mutable_source()->set_text("hallo ");
  std::vector<std::tuple<std::vector<Request>, const char*>> cases = {
      {{Config("speech", s16, 0), Audio("abc")}, "multiple of 2 bytes, got 3"},
      {{Config("speech", f32, 0), Audio("abcdef")}, "multiple of 4 bytes, got 6"},
      {{Config("speech", f32, 0), Audio(not_a_number)}, "[-1, 1], got nan"},
      {{Config("speech", f32, 0), Audio(integer)}, "got 20000"},
      {{Config("speech", unset, 0), text}, "got a chunk of INPUT_FORMAT_TEXT"},
      {{Config("speech", v1::INPUT_FORMAT_TEXT, 0)}, "model speech takes audio"},
      {{Config("text", s16, 0)}, "model text takes text"},
      {{Config("text", unset, 0), Audio("abcd")}, "got a chunk of INPUT_FORMAT_PCM_S16LE"},
      {{Config("text", unset, 16000)}, "a session of text has no sample_rate_hertz"},
      {{Config("speech", s16, 7999)}, "in [8000, 192000], got 7999"},
      {{Config("speech", s16, -1)}, "got -1"},
      {{Config("speech", s16, 1 << 30)}, "got 1073741824"}};
  Request text_pause = PauseConfig(500, v1::EARLY_END_STOP), short_pause = PauseConfig(99, {});
  Request loud_pause = PauseConfig(500, {});
  text_pause.mutable_config()->clear_input_format();
  text_pause.mutable_config()->set_model("text");
  loud_pause.mutable_config()->mutable_pause_detection()->set_threshold_db(3);
  cases.insert(cases.end(),
               {{{text_pause}, "a session of text has no pauses, got a min_duration of 500ms"},
                {{short_pause}, "from 100ms to 1m, got 99ms"},
                {{loud_pause}, "in [-90, -1] dB of full scale, got 3"}});
  for (const auto& [requests, expected] : cases) {
    const grpc::Status status = Ending(requests);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << expected;
    EXPECT_THAT(status.error_message(), HasSubstr(expected));
  }
  EXPECT_TRUE(Ending({Config("speech", unset, 0), Audio(""), Audio("ab")}).ok());
  EXPECT_TRUE(Ending({Config("speech", f32, 192000)}).ok());
}

TEST_F(SpeechServerTest, ListsWhatModelsTakeAndSaysSoElsewhere) {
  const auto models = client_->ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 2u);
  EXPECT_TRUE((*models)[0].speech);
  EXPECT_EQ((*models)[0].read_duration, absl::Milliseconds(280));
  EXPECT_FALSE((*models)[1].speech);
  v1::TranslateRequest request;
  request.set_model("speech");
  request.set_text("hallo");
  v1::TranslateResponse response;
  grpc::ClientContext context;
  const grpc::Status status = stub_->Translate(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("takes audio"));
  auto stream = client_->StartStream({});
  EXPECT_TRUE(absl::IsInvalidArgument(stream->PushAudio("ab")));
}

TEST(PcmTest, ReadsBothEncodings) {
  const auto s16 = DecodePcm(absl::string_view("\x01\x00\xff\xff\x00\x80", 6), PcmEncoding::kS16Le);
  ASSERT_TRUE(s16.ok());
  EXPECT_EQ(*s16, (AudioSamples{1, -1, -32768}));
  const auto f32 =
      DecodePcm(absl::string_view("\x00\x00\x00\x38\x00\x00\x80\xbf", 8), PcmEncoding::kF32Le);
  ASSERT_TRUE(f32.ok());
  EXPECT_EQ(*f32, (AudioSamples{1, -32768}));
  EXPECT_TRUE(DecodePcm("", PcmEncoding::kF32Le)->empty());
}

}  // namespace
}  // namespace leapstream
