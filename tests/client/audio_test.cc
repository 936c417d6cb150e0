// Recordings whose headers are unfinished, and input through a pipe, compared with libsndfile.
#include <fcntl.h>
#include <sndfile.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/evaluation/audio_container.h"
#include "client/evaluation/audio_file.h"
#include "client/evaluation/piped_audio.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace leapstream::client {
namespace {

using testing::HasSubstr;

constexpr int kRate = 22050;
constexpr int kFrames = 3002;  // An even number: a byte of padding would count as a sample.

std::string Path(const std::string& name) {
  return absl::StrCat(testing::TempDir(), "leapstream_audio_test.", getpid(), ".", name);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// A file of `frames` as libsndfile writes it.
std::string Recording(int format, int channels, int frames = kFrames, int rate = kRate) {
  const std::string path = Path("made");
  SF_INFO info = {};
  info.format = format;
  info.channels = channels;
  info.samplerate = rate;
  SNDFILE* const file = sf_open(path.c_str(), SFM_WRITE, &info);
  EXPECT_NE(file, nullptr) << sf_strerror(nullptr);
  if (file == nullptr) return "";
  std::vector<float> samples;
  for (int i = 0; i < frames * channels; ++i) {
    samples.push_back(static_cast<float>(0.7 * std::sin(0.01 * i * (1 + i % channels))));
  }
  sf_writef_float(file, samples.data(), frames);
  sf_close(file);
  return ReadFile(path);
}

// The samples that our reader finds in these bytes, or an error's message.
std::string Samples(const std::string& bytes, int64_t* count = nullptr,
                    int channel = kAllChannels) {
  const std::string path = Path("read");
  std::ofstream(path, std::ios::binary) << bytes;
  auto file = AudioFile::Open(path, channel);
  if (!file.ok()) return std::string(file.status().message());
  if (count != nullptr) *count = (*file)->samples();
  std::string samples;
  for (std::string more; !(more = (*file)->Read(1000)).empty();) samples += more;
  return samples;
}

struct Header {
  const char* name;
  int format;
  std::vector<std::pair<size_t, size_t>> sizes;  // Place and length in bytes of each size.
};

std::vector<Header> Headers() {
  return {
      {"WAV", SF_FORMAT_WAV | SF_FORMAT_PCM_16, {{4, 4}, {40, 4}}},
      {"WAV float", SF_FORMAT_WAV | SF_FORMAT_FLOAT, {}},
      {"WAV mu-law", SF_FORMAT_WAV | SF_FORMAT_ULAW, {}},
      {"RIFX", SF_FORMAT_WAV | SF_FORMAT_PCM_16 | SF_ENDIAN_BIG, {{4, 4}, {40, 4}}},
      {"WAV extensible", SF_FORMAT_WAVEX | SF_FORMAT_PCM_24, {}},
      {"RF64", SF_FORMAT_RF64 | SF_FORMAT_PCM_16, {}},
      {"AU", SF_FORMAT_AU | SF_FORMAT_PCM_16, {{8, 4}}},
      {"AIFF", SF_FORMAT_AIFF | SF_FORMAT_PCM_16, {}},
      {"W64", SF_FORMAT_W64 | SF_FORMAT_PCM_16, {}},
      {"CAF", SF_FORMAT_CAF | SF_FORMAT_PCM_16, {}},
  };
}

// The places of the sizes of a file, found by their values: the size of the samples, and that of
// the whole.
std::vector<std::pair<size_t, size_t>> Sizes(const std::string& bytes, const Header& header) {
  if (!header.sizes.empty()) return header.sizes;
  const std::string kind = header.name;
  const auto after = [&](const std::string& id, size_t from) {
    const size_t at = bytes.find(id, from);
    EXPECT_NE(at, std::string::npos) << kind << " " << id;
    return at + id.size();
  };
  if (kind == "RF64") return {{after("ds64", 12) + 4, 8}, {after("ds64", 12) + 12, 8}};
  if (kind == "AIFF") return {{4, 4}, {after("SSND", 12), 4}, {after("COMM", 12) + 6, 4}};
  if (kind == "W64") return {{16, 8}, {after("data", 40) + 12, 8}};
  if (kind == "CAF") return {{after("data", 8), 8}};
  return {{4, 4}, {after("data", 12), 4}};
}

TEST(AudioFileTest, WhatWasNeverFilledInIsReadToItsEnd) {
  for (const Header& header : Headers()) {
    for (const int channels : {1, 2}) {
      const std::string whole = Recording(header.format, channels);
      int64_t count = 0;
      const std::string samples = Samples(whole, &count);
      ASSERT_EQ(samples.size(), kFrames * sizeof(float)) << header.name << ": " << samples;
      EXPECT_EQ(count, kFrames);
      for (const char fill : {'\0', '\xFF'}) {
        std::string broken = whole;
        for (const auto& [at, size] : Sizes(whole, header)) broken.replace(at, size, size, fill);
        count = 0;
        EXPECT_TRUE(Samples(broken, &count) == samples)
            << header.name << " of " << channels << " with " << static_cast<int>(fill) << ": "
            << Samples(broken).substr(0, 100);
        EXPECT_EQ(count, kFrames) << header.name << static_cast<int>(fill);
      }
      // The file is cut in the middle, as on a full disk.
      const std::string cut = Samples(whole.substr(0, whole.size() / 2), &count);
      EXPECT_GT(cut.size(), 1000u) << header.name << ": " << cut;
      EXPECT_TRUE(absl::StartsWith(samples, cut)) << header.name;
      EXPECT_EQ(count * sizeof(float), cut.size()) << header.name;
    }
  }
}

TEST(AudioFileTest, AFlacFileThatWasStreamedHasItsSamples) {
  std::string flac = Recording(SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 1);
  const std::string samples = Samples(flac);
  ASSERT_EQ(samples.size(), kFrames * sizeof(float));
  flac[21] = static_cast<char>(flac[21] & 0xF0);
  flac.replace(22, 4, 4, '\0');
  int64_t count = 0;
  EXPECT_TRUE(Samples(flac, &count) == samples);
  EXPECT_EQ(count, kFrames);
}

TEST(AudioFileTest, ARecordingWithoutASampleIsNamed) {
  for (const Header& header : Headers()) {
    EXPECT_THAT(Samples(Recording(header.format, 1, 0)), HasSubstr("holds no sample"))
        << header.name;
  }
  // There is no sample even if another chunk follows.
  const std::string empty = Recording(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1, 0).substr(0, 44);
  EXPECT_THAT(Samples(empty + std::string("LIST\4\0\0\0INFO", 12)), HasSubstr("holds no sample"));
  EXPECT_THAT(Samples(""), HasSubstr("cannot read the recording"));
}

std::vector<float> Floats(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// Lossy formats give nearly the samples that went in: the correlation is high where the delay of
// the decoder has been taken out.
TEST(AudioFileTest, CompressedRecordingsAreRead) {
  constexpr int kLong = 48000;
  for (const auto& [name, format] : {std::pair("FLAC", SF_FORMAT_FLAC | SF_FORMAT_PCM_16),
                                     {"Ogg Vorbis", SF_FORMAT_OGG | SF_FORMAT_VORBIS},
                                     {"Ogg Opus", SF_FORMAT_OGG | SF_FORMAT_OPUS},
                                     {"MP3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III}}) {
    const std::vector<float> expected =
        Floats(Samples(Recording(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 1, kLong, 48000)));
    ASSERT_EQ(expected.size(), kLong);
    const std::vector<float> got = Floats(Samples(Recording(format, 1, kLong, 48000)));
    EXPECT_NEAR(static_cast<double>(got.size()), kLong, 3000) << name;
    double best = 0;
    for (size_t delay = 0; delay < 3000 && delay < got.size(); ++delay) {
      double product = 0, one = 1e-9, other = 1e-9;
      for (size_t i = 5000; i < 15000 && i + delay < got.size(); ++i) {
        product += expected[i] * got[i + delay];
        one += expected[i] * expected[i];
        other += got[i + delay] * got[i + delay];
      }
      best = std::max(best, product / std::sqrt(one * other));
    }
    EXPECT_GT(best, 0.99) << name;
  }
}

// The samples of these bytes when they come in pieces of `step`.
std::string Piped(const std::string& bytes, size_t step, int* rate = nullptr,
                  int channel = kAllChannels) {
  PipedAudio audio(16000, channel);
  std::string samples;
  absl::Status status;
  for (size_t at = 0; at < bytes.size() && status.ok(); at += step) {
    status = audio.Append(absl::string_view(bytes).substr(at, step));
    samples += audio.Take();
  }
  if (status.ok()) status = audio.Finish();
  if (!status.ok()) return std::string(status.message());
  if (rate != nullptr) *rate = audio.sample_rate();
  return samples + audio.Take();
}

TEST(PipedAudioTest, WavAndAuAreReadByTheirHeaders) {
  std::vector<int> formats;
  for (const int coding : {SF_FORMAT_PCM_U8, SF_FORMAT_PCM_16, SF_FORMAT_PCM_24, SF_FORMAT_PCM_32,
                           SF_FORMAT_FLOAT, SF_FORMAT_DOUBLE, SF_FORMAT_ALAW, SF_FORMAT_ULAW}) {
    formats.push_back(SF_FORMAT_WAV | coding);
    formats.push_back(SF_FORMAT_WAVEX | coding);
    if (coding == SF_FORMAT_PCM_U8) {
      formats.push_back(SF_FORMAT_AU | SF_FORMAT_PCM_S8);
      continue;
    }
    formats.push_back(SF_FORMAT_AU | coding);
    formats.push_back(SF_FORMAT_AU | coding | SF_ENDIAN_LITTLE);
  }
  formats.push_back(SF_FORMAT_WAV | SF_FORMAT_PCM_16 | SF_ENDIAN_BIG);
  for (const int format : formats) {
    for (const int channels : {1, 2, 3}) {
      const std::string bytes = Recording(format, channels);
      const std::string samples = Samples(bytes);
      for (const size_t step : {size_t{1}, size_t{7}, size_t{1000}, bytes.size()}) {
        int rate = 0;
        EXPECT_TRUE(Piped(bytes, step, &rate) == samples)
            << std::hex << format << " of " << channels << " by " << step << ": "
            << Piped(bytes, step).substr(0, 100);
        EXPECT_EQ(rate, kRate);
      }
    }
  }
}

TEST(PipedAudioTest, OneChannelCanBeChosen) {
  const std::string bytes = Recording(SF_FORMAT_WAV | SF_FORMAT_FLOAT, 2);
  const std::vector<float> mean = Floats(Samples(bytes));
  const std::vector<float> first = Floats(Samples(bytes, nullptr, 1));
  const std::vector<float> second = Floats(Samples(bytes, nullptr, 2));
  ASSERT_EQ(mean.size(), first.size());
  ASSERT_EQ(mean.size(), second.size());
  EXPECT_NE(first, second);
  for (size_t i = 0; i < mean.size(); ++i) EXPECT_EQ((first[i] + second[i]) / 2, mean[i]);
  for (const int channel : {1, 2}) {
    EXPECT_TRUE(Piped(bytes, 100, nullptr, channel) == Samples(bytes, nullptr, channel));
  }
  EXPECT_THAT(Samples(bytes, nullptr, 3), HasSubstr("has no channel 3, but 2"));
  EXPECT_THAT(Piped(bytes, 100, nullptr, 3), HasSubstr("has no channel 3, but 2"));
  EXPECT_THAT(Piped("raw samples", 100, nullptr, 2), HasSubstr("has no channel 2, but 1"));
}

TEST(PipedAudioTest, WhoWritesIntoAPipeKnowsNoSize) {
  const std::string whole = Recording(SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1);
  const std::string samples = Samples(whole);
  for (const char* size : {"\0\0\0\0", "\xFF\xFF\xFF\xFF", "\0\0\0\x80", "\x24\xFF\xFF\x7F"}) {
    std::string piped = whole;
    piped.replace(40, 4, std::string(size, 4));
    EXPECT_TRUE(Piped(piped, 100) == samples);
  }
  // The chunk after the samples has no samples.
  EXPECT_TRUE(Piped(whole + "LIST....", 100) == samples);
  const std::string empty = whole.substr(0, 40) + std::string(4, '\0');
  EXPECT_EQ(Piped(empty, 10), "the input holds no sample");
  EXPECT_EQ(Piped(empty + "LISTabcdefgh", 10), "the input holds no sample");
  EXPECT_THAT(Piped(whole.substr(0, 30), 10), HasSubstr("ends within its header"));
}

TEST(PipedAudioTest, OtherFilesAreRefusedWithAdvice) {
  const std::string rest(5000, 'x');
  std::string mp3;
  while (mp3.size() < 5000) mp3 += "\xFF\xFB\x90\x64" + std::string(413, 'x');
  const std::pair<std::string, const char*> kFiles[] = {
      {"fLaC" + rest, "FLAC"},
      {"OggS" + rest, "Ogg"},
      {"ID3" + rest, "MP3"},
      {mp3, "MP3"},
      {"FORM....AIFF" + rest, "AIFF"},
      {std::string("\0\0\0\x20", 4) + "ftypisom" + rest, "MP4"},
      {"\x1A\x45\xDF\xA3" + rest, "WebM"},
      {"caff" + rest, "CAF"},
      {Recording(SF_FORMAT_W64 | SF_FORMAT_PCM_16, 1), "W64"},
      {Recording(SF_FORMAT_WAV | SF_FORMAT_IMA_ADPCM, 1), "WAV of the coding 0x0011"},
  };
  for (const auto& [bytes, name] : kFiles) {
    for (const size_t step : {size_t{100}, size_t{9000}}) {
      const std::string message = Piped(bytes, step);
      EXPECT_THAT(message, HasSubstr(name));
      EXPECT_THAT(message, HasSubstr("name the file (--audio FILE), or decode it before"));
    }
  }
}

TEST(PipedAudioTest, RawSamplesAreWhatTheyAre) {
  // The samples are silence, noise, and values that look like one header of MPEG.
  std::string noise;
  uint32_t state = 1;
  for (int i = 0; i < 20000; ++i) {
    state = state * 1664525 + 1013904223;
    noise += static_cast<char>(state >> 24);
  }
  for (const std::string& bytes :
       {std::string(10000, '\0'), std::string(10000, '\xFF'), noise, "\xFF\xFB\x90\x64" + noise,
        std::string("ab"), std::string("abcdefghijkl")}) {
    for (const size_t step : {size_t{1}, size_t{777}, bytes.size()}) {
      EXPECT_TRUE(Piped(bytes, step) == bytes);
    }
  }
  EXPECT_EQ(Piped("", 1), "the input holds no sample");
  EXPECT_THAT(Piped("abc", 1), HasSubstr("within a 16-bit sample"));
}

}  // namespace
}  // namespace leapstream::client
