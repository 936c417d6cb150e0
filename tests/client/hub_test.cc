// Fetching from a hub, and what may go wrong with it. Nobody but 127.0.0.1 is asked.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "client/hub/checksum.h"
#include "client/hub/hub.h"
#include "client/hub/snapshot.h"
#include "client/hub/url.h"
#include "tests/client/fake_hub.h"
#include "tests/end_to_end/processes.h"

namespace leapstream::client {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// --- URLs, proxies, names. ---

TEST(HubUrlTest, AreReadAndResolved) {
  const auto url = ParseUrl("https://user:pass@[::1]:8443/a/b?c=d#e");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_TRUE(url->tls);
  EXPECT_EQ(url->user, "user:pass");
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 8443);
  EXPECT_EQ(url->path, "/a/b?c=d");
  EXPECT_EQ(ParseUrl("http://h")->port, 80);
  EXPECT_EQ(ResolveUrl(*url, "/x")->Origin(), "https://[::1]:8443");
  EXPECT_EQ(ResolveUrl(*url, "//cdn/x")->Origin(), "https://cdn:443");
  for (const char* wrong : {"", "h", "ftp://h", "http://", "http://h:0", "http://h:99999",
                            "http://h:x", "http://a b", "http://[::1", "http://h/\r\nX: y"}) {
    EXPECT_FALSE(ParseUrl(wrong).ok()) << wrong;
  }
  EXPECT_EQ(EscapePath("a b/\xC3\xA4?#"), "a%20b/%C3%A4%3F%23");
}

TEST(HubUrlTest, ProxiesComeFromTheEnvironment) {
  const Url https = *ParseUrl("https://hub.example.org/");
  const Url http = *ParseUrl("http://hub.example.org:8080/");
  const auto proxy = [](const Url& url, std::map<std::string, std::string> environment) {
    const auto found = ProxyFor(url, environment);
    if (!found.ok()) return std::string(found.status().message());
    return found->has_value() ? (*found)->Origin() : std::string("none");
  };
  EXPECT_EQ(proxy(https, {}), "none");
  EXPECT_EQ(proxy(https, {{"HTTPS_PROXY", "http://p:3128"}}), "http://p:3128");
  EXPECT_EQ(proxy(https, {{"https_proxy", "p:3128"}}), "http://p:3128");
  EXPECT_EQ(proxy(https, {{"HTTP_PROXY", "http://p:3128"}}), "none");
  EXPECT_EQ(proxy(http, {{"HTTP_PROXY", "http://p:3128"}}), "http://p:3128");
  for (const char* exempt : {"*", "example.org", ".example.org", "*.example.org",
                             "a, hub.example.org", "HUB.example.org:443"}) {
    EXPECT_EQ(proxy(https, {{"HTTPS_PROXY", "http://p"}, {"NO_PROXY", exempt}}), "none") << exempt;
  }
  for (const char* other : {"ample.org", "hub.example.org:444", "", "org.example"}) {
    EXPECT_EQ(proxy(https, {{"HTTPS_PROXY", "http://p"}, {"NO_PROXY", other}}), "http://p:80")
        << other;
  }
  EXPECT_THAT(proxy(https, {{"HTTPS_PROXY", "socks5://p"}}), HasSubstr("HTTPS_PROXY must be"));
}

TEST(HubNameTest, RepositoriesAndRevisions) {
  EXPECT_EQ(ParseRepo("org/model@v1.0")->revision, "v1.0");
  EXPECT_EQ(ParseRepo("model")->revision, "main");
  for (const char* wrong : {"", "a/b/c", "../x", "a/..", "a/b@", "a/b@..", "a b", "/a",
                            "a/b@x/../y", "a/b?c", "a\nb"}) {
    EXPECT_FALSE(ParseRepo(wrong).ok()) << wrong;
  }
}

