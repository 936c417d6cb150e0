#ifndef LEAPSTREAM_TESTS_CLIENT_FAKE_HUB_H_
#define LEAPSTREAM_TESTS_CLIENT_FAKE_HUB_H_

#include <httplib.h>
#include <openssl/evp.h>

#include <algorithm>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/mutex.h"
#include "nlohmann/json.hpp"

namespace leapstream {

inline constexpr char kHubCommit[] = "0123456789abcdef0123456789abcdef01234567";

// A hub on 127.0.0.1 that speaks the URLs of huggingface.co, for one repository "org/model" with
// one commit. Files of more than 64 bytes lie in LFS: they are redirected to /cdn/, maybe of
// another hub. It breaks what a test asks it to break.
class FakeHub {
 public:
  explicit FakeHub(std::map<std::string, std::string> files) : files_(std::move(files)) {
    server_.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
      Answer(request, response);
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();  // stop() before that has no effect.
  }
  ~FakeHub() { Stop(); }
  void Stop() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  std::string url() const { return absl::StrCat("http://127.0.0.1:", port_); }
  int port() const { return port_; }

  // A request that it saw: the method, the path, and the values of Range and Authorization.
  struct Seen {
    std::string method, path, range, authorization;
  };
  std::vector<Seen> seen() {
    MutexLock lock(&mutex_);
    return seen_;
  }
  int CountSeen(const std::string& part) {
    const auto all = seen();
    return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const Seen& each) {
      return absl::StrContains(each.path, part);
    }));
  }

  static std::string Hex(const EVP_MD* kind, const std::string& bytes) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_Digest(bytes.data(), bytes.size(), digest, &size, kind, nullptr);
    return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
  }

  // Set before the first request:
  std::string license = "cc-by-4.0";
  std::string cdn;                           // The origin of /cdn/; empty: this one.
  std::string commit = kHubCommit;           // Told by the API.
  std::vector<std::string> more_files;       // Names that the API tells beside those there are.
  std::map<std::string, std::string> sent;   // Other bytes than those that the checksum is of.
  std::map<std::string, std::string> sizes;  // Other sizes than the right ones.
  bool redirects_for_ever = false;
  std::string moved;  // Files are redirected to this before their path,
  bool endless = false;  // with a body that does not end.
  // The next answers to requests whose path has the text: their status, and Retry-After.
  std::string fails_at;
  std::vector<std::pair<int, std::string>> failures;
  size_t cuts = 0;       // So many times the connection breaks
  size_t cut_after = 0;  // after so many bytes of a file in LFS.
  bool ignores_range = false;

 private:
  void Answer(const httplib::Request& request, httplib::Response& response) {
    std::string path = request.path;
    if (absl::StartsWith(path, "http://")) path = path.substr(path.find('/', 7));  // By a proxy.
    bool cut = false;
    {
      MutexLock lock(&mutex_);
      seen_.push_back({request.method, path, request.get_header_value("Range"),
                       request.get_header_value("Authorization")});
      if (!failures.empty() && absl::StrContains(path, fails_at)) {
        response.status = failures.front().first;
        if (!failures.front().second.empty()) {
          response.set_header("Retry-After", failures.front().second);
        }
        failures.erase(failures.begin());
        return;
      }
      cut = cuts > 0 && absl::StartsWith(path, "/cdn/") && request.method == "GET";
      if (cut) --cuts;
    }
    if (!moved.empty() && absl::StartsWith(path, moved)) {
      path = path.substr(moved.size());
    } else if (!moved.empty() && absl::StrContains(path, "/resolve/")) {
      response.set_redirect(moved + path, 307);
      if (endless && request.method == "GET") {
        response.set_chunked_content_provider("text/plain", [](size_t, httplib::DataSink& sink) {
          return sink.write("moved ", 6);
        });
      }
      return;
    }
    const std::string api = "/api/models/org/model/revision/";
    const std::string resolve = absl::StrCat("/org/model/resolve/", kHubCommit, "/");
    if (absl::StartsWith(path, api)) {
      const std::string revision = path.substr(api.size());
      if (revision != "main" && revision != kHubCommit) {
        response.status = 404;
        return;
      }
      nlohmann::json answer = {{"sha", commit}, {"cardData", {{"license", license}}}};
      for (const auto& [name, bytes] : files_) answer["siblings"].push_back({{"rfilename", name}});
      for (const auto& name : more_files) answer["siblings"].push_back({{"rfilename", name}});
      return response.set_content(answer.dump(2), "application/json");
    }
    if (absl::StartsWith(path, resolve)) {
      const std::string name = path.substr(resolve.size());
      const auto file = files_.find(name);
      if (file == files_.end()) {
        response.status = 404;
        return;
      }
      response.set_header("X-Repo-Commit", kHubCommit);
      const std::string& bytes = file->second;
      if (bytes.size() > 64) {
        response.set_header("X-Linked-Etag", "\"" + Hex(EVP_sha256(), bytes) + "\"");
        response.set_header("X-Linked-Size",
                            sizes.count(name) > 0 ? sizes[name] : absl::StrCat(bytes.size()));
        return response.set_redirect(cdn + "/cdn/" + name);
      }
      response.set_header(
          "ETag", "\"" +
                      Hex(EVP_sha1(),
                          absl::StrCat("blob ", bytes.size(), absl::string_view("\0", 1), bytes)) +
                      "\"");
      return response.set_content(sent.count(name) > 0 ? sent[name] : bytes, "text/plain");
    }
    if (absl::StartsWith(path, "/cdn/")) {
      if (redirects_for_ever) return response.set_redirect(path);
      const std::string name = path.substr(5);
      const std::string bytes = sent.count(name) > 0 ? sent[name] : files_[name];
      // httplib makes ranges of an answer unless it is sent in chunks.
      if (ignores_range && !cut) {
        return response.set_chunked_content_provider("application/octet-stream",
                                                     [bytes](size_t, httplib::DataSink& sink) {
                                                       sink.write(bytes.data(), bytes.size());
                                                       sink.done();
                                                       return true;
                                                     });
      }
      if (!cut) return response.set_content(bytes, "application/octet-stream");
      return response.set_content_provider(
          bytes.size(), "application/octet-stream",
          [this, bytes, given = size_t{0}](size_t offset, size_t length,
                                           httplib::DataSink& sink) mutable {
            const size_t count = std::min(length, cut_after - std::min(given, cut_after));
            if (count == 0) return false;
            sink.write(bytes.data() + offset, count);
            given += count;
            return true;
          });
    }
    response.status = 404;
  }

  std::map<std::string, std::string> files_;
  httplib::Server server_;
  int port_ = 0;
  std::thread thread_;
  Mutex mutex_;
  std::vector<Seen> seen_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_CLIENT_FAKE_HUB_H_
