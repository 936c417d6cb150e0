#include "model/torchfile/zip_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/torchfile/torch_bytes.h"

namespace leapstream {
namespace {

using ::testing::HasSubstr;

TEST(ZipArchiveTest, ReadsAStoredEntry) {
  const std::string zip = OneEntryZip("any name/data.pkl", "hello");
  const auto archive = ZipArchive::Parse(zip, "f.pt");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(*archive->TorchFolder(), "any name");
  EXPECT_EQ(*archive->Read("any name/data.pkl"), "hello");
  EXPECT_TRUE(absl::IsNotFound(archive->Read("data.pkl").status()));
}

TEST(ZipArchiveTest, EveryCutIsAnError) {
  const std::string zip = OneEntryZip("a/data.pkl", "hello");
  for (size_t size = 0; size < zip.size(); ++size) {
    const std::string cut = zip.substr(0, size);
    EXPECT_TRUE(absl::IsInvalidArgument(ZipArchive::Parse(cut, "f.pt").status())) << size;
  }
}

TEST(ZipArchiveTest, RefusesCompressedDamagedAndMisplacedEntries) {
  const std::string zip = OneEntryZip("a/data.pkl", "hello");
  const size_t entry = DirectoryEntry(zip, "a/data.pkl");
  const auto read = [](const std::string& bytes) {
    const auto archive = ZipArchive::Parse(bytes, "f.pt");
    return archive.ok() ? archive->Read("a/data.pkl").status() : archive.status();
  };
  std::string bad = zip;
  PutNumber(8, 2, entry + 10, &bad);
  EXPECT_TRUE(absl::IsUnimplemented(read(bad)));
  bad = zip;
  bad[bad.find("hello")] = 'j';
  EXPECT_THAT(std::string(read(bad).message()), HasSubstr("CRC"));
  PutNumber(0, 4, entry + 16, &bad);  // PyTorch writes 0 if it is told to compute no CRC.
  EXPECT_TRUE(read(bad).ok()) << read(bad);
  bad = zip;
  PutNumber(0xfffffff0, 4, entry + 42, &bad);
  EXPECT_TRUE(absl::IsInvalidArgument(read(bad)));
  bad = zip;
  PutNumber(0x7fffffff, 4, entry + 20, &bad);
  PutNumber(0x7fffffff, 4, entry + 24, &bad);
  EXPECT_THAT(std::string(read(bad).message()), HasSubstr("cut short"));
}

TEST(ZipArchiveTest, ReadsZip64Sizes) {
  std::string zip = OneEntryZip("a/data.pkl", "hello");
  const size_t entry = DirectoryEntry(zip, "a/data.pkl");
  std::string extra(4 + 16, '\0');
  PutNumber(1, 2, 0, &extra);
  PutNumber(16, 2, 2, &extra);
  PutNumber(5, 8, 4, &extra);
  PutNumber(5, 8, 12, &extra);
  PutNumber(0xffffffff, 4, entry + 20, &zip);
  PutNumber(0xffffffff, 4, entry + 24, &zip);
  PutNumber(extra.size(), 2, entry + 30, &zip);
  const size_t end = zip.rfind("PK\5\6");
  // The classic end record has no values; the zip64 end record, found through its locator, has all.
  std::string end64("PK\6\6", 4), locator("PK\6\7", 4);
  end64.resize(56);
  locator.resize(20);
  PutNumber(1, 8, 32, &end64);
  PutNumber(46 + 10 + extra.size(), 8, 40, &end64);
  PutNumber(entry, 8, 48, &end64);
  PutNumber(end + extra.size(), 8, 8, &locator);
  std::string classic = zip.substr(end);
  PutNumber(0xffff, 2, 10, &classic);
  PutNumber(0xffffffff, 4, 12, &classic);
  PutNumber(0xffffffff, 4, 16, &classic);
  zip = zip.substr(0, end) + extra + end64 + locator + classic;
  const auto archive = ZipArchive::Parse(zip, "f.pt");
  ASSERT_TRUE(archive.ok()) << archive.status();
  EXPECT_EQ(*archive->Read("a/data.pkl"), "hello");
}

}  // namespace
}  // namespace leapstream