TEST(HubNameTest, OnlyFilesThatAnExportReadsAreFetched) {
  EXPECT_THAT(*FilesToExport({"config.json", "model.safetensors", "pytorch_model.bin",
                              "tf_model.h5", "vocab.json", "source.spm", "../evil", "/etc/passwd",
                              "onnx/x.onnx", ".gitattributes", "LICENSE.txt"}),
              UnorderedElementsAre("config.json", "model.safetensors", "vocab.json", "source.spm",
                                   "LICENSE.txt"));
  EXPECT_THAT(
      *FilesToExport({"config.json", "pytorch_model.bin.index.json",
                      "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin",
                      "training_args.bin"}),
      UnorderedElementsAre("config.json", "pytorch_model.bin.index.json",
                           "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"));
  EXPECT_THAT(*FilesToExport({"checkpoint_best.pt", "dict.en.txt", "spm.model", "notes.txt"}),
              UnorderedElementsAre("checkpoint_best.pt", "dict.en.txt", "spm.model"));
  EXPECT_THAT(std::string(FilesToExport({"config.json", "README.md"}).status().message()),
              HasSubstr("got 2 files without"));
}

TEST(HubChecksumTest, TagsOfLfsAndOfGit) {
  EXPECT_EQ(ChecksumOfTag("\"" + std::string(64, 'A') + "\"").kind, HubChecksum::Kind::kSha256);
  EXPECT_EQ(ChecksumOfTag("W/\"" + std::string(40, 'a') + "\"").kind, HubChecksum::Kind::kGitBlob);
  EXPECT_EQ(ChecksumOfTag("\"" + std::string(32, 'a') + "\"").kind, HubChecksum::Kind::kNone);
  EXPECT_EQ(ChecksumOfTag(std::string(64, 'x')).kind, HubChecksum::Kind::kNone);
}

// --- Fetching. ---

class HubTest : public testing::Test {
 protected:
  HubTest() {
    for (size_t i = 0; i < 200000; ++i)
      weights_.push_back(static_cast<char>(i * 2654435761u >> 24));
    files_ = {{"config.json", "{}"}, {"README.md", "# model"}, {"model.safetensors", weights_}};
  }
  void Start() {
    if (hub_ == nullptr) hub_ = std::make_unique<FakeHub>(files_);
    options_.endpoint = hub_->url();
    options_.wait = [this](absl::Duration time) { waits_.push_back(time); };
    request_.repo = "org/model";
    request_.cache = folder_ / "cache";
  }
  absl::StatusOr<Snapshot> Fetch() {
    auto hub = Hub::Create(options_);
    if (!hub.ok()) return hub.status();
    return FetchSnapshot(request_, &*hub);
  }
  std::string Weights() const {
    return folder_ / absl::StrCat("cache/org--model/snapshots/", kHubCommit, "/model.safetensors");
  }
  void ExpectFetched() {
    const auto snapshot = Fetch();
    ASSERT_TRUE(snapshot.ok()) << snapshot.status();
    EXPECT_EQ(snapshot->commit, kHubCommit);
    EXPECT_EQ(snapshot->license, "cc-by-4.0");
    EXPECT_EQ(ReadFile(snapshot->folder + "/model.safetensors"), weights_);
    EXPECT_EQ(ReadFile(snapshot->folder + "/config.json"), "{}");
    EXPECT_FALSE(fs::exists(Weights() + ".part"));
  }

  TestFolder folder_;
  std::string weights_;
  std::map<std::string, std::string> files_;
  std::unique_ptr<FakeHub> hub_;
  HubOptions options_;
  SnapshotRequest request_;
  std::vector<absl::Duration> waits_;
};

TEST_F(HubTest, WhatWasFetchedIsUsedAgainAlsoOffline) {
  Start();
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  EXPECT_EQ(hub_->CountSeen("/cdn/"), 1);
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  EXPECT_EQ(hub_->CountSeen("/cdn/"), 1) << "nothing is fetched twice";
  hub_->Stop();
  request_.offline = true;
  const auto offline = FetchSnapshot(request_, nullptr);
  ASSERT_TRUE(offline.ok()) << offline.status();
  EXPECT_EQ(offline->files.size(), 3u);
  request_.revision = kHubCommit;
  EXPECT_TRUE(FetchSnapshot(request_, nullptr).ok()) << "a commit stands for itself";
  request_.revision = "v2";
  EXPECT_THAT(std::string(FetchSnapshot(request_, nullptr).status().message()),
              HasSubstr("fetch it once without --offline"));
}

