#include "model/api/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "absl/strings/str_cat.h"

namespace leapstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string File(absl::string_view header, size_t data_bytes) {
  std::string result(8, '\0');
  for (int i = 0; i < 4; ++i) result[i] = static_cast<char>(header.size() >> (8 * i));
  return absl::StrCat(result, header, std::string(data_bytes, 'x'));
}

TEST(SafetensorsTest, RoundTrip) {
  const std::string floats(24, 'f'), halves(6, 'h'), integers(8, 'i');
  const std::string path = testing::TempDir() + "/round_trip.safetensors";
  const std::map<std::string, TensorView> written = {
      {"a", {TensorType::kFloat16, {3}, halves}},
      {"b", {TensorType::kFloat32, {2, 3}, floats}},
      {"empty", {TensorType::kFloat32, {0, 5}, ""}},
      {"scalar", {TensorType::kInt64, {}, integers}}};
  ASSERT_TRUE(WriteSafetensors(path, written).ok());
  const auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  const auto read = ParseSafetensors((*file)->bytes(), path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), written.size());
  for (const auto& [name, tensor] : written) {
    const TensorView& found = read->at(name);
    EXPECT_EQ(found.type, tensor.type);
    EXPECT_EQ(found.shape, tensor.shape);
    EXPECT_EQ(found.bytes, tensor.bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found.bytes.data()) % ElementBytes(found.type), 0u);
  }
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read->at("scalar").bytes.data()) % 64, 0u);
  std::remove(path.c_str());
}

TEST(SafetensorsTest, ReadsMetadataAndPadding) {
  const auto read =
      ParseSafetensors(File(R"({"__metadata__":{"format":"pt"},)"
                            R"("t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  )",
                            8),
                       "f");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->at("t").shape, ElementsAre(2));
  EXPECT_THAT(*ParseSafetensors(File("{}", 0), "f"), IsEmpty());
}

TEST(SafetensorsTest, NamesTheBadTensor) {
  const auto entry = [](absl::string_view fields) { return absl::StrCat("{\"t\":", fields, "}"); };
  for (const std::string& header :
       {entry("[]"), entry("{}"), entry(R"({"dtype":"F64","shape":[1],"data_offsets":[0,8]})"),
        entry(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8,9]})"),
        entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"),
        entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,16]})"),
        entry(R"({"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]})"),
        entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]})"),
        entry(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})")}) {
    const auto read = ParseSafetensors(File(header, 8), "f");
    EXPECT_TRUE(absl::IsInvalidArgument(read.status())) << header;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("f: tensor t")) << header;
  }
}

TEST(SafetensorsTest, RefusesOverlapsAndHoles) {
  const auto two = [](int begin, int end) {
    return absl::StrCat(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)",
                        R"("b":{"dtype":"F32","shape":[1],"data_offsets":[)", begin, ",", end,
                        "]}}");
  };
  EXPECT_TRUE(ParseSafetensors(File(two(4, 8), 8), "f").ok());
  EXPECT_FALSE(ParseSafetensors(File(two(0, 4), 4), "f").ok());
  EXPECT_FALSE(ParseSafetensors(File(two(3, 7), 7), "f").ok());
  EXPECT_FALSE(ParseSafetensors(File(two(8, 12), 12), "f").ok());
  EXPECT_FALSE(ParseSafetensors(File(two(4, 8), 9), "f").ok());
}

TEST(SafetensorsTest, RefusesWhatIsNoSafetensors) {
  for (const std::string& bad :
       {std::string(), std::string(7, '\0'), std::string(8, '\xff'), std::string(8, '\0'),
        File("[]", 0), File("{", 0), File("{} {}", 0), File("{\"\xff\":1}", 0),
        File(std::string(1'000'000, '['), 0), File("{}", 0).substr(0, 9)}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseSafetensors(bad, "f").status()));
  }
}

TEST(MappedFileTest, Errors) {
  EXPECT_TRUE(absl::IsNotFound(MappedFile::Open("/nonexistent/file").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MappedFile::Open("/").status()));
  const std::string path = testing::TempDir() + "/empty";
  std::ofstream{path};
  EXPECT_EQ((*MappedFile::Open(path))->bytes(), "");
  std::remove(path.c_str());
}

// The test fails by a crash or a sanitizer's report.
TEST(SafetensorsFuzzTest, EveryMutationIsAStatus) {
  const std::string good =
      File(R"({"__metadata__":{"a":"b"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
           R"("c":{"dtype":"F16","shape":[],"data_offsets":[24,26]},)"
           R"("d":{"dtype":"I64","shape":[0],"data_offsets":[26,26]}})",
           26);
  ASSERT_TRUE(ParseSafetensors(good, "f").ok());
  for (int seed = 0; seed < 10'000; ++seed) {
    std::mt19937 random(seed);
    std::string bytes = good;
    for (int i = random() % 4; i >= 0; --i) {
      const size_t at = random() % bytes.size();
      switch (random() % 4) {
        case 0:
          bytes[at] ^= char(1 << random() % 8);
          break;
        case 1:
          bytes[at] = "0123456789-{}[]\",:.eE\xff"[random() % 22];
          break;
        case 2:
          bytes.erase(at, 1 + random() % 8);
          break;
        case 3:
          bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 16));
          break;
      }
      if (bytes.empty()) break;
    }
    (void)ParseSafetensors(bytes, "f");
  }
}

}  // namespace
}  // namespace leapstream
