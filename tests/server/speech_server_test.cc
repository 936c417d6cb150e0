// Audio on the wire: a real server and the client library on loopback, with a fake model of speech.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <cstring>
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
    auto server = Server::Start(options, {FakeModel(speech), FakeModel(text)});
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

  struct Result {
    std::string text;
    std::vector<double> delays;
    client::Started started;
    client::Summary summary;
    absl::Status status;
  };
  Result Run(client::StreamOptions options, const std::string& bytes, size_t largest) {
    options.model = "speech";
    options.k = 2;
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

  // How a stream of these requests ends.
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

TEST_F(SpeechServerTest, RefusesWhatIsNoAudioByName) {
  const auto s16 = v1::INPUT_FORMAT_PCM_S16LE, f32 = v1::INPUT_FORMAT_PCM_F32LE;
  const auto unset = v1::INPUT_FORMAT_UNSPECIFIED;
  const float nan = std::numeric_limits<float>::quiet_NaN(), loud = 20000;
  const std::string not_a_number(reinterpret_cast<const char*>(&nan), 4);
  const std::string integer(reinterpret_cast<const char*>(&loud), 4);
  Request text;
  text.mutable_source()->set_text("hallo ");
  const std::tuple<std::vector<Request>, const char*> cases[] = {
      {{Config("speech", s16, 0), Audio("abc")}, "multiple of 2 bytes, got 3"},
      {{Config("speech", f32, 0), Audio("abcdef")}, "multiple of 4 bytes, got 6"},
      {{Config("speech", f32, 0), Audio(not_a_number)}, "in [-1, 1], got nan"},
      {{Config("speech", f32, 0), Audio(integer)}, "got 20000"},
      {{Config("speech", unset, 0), text}, "got a chunk of INPUT_FORMAT_TEXT"},
      {{Config("speech", v1::INPUT_FORMAT_TEXT, 0)}, "model speech takes audio"},
      {{Config("text", s16, 0)}, "model text takes text"},
      {{Config("text", unset, 0), Audio("abcd")}, "got a chunk of INPUT_FORMAT_PCM_S16LE"},
      {{Config("text", unset, 16000)}, "a session of text has no sample_rate_hertz"},
      {{Config("speech", s16, 7999)}, "in [8000, 192000], got 7999"},
      {{Config("speech", s16, -1)}, "got -1"},
      {{Config("speech", s16, 1 << 30)}, "got 1073741824"}};
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