TEST_F(HubTest, ProgressCountsAllBytes) {
  Start();
  std::vector<SnapshotRequest::Progress> seen;
  request_.on_progress = [&](const SnapshotRequest::Progress& now) { seen.push_back(now); };
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().there, seen.back().total);
  EXPECT_EQ(seen.back().total, static_cast<int64_t>(weights_.size() + 2 + 7));
}

TEST_F(HubTest, ABrokenConnectionGoesOnWhereItBroke) {
  Start();
  hub_->cuts = 3;
  hub_->cut_after = 50000;
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  std::vector<std::string> ranges;
  for (const FakeHub::Seen& seen : hub_->seen()) {
    if (absl::StartsWith(seen.path, "/cdn/")) ranges.push_back(seen.range);
  }
  EXPECT_THAT(ranges, ElementsAre("", "bytes=50000-", "bytes=100000-", "bytes=150000-"));
}

TEST_F(HubTest, ALaterCallGoesOnToo) {
  Start();
  hub_->cuts = 1;
  hub_->cut_after = 70000;
  hub_->fails_at = "/cdn/";
  options_.tries = 2;
  options_.wait = [this](absl::Duration) { hub_->failures = {{503, ""}, {503, ""}, {503, ""}}; };
  const absl::Status broken = Fetch().status();
  EXPECT_TRUE(absl::IsUnavailable(broken)) << broken;
  EXPECT_EQ(ReadFile(Weights() + ".part"), weights_.substr(0, 70000));
  hub_->failures.clear();
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  const auto seen = hub_->seen();
  const auto last = std::find_if(seen.rbegin(), seen.rend(), [](const FakeHub::Seen& each) {
    return absl::StartsWith(each.path, "/cdn/");
  });
  ASSERT_NE(last, seen.rend());
  EXPECT_EQ(last->range, "bytes=70000-");
}

TEST_F(HubTest, AHubWithoutRangesBeginsAnew) {
  Start();
  hub_->cuts = 1;
  hub_->cut_after = 1000;
  hub_->ignores_range = true;
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
}

TEST_F(HubTest, AWrongChecksumIsRefusedAndLeavesNothing) {
  Start();
  hub_->sent["model.safetensors"] = weights_;
  hub_->sent["model.safetensors"][12345] ^= 1;
  const absl::Status status = Fetch().status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("wrong checksum"));
  EXPECT_FALSE(fs::exists(Weights()));
  EXPECT_FALSE(fs::exists(Weights() + ".part"));
  EXPECT_EQ(hub_->CountSeen("/cdn/"), 2);
}

TEST_F(HubTest, AFileOfGitItselfHasAChecksumToo) {
  Start();
  hub_->sent["config.json"] = "[]";
  EXPECT_TRUE(absl::IsDataLoss(Fetch().status()));
}

