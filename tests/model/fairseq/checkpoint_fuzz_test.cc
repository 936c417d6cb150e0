#include <gtest/gtest.h>

#include <random>
#include <string>

#include "model/fairseq/checkpoint.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

// Each mutation must end in a value or a Status; a crash or a sanitizer's report is the failure.
constexpr int kMutations = 10'000;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}
  size_t Below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }

  // Overwrites a few bytes in [begin, end).
  void Overwrite(size_t begin, size_t end, std::string* bytes) {
    constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, '(', 'R', 'u', 't', 'h', 'Q'};
    for (size_t count = 1 + Below(4); count-- > 0;) {
      const size_t at = begin + Below(end - begin);
      switch (Below(3)) {
        case 0:
          (*bytes)[at] ^= char(1 << Below(8));
          break;
        case 1:
          (*bytes)[at] = char(kEdges[Below(std::size(kEdges))]);
          break;
        case 2: {
          const size_t from = begin + Below(end - begin);
          const size_t size = std::min(end - std::max(at, from), 1 + Below(32));
          bytes->replace(at, size, bytes->substr(from, size));
          break;
        }
      }
    }
  }
  // Changes some bytes or the length.
  void Mutate(std::string* bytes) {
    Overwrite(0, bytes->size(), bytes);
    if (Below(3) == 0) bytes->erase(Below(bytes->size()), 1 + Below(64));
    if (Below(3) == 0) bytes->insert(Below(bytes->size()), bytes->substr(Below(bytes->size()), 16));
    if (Below(8) == 0) bytes->resize(Below(bytes->size()));
  }

 private:
  std::mt19937 random_;
};

bool Survives(const std::string& bytes) {
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  if (!checkpoint.ok()) return false;
  const ConfigReading reading = ReadConfig(*checkpoint);
  if (!reading.status.ok()) return false;
  const auto map = MapParameters(*checkpoint, reading.config);
  if (!map.ok()) return false;
  for (const auto& [name, source] : map->sources) {
    if (!checkpoint->ReadRows(source).ok()) return false;
  }
  return true;
}

class CheckpointFuzzTest : public testing::Test {
 protected:
  void SetUp() override { Use(ReadAll(GoldenPath("checkpoints/base.pt"))); }
  void Use(const std::string& bytes) {
    bytes_ = bytes;
    const auto archive = ZipArchive::Parse(bytes_, "f.pt");
    ASSERT_TRUE(archive.ok()) << archive.status();
    pickle_ = std::string(*archive->Read("archive/data.pkl"));
    pickle_at_ = archive->Read("archive/data.pkl")->data() - bytes_.data();
    ASSERT_TRUE(Survives(bytes_));
  }
  void MutatePickle() {
    int survived = 0;
    std::string bytes = bytes_;
    for (int seed = 0; seed < kMutations; ++seed) {
      bytes.replace(pickle_at_, pickle_.size(), pickle_);
      Mutator(seed).Overwrite(pickle_at_, pickle_at_ + pickle_.size(), &bytes);
      FixCrc("archive/data.pkl", pickle_at_, pickle_.size(), &bytes);
      survived += Survives(bytes);
    }
    EXPECT_GT(survived, 0);  // Otherwise the mutations would test only the parser.
    EXPECT_LT(survived, kMutations);
  }

  std::string bytes_, pickle_;
  size_t pickle_at_ = 0;
};

TEST_F(CheckpointFuzzTest, Pickle) {
  for (int seed = 0; seed < kMutations; ++seed) {
    std::string bytes = pickle_;
    Mutator(seed).Mutate(&bytes);
    (void)Pickle::Parse(bytes, "data.pkl");
  }
}

TEST_F(CheckpointFuzzTest, PickleInACheckpoint) { MutatePickle(); }

TEST_F(CheckpointFuzzTest, PickleOfOmegaConf) {
  CheckpointContents contents = ReadContents(GoldenPath("checkpoints/mma_il.pt"));
  contents.options["share_decoder_ffn_attn_layer"] = "[2]";
  CheckpointForm form;
  form.options = OptionsForm::kDictConfig;
  form.protocol = 4;
  form.padded = form.transposed = true;
  Use(WriteCheckpoint(contents, form));
  MutatePickle();
}

TEST_F(CheckpointFuzzTest, ZipStructures) {
  const size_t directory = bytes_.find("PK\1\2", bytes_.find("archive/version"));
  const std::string tail = bytes_.substr(directory);
  std::string bytes = bytes_;
  for (int seed = 0; seed < kMutations; ++seed) {
    bytes.replace(directory, std::string::npos, tail);
    Mutator mutator(seed);
    // Half of the mutations are in the last records, which have the places of all others.
    mutator.Overwrite(seed % 2 == 0 ? directory : bytes.size() - 98, bytes.size(), &bytes);
    if (mutator.Below(10) == 0) bytes.resize(bytes.size() - mutator.Below(tail.size()));
    if (const auto archive = ZipArchive::Parse(bytes, "f.pt"); archive.ok()) {
      (void)archive->TorchFolder();
      for (int i = 0; i < 200; ++i) (void)archive->Read("archive/data/" + std::to_string(i));
    }
    if (seed % 20 == 0) (void)Survives(bytes);  // This takes far longer, so it is done less often.
  }
}

}  // namespace
}  // namespace leapstream
