#include "model/torchfile/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/model/torchfile/torch_bytes.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

std::string Text(absl::string_view text) {
  return absl::StrCat(absl::string_view("X", 1), std::string(1, char(text.size())),
                      std::string(3, '\0'), text);
}

// The pickle of {"t": a 2 x 2 tensor of a storage with key "7"}. `view` is the opcode of the sixth
// member of its persistent id.
std::string TensorPickle(const std::string& view, const std::string& type = "FloatStorage",
                         int elements = 5) {
  return absl::StrCat(absl::string_view("\x80\x02}", 3), Text("t"),
                      "ctorch._utils\n_rebuild_tensor_v2\n((", Text("storage"), "ctorch\n", type,
                      "\n", Text("7"), Text("cpu"), "K", std::string(1, char(elements)), view,
                      "tQK\1K\2K\2\x86K\1K\2\x86\x89)tRs.");
}

std::string Floats(std::vector<float> values) {
  return std::string(reinterpret_cast<const char*>(values.data()), 4 * values.size());
}

const OldStorage kStorage = {"7", 5, Floats({9, 1, 2, 3, 4})};
const char kTrue[] = "\x88";

absl::Status Error(const std::string& bytes) { return TorchFile::Parse(bytes, "f.pt").status(); }

std::vector<float> Values(const TorchFile& file, const std::string& name) {
  const PickledTensor tensor = file.Tensors(file.pickle().root(), "file")->at(name);
  std::vector<float> values(ElementsOf(tensor));
  const absl::Status status = file.Read(tensor, name, 0, absl::MakeSpan(values));
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

TEST(TorchFileTest, ReadsTheFormatFromBefore16) {
  const std::string bytes = OldFile(TensorPickle("N"), {kStorage}, kTrue);
  const auto file = TorchFile::Parse(bytes, "f.pt");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Values(*file, "t"), (std::vector<float>{1, 3, 2, 4}));  // Strides 1 and 2.
}

TEST(TorchFileTest, ReadsStoragesOfAGpuAndTensorsOfPyTorch03) {
  std::string pickle = TensorPickle("N", "FloatStorage");
  pickle.replace(pickle.find("ctorch\nFloat"), 7, "ctorch.cuda\n");
  pickle.replace(pickle.find("_rebuild_tensor_v2"), 18, "_rebuild_tensor");
  pickle.erase(pickle.find("\x89)"), 2);  // It has no requires_grad and no hooks.
  const std::string bytes = OldFile(pickle, {kStorage}, kTrue);
  const auto file = TorchFile::Parse(bytes, "f.pt");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Values(*file, "t"), (std::vector<float>{1, 3, 2, 4}));
}

TEST(TorchFileTest, ReadsPartsOfATensorAsTheWhole) {
  for (const char* name : {"legacy_views", "bpe_offline"}) {
    const std::string bytes = ReadAll(absl::StrCat(
        LEAPSTREAM_SOURCE_DIR "/tests/golden/families/checkpoints/", name, ".pt"));
    const auto file = TorchFile::Parse(bytes, name);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto tensors =
        file->Tensors(file->pickle().Find(file->pickle().root(), "model"), "`model`");
    ASSERT_TRUE(tensors.ok()) << tensors.status();
    for (const char* each : {"encoder.embed_tokens.weight", "encoder.layers.0.fc1.weight",
                             "decoder.layers.1.self_attn.q_proj.weight"}) {
      const PickledTensor& tensor = tensors->at(each);
      std::vector<float> whole(ElementsOf(tensor));
      ASSERT_TRUE(file->Read(tensor, each, 0, absl::MakeSpan(whole)).ok());
      for (const int64_t block : {1, 63, 257}) {
        for (int64_t first = 0; first < ElementsOf(tensor); first += block) {
          std::vector<float> part(std::min(block, ElementsOf(tensor) - first));
          ASSERT_TRUE(file->Read(tensor, each, first, absl::MakeSpan(part)).ok());
          ASSERT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + first)) << each;
        }
      }
    }
  }
}

