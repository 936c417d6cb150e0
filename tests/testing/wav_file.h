#ifndef LEAPSTREAM_TESTS_TESTING_WAV_FILE_H_
#define LEAPSTREAM_TESTS_TESTING_WAV_FILE_H_

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace leapstream {

// The bytes of the samples of a golden recording: 16-bit little-endian, one channel.
inline std::string ReadPcm16(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t data = bytes.find("data");
  EXPECT_NE(data, std::string::npos) << path;
  return data == std::string::npos ? "" : bytes.substr(data + 8);
}

// The samples as numbers, as models of speech take them.
inline std::vector<float> ReadSamples(const std::string& path) {
  const std::string pcm = ReadPcm16(path);
  std::vector<float> samples(pcm.size() / 2);
  for (size_t i = 0; i < samples.size(); ++i) {
    int16_t sample;
    std::memcpy(&sample, pcm.data() + 2 * i, sizeof(sample));
    samples[i] = sample;
  }
  return samples;
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_WAV_FILE_H_