TEST_F(HubTest, FilesThatMovedHaveSizesAndChecksumsToo) {
  Start();
  hub_->moved = "/elsewhere";
  hub_->endless = true;
  ExpectFetched();
  fs::remove_all(folder_ / "cache");
  hub_->sent["config.json"] = "[]";
  EXPECT_EQ(Fetch().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(HubTest, ATrickleOfBytesIsGivenUp) {
  Start();
  hub_->cuts = 1000;
  hub_->cut_after = 1;
  EXPECT_EQ(Fetch().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(waits_.size(), 20u);
}

TEST_F(HubTest, AnOldPartOfAnotherFileIsThrownAway) {
  Start();
  fs::create_directories(fs::path(Weights()).parent_path());
  std::ofstream(Weights() + ".part") << std::string(weights_.size(), 'x');
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
}

TEST_F(HubTest, RefusalsSayWhatToDo) {
  Start();
  const auto refused = [&](int status) {
    hub_->fails_at = "/api/";
    hub_->failures = {{status, ""}};
    return Fetch().status();
  };
  EXPECT_TRUE(absl::IsUnauthenticated(refused(401)));
  EXPECT_THAT(std::string(refused(401).message()), HasSubstr("--token-file"));
  EXPECT_TRUE(absl::IsPermissionDenied(refused(403)));
  EXPECT_THAT(std::string(refused(403).message()), HasSubstr("accept the repository's terms"));
  EXPECT_TRUE(absl::IsNotFound(refused(404)));
  EXPECT_TRUE(waits_.empty()) << "what does not pass is not tried again";
  request_.revision = "v9";
  EXPECT_THAT(std::string(Fetch().status().message()), HasSubstr("org/model@v9"));
}

TEST_F(HubTest, ItWaitsAsLongAsTheHubAsksFor) {
  Start();
  hub_->fails_at = "/api/";
  hub_->failures = {{429, "7"}, {503, ""}};
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  EXPECT_THAT(waits_, ElementsAre(absl::Seconds(7), absl::Seconds(2)));
  hub_->failures.assign(10, {429, "100000"});
  request_.revision = kHubCommit;
  const absl::Status status = Fetch().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(waits_.back(), absl::Minutes(2)) << "but no longer than that";
}

TEST_F(HubTest, WithoutSpaceNothingIsFetched) {
  Start();
  hub_->sizes["model.safetensors"] = "1000000000000000000";
  const absl::Status status = Fetch().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(hub_->CountSeen("/cdn/"), 0);
}

TEST_F(HubTest, AFullDiskIsSaid) {
  Start();
  fs::create_directories(fs::path(Weights()).parent_path());
  fs::create_symlink("/dev/full", Weights() + ".part");
  const absl::Status status = Fetch().status();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--cache"));
}

TEST_F(HubTest, TheTokenGoesToTheHubAlone) {
  Start();
  FakeHub cdn(files_);
  hub_->cdn = cdn.url();
  options_.token = "hf_secret";
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  for (const FakeHub::Seen& seen : hub_->seen()) {
    EXPECT_EQ(seen.authorization, "Bearer hf_secret") << seen.path;
  }
  ASSERT_FALSE(cdn.seen().empty());
  for (const FakeHub::Seen& seen : cdn.seen()) EXPECT_EQ(seen.authorization, "") << seen.path;
  options_.endpoint = "http://hub.example.org";
  EXPECT_THAT(std::string(Fetch().status().message()), HasSubstr("over https only"));
}

TEST_F(HubTest, AProxyIsUsed) {
  Start();
  options_.endpoint = "http://hub.invalid";
  options_.environment["HTTP_PROXY"] = hub_->url();
  options_.tries = 1;
  hub_->cdn = "http://cdn.invalid";
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
}

TEST_F(HubTest, AnswersThatMakeNoSenseAreRefused) {
  Start();
  hub_->commit = "../../../etc";
  EXPECT_THAT(std::string(Fetch().status().message()), HasSubstr("a commit in \"sha\""));
  hub_->commit = kHubCommit;
  hub_->more_files = {"../../evil", "/etc/evil", "a/../b.spm", ".hidden"};
  hub_->redirects_for_ever = true;
  EXPECT_THAT(std::string(Fetch().status().message()), HasSubstr("redirects more than 5 times"));
  hub_->redirects_for_ever = false;
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
  EXPECT_EQ(hub_->CountSeen("evil"), 0);
}

TEST_F(HubTest, NobodyThere) {
  Start();
  hub_->Stop();
  options_.tries = 2;
  const absl::Status status = Fetch().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("--endpoint"));
  EXPECT_EQ(waits_.size(), 1u);
}

TEST_F(HubTest, TwoAtOnceAreRefused) {
  Start();
  fs::create_directories(folder_ / "cache/org--model");
  const int lock = open((folder_ / "cache/org--model/.lock").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  EXPECT_THAT(std::string(Fetch().status().message()), HasSubstr("another leapstream pull"));
  close(lock);
  ASSERT_NO_FATAL_FAILURE(ExpectFetched());
}

}  // namespace
}  // namespace leapstream::client