TEST(TorchFileTest, WhatFollowsTheLastStorageIsNotRead) {
  EXPECT_TRUE(Error(OldFile(TensorPickle("N"), {kStorage}, kTrue) + "more").ok());
}

TEST(TorchFileTest, RefusesByName) {
  const std::string good = TensorPickle("N");
  EXPECT_THAT(Error(OldFile(good, {kStorage}, "\x89")).message(), HasSubstr("big-endian"));
  EXPECT_TRUE(absl::IsUnimplemented(Error(OldFile(good, {kStorage}, "\x89"))));
  EXPECT_THAT(Error(OldFile(TensorPickle(Text("8") + "K\1K\5\x87"), {kStorage}, kTrue)).message(),
              HasSubstr("a view of another"));
  const std::string module =
      absl::StrCat(absl::string_view("\x80\x02(", 3), Text("module"), "cnet\nNet\n", Text("net.py"),
                   Text("class Net"), "tQ.");
  EXPECT_THAT(Error(OldFile(module, {}, kTrue)).message(), HasSubstr("a pickled module"));
  EXPECT_THAT(Error(OldFile(TensorPickle("N", "StrangeStorage"), {kStorage}, kTrue)).message(),
              HasSubstr("StrangeStorage"));
  EXPECT_THAT(Error("version https://git-lfs.github.com/spec/v1\n").message(),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(Error("<!DOCTYPE html>").message(), HasSubstr("not a PyTorch checkpoint"));
}

TEST(TorchFileTest, EveryCutOfAnOldFileIsAnError) {
  const std::string whole = OldFile(TensorPickle("N"), {kStorage}, kTrue);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Error(whole.substr(0, size)).ok()) << size;
  }
}

TEST(TorchFileTest, DamagedStoragesOfAnOldFileAreErrors) {
  const std::string pickle = TensorPickle("N");
  EXPECT_THAT(Error(OldFile(pickle, {{"8", 5, kStorage.bytes}}, kTrue)).message(),
              HasSubstr("belongs to no tensor"));
  EXPECT_THAT(Error(OldFile(pickle, {kStorage, kStorage}, kTrue)).message(), HasSubstr("twice"));
  EXPECT_THAT(Error(OldFile(pickle, {{"7", 6, kStorage.bytes}}, kTrue)).message(),
              HasSubstr("6 elements"));
  EXPECT_THAT(Error(OldFile(pickle, {{"7", -1, kStorage.bytes}}, kTrue)).message(),
              HasSubstr("elements"));
  // A storage that is missing is an error when it is read.
  const std::string bytes = OldFile(pickle, {}, kTrue);
  const auto file = TorchFile::Parse(bytes, "f.pt");
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<float> values(4);
  EXPECT_THAT(file->Read(file->Tensors(file->pickle().root(), "file")->at("t"), "t", 0,
                         absl::MakeSpan(values))
                  .message(),
              HasSubstr("storage 7 is missing"));
}

TEST(TorchFileTest, ASecondTypeOfAStorageIsAnError) {
  std::string pickle = TensorPickle("N");
  const std::string second = TensorPickle("N", "HalfStorage");
  pickle.pop_back();
  pickle += second.substr(3);  // One more entry of the same dict.
  EXPECT_THAT(Error(OldFile(pickle, {kStorage}, kTrue)).message(),
              HasSubstr("two types or lengths"));
}

TEST(TorchFileTest, ElementsOutsideATensorAreErrors) {
  const std::string bytes = OldFile(TensorPickle("N"), {kStorage}, kTrue);
  const auto file = TorchFile::Parse(bytes, "f.pt");
  const PickledTensor tensor = file->Tensors(file->pickle().root(), "file")->at("t");
  std::vector<double> values(3);
  EXPECT_TRUE(file->Read(tensor, "t", 1, absl::MakeSpan(values)).ok());
  for (const int64_t first : {-1, 2, 5}) {
    EXPECT_TRUE(absl::IsInvalidArgument(file->Read(tensor, "t", first, absl::MakeSpan(values))));
  }
}

}  // namespace
}  // namespace leapstream
