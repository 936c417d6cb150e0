#include "client/hub/hub.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <httplib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/quoted.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace leapstream::client {
namespace {

using HubJson = nlohmann::json;

constexpr int kRedirects = 5;
constexpr size_t kAnswerBytes = 16 << 20;  // Of an answer that is no file.
constexpr absl::Duration kLongestWait = absl::Minutes(2);
constexpr int64_t kProgress = 1 << 20;  // The bytes after which a file has all its tries again.

// Whether another try of the same request may give another answer.
bool MayPass(int status) { return status == 429 || status == 408 || status >= 500; }

bool IsLoopbackHost(absl::string_view host) {
  in_addr address = {};
  const bool is_v4 = inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
  return host == "localhost" || host == "::1" || (is_v4 && ntohl(address.s_addr) >> 24 == 127);
}

}  // namespace

struct Hub::Answer {
  int status = 0;       // 0: the connection broke.
  std::string why;      // Then: the reason.
  int64_t length = -1;  // Content-Length.
  int64_t begins = 0;   // The first byte, of Content-Range.
  std::string etag, linked_etag, linked_size, commit, retry_after, location, error;
  bool complete = false;
};

absl::StatusOr<Hub> Hub::Create(HubOptions options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(Url endpoint, ParseUrl(options.endpoint));
  while (absl::EndsWith(endpoint.path, "/")) endpoint.path.pop_back();
  if (!options.token.empty() && !endpoint.tls && !IsLoopbackHost(endpoint.host)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a token may go over https only, got the endpoint ", options.endpoint,
                     "; use https, or leave the token away"));
  }
  return Hub(std::move(options), std::move(endpoint));
}

std::string Hub::FilePath(const std::string& repo, const std::string& commit,
                          const std::string& file) const {
  return absl::StrCat("/", EscapePath(repo), "/resolve/", EscapePath(commit), "/",
                      EscapePath(file));
}

absl::StatusOr<Hub::Answer> Hub::Ask(const std::string& path, bool head, int64_t begin,
                                     const std::function<bool(const Answer&)>& on_head,
                                     const Sink& sink) {
  Url url = endpoint_;
  url.path = endpoint_.path + path;
  Answer answer;
  for (int redirects = 0;; ++redirects) {
    httplib::Client client(url.Origin());
    client.set_url_encode(false);
    client.set_follow_location(false);
    client.set_connection_timeout(absl::ToChronoMilliseconds(options_.connect_timeout));
    client.set_read_timeout(absl::ToChronoMilliseconds(options_.read_timeout));
    if (!options_.ca_file.empty()) client.set_ca_cert_path(options_.ca_file.c_str());
    LEAPSTREAM_ASSIGN_OR_RETURN(const std::optional<Url> proxy,
                                ProxyFor(url, options_.environment));
    if (proxy.has_value()) {
      client.set_proxy(proxy->host, proxy->port);
      const size_t colon = proxy->user.find(':');
      if (!proxy->user.empty()) {
        client.set_proxy_basic_auth(
            proxy->user.substr(0, colon),
            colon == std::string::npos ? "" : proxy->user.substr(colon + 1));
      }
    }
    httplib::Headers headers = {{"User-Agent", "leapstream"}, {"Accept-Encoding", "identity"}};
    // Another host must not see the token.
    if (!options_.token.empty() && url.Origin() == endpoint_.Origin()) {
      headers.emplace("Authorization", "Bearer " + options_.token);
    }
    if (begin > 0) headers.emplace("Range", absl::StrCat("bytes=", begin, "-"));
    answer = Answer();
    bool refused = false;
    const auto take_head = [&](const httplib::Response& response) {
      answer.status = response.status;
      answer.etag = response.get_header_value("ETag");
      answer.linked_etag = response.get_header_value("X-Linked-Etag");
      answer.linked_size = response.get_header_value("X-Linked-Size");
      answer.commit = response.get_header_value("X-Repo-Commit");
      answer.retry_after = response.get_header_value("Retry-After");
      answer.location = response.get_header_value("Location");
      answer.error = response.get_header_value("X-Error-Message");
      if (!absl::SimpleAtoi(response.get_header_value("Content-Length"), &answer.length)) {
        answer.length = -1;
      }
      const std::string range = response.get_header_value("Content-Range");
      if (const size_t at = range.find(' '); at != std::string::npos) {
        const std::string from = range.substr(at + 1, range.find('-') - at - 1);
        if (!absl::SimpleAtoi(from, &answer.begins)) answer.begins = -1;
      }
      const bool redirects_on = answer.status >= 300 && answer.status < 400;
      refused = !redirects_on && !on_head(answer);
      return !refused && !redirects_on;  // Nobody wants a redirection's body.
    };
    const httplib::Result result =
        head ? client.Head(url.path, headers) : client.Get(url.path, headers, take_head, sink);
    if (head && result) take_head(*result);
    answer.complete = static_cast<bool>(result);
    if (!result && answer.status == 0) {
      answer.why = absl::StrCat(httplib::to_string(result.error()), " at ", url.Origin());
      return answer;
    }
    // The hub tells what a file is where it redirects to the bytes. Another host's tag is no
    // checksum.
    const bool is_known = head && !answer.linked_etag.empty();
    if (head && url.Origin() != endpoint_.Origin()) answer.etag.clear();
    if (refused || is_known || answer.status < 300 || answer.status >= 400 ||
        answer.location.empty()) {
      return answer;
    }
    if (redirects == kRedirects) {
      return absl::InvalidArgumentError(absl::StrCat("the hub redirects more than ", kRedirects,
                                                     " times, at last to ",
                                                     Quoted(answer.location)));
    }
    LEAPSTREAM_ASSIGN_OR_RETURN(Url next, ResolveUrl(url, answer.location));
    if (url.tls && !next.tls) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the hub redirects from https to ", Quoted(answer.location), ", which is not safe"));
    }
    url = std::move(next);
  }
}

absl::Status Hub::ErrorOf(const Answer& answer, const std::string& what) const {
  const std::string said =
      answer.error.empty() ? "" : absl::StrCat(" (", OneLine(answer.error), ")");
  const std::string at = absl::StrCat(what, " at ", endpoint_.Origin());
  if (answer.status == 0) {
    return absl::UnavailableError(absl::StrCat("cannot reach the hub for ", what, ": ", answer.why,
                                               "; check the network, HTTPS_PROXY and --endpoint"));
  }
  switch (answer.status) {
    case 401:
      return absl::UnauthenticatedError(absl::StrCat(
          "the hub wants a token for ", at, ", or has no such repository", said,
          options_.token.empty() ? "; give one with --token-file" : "; the token is not good"));
    case 403:
      return absl::PermissionDeniedError(
          absl::StrCat("the hub refuses ", at, said,
                       "; accept the repository's terms there, with the account of the token"));
    case 404:
      return absl::NotFoundError(
          absl::StrCat("the hub has no ", at, said, "; check the name and the revision"));
    case 429:
      return absl::ResourceExhaustedError(absl::StrCat("the hub wants fewer requests, for ", at,
                                                       said,
                                                       "; try again later, or with --token-file"));
    default:
      break;
  }
  const std::string message =
      absl::StrCat("the hub answers ", answer.status, " for ", at, said, "; try again later");
  return answer.status >= 500 ? absl::UnavailableError(message)
                              : absl::InvalidArgumentError(message);
}

void Hub::Wait(int tried, const Answer* answer) const {
  absl::Duration wait = absl::Seconds(1 << std::min(tried, 5));
  int64_t asked = 0;
  if (answer != nullptr && absl::SimpleAtoi(answer->retry_after, &asked) && asked >= 0) {
    wait = absl::Seconds(asked);
  }
  wait = std::min(wait, kLongestWait);
  if (options_.wait != nullptr) return options_.wait(wait);
  absl::SleepFor(wait);
}

absl::StatusOr<Hub::Answer> Hub::AskAgain(const std::string& path, bool head, std::string* body) {
  for (int tried = 0;; ++tried) {
    body->clear();
    bool too_large = false;
    LEAPSTREAM_ASSIGN_OR_RETURN(Answer answer,
                                Ask(
                                    path, head, 0, [](const Answer&) { return true; },
                                    [&](const char* bytes, size_t count) {
                                      too_large = body->size() + count > kAnswerBytes;
                                      if (!too_large) body->append(bytes, count);
                                      return !too_large;
                                    }));
    if (too_large) {
      return absl::InvalidArgumentError(absl::StrCat("the hub's answer has more than ",
                                                     kAnswerBytes, " bytes; is ", options_.endpoint,
                                                     " a hub?"));
    }
    if (answer.complete && !MayPass(answer.status)) return answer;
    if (!answer.complete && answer.status != 0) {
      answer.status = 0;
      answer.why = "the connection broke";
    }
    if (tried + 1 >= options_.tries) return answer;
    Wait(tried, &answer);
  }
}

absl::StatusOr<HubRevision> Hub::Look(const std::string& repo, const std::string& revision) {
  std::string body;
  LEAPSTREAM_ASSIGN_OR_RETURN(
      const Answer answer,
      AskAgain(absl::StrCat("/api/models/", EscapePath(repo), "/revision/", EscapePath(revision)),
               /*head=*/false, &body));
  const std::string what = absl::StrCat(repo, "@", revision);
  if (answer.status != 200) return ErrorOf(answer, what);
  const HubJson json = HubJson::parse(body, /*cb=*/nullptr, /*allow_exceptions=*/false);
  const auto no_sense = [&](absl::string_view wanted) {
    return absl::InvalidArgumentError(absl::StrCat("the hub's answer for ", what, " must have ",
                                                   wanted, "; is ", options_.endpoint, " a hub?"));
  };
  if (!json.is_object() || !json.contains("sha") || !json["sha"].is_string()) {
    return no_sense("a commit in \"sha\"");
  }
  HubRevision result;
  result.commit = json["sha"].get<std::string>();
  const bool is_hex = std::all_of(result.commit.begin(), result.commit.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (!is_hex || result.commit.size() < 7 || result.commit.size() > 64) {
    return no_sense("a commit in \"sha\"");
  }
  if (!json.contains("siblings") || !json["siblings"].is_array()) {
    return no_sense("its files in \"siblings\"");
  }
  for (const HubJson& file : json["siblings"]) {
    if (!file.is_object() || !file.contains("rfilename") || !file["rfilename"].is_string()) {
      return no_sense("a name in each of \"siblings\"");
    }
    result.files.push_back(file["rfilename"].get<std::string>());
  }
  const auto card = json.find("cardData");
  if (card != json.end() && card->is_object()) {
    const auto license = card->find("license");
    if (license != card->end() && license->is_string()) {
      result.license = license->get<std::string>();
    }
  }
  const auto tags = json.find("tags");
  if (result.license.empty() && tags != json.end() && tags->is_array()) {
    for (const HubJson& tag : *tags) {
      constexpr absl::string_view kLicense = "license:";
      if (!tag.is_string()) continue;
      const std::string text = tag.get<std::string>();
      if (absl::StartsWith(text, kLicense)) result.license = text.substr(kLicense.size());
    }
  }
  return result;
}

absl::StatusOr<HubFile> Hub::LookAt(const std::string& repo, const std::string& commit,
                                    const std::string& file) {
  std::string body;
  LEAPSTREAM_ASSIGN_OR_RETURN(const Answer answer,
                              AskAgain(FilePath(repo, commit, file), /*head=*/true, &body));
  if (answer.status < 200 || answer.status >= 400) {
    return ErrorOf(answer, absl::StrCat(file, " of ", repo));
  }
  if (!answer.commit.empty() && answer.commit != commit) {
    return absl::InvalidArgumentError(absl::StrCat("the hub gives ", file, " of commit ",
                                                   Quoted(answer.commit), ", not of ", commit));
  }
  HubFile known;
  if (!absl::SimpleAtoi(answer.linked_size, &known.size) || known.size < 0) {
    known.size = answer.status < 300 ? answer.length : -1;
  }
  known.checksum = ChecksumOfTag(answer.linked_etag.empty() ? answer.etag : answer.linked_etag);
  return known;
}

absl::Status Hub::Fetch(const std::string& repo, const std::string& commit, const std::string& file,
                        const HubFile& known, const std::string& path,
                        const std::function<void(int64_t)>& on_bytes) {
  const std::string part = path + ".part";
  const std::string what = absl::StrCat(file, " of ", repo);
  const int descriptor = open(part.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot write ", part, ": ", std::strerror(errno)));
  }
  struct Closer {
    int descriptor;
    ~Closer() { close(descriptor); }
  } closer{descriptor};
  struct stat status = {};
  int64_t there = fstat(descriptor, &status) == 0 ? status.st_size : 0;
  if (known.size >= 0 && there > known.size) there = 0;
  int wrong = 0;
  // The part that an earlier call left may be complete, or of another file.
  bool complete = there > 0 && there == known.size && CheckFile(part, known.checksum).ok();
  if (!complete && there == known.size) there = 0;
  int error = 0;
  const auto write_error = [&] {
    const std::string why = absl::StrCat("cannot write ", part, ": ", std::strerror(error));
    if (error != ENOSPC && error != EDQUOT) return absl::FailedPreconditionError(why);
    return absl::ResourceExhaustedError(
        absl::StrCat(why,
                     "; make room and try again, it goes on where it ended; or name another place "
                     "with --cache"));
  };
  for (int tried = 0; !complete;) {
    const int64_t before = there;
    error = 0;
    const auto place = [&](int64_t begin) {
      const bool cuts = fstat(descriptor, &status) == 0 && status.st_size > begin;
      there = begin;
      if ((cuts && ftruncate(descriptor, begin) != 0) || lseek(descriptor, begin, SEEK_SET) < 0) {
        error = errno;
      }
      return error == 0;
    };
    LEAPSTREAM_ASSIGN_OR_RETURN(
        Answer answer, Ask(
                           FilePath(repo, commit, file), /*head=*/false, there,
                           [&](const Answer& head) {
                             if (head.status == 200) return place(0);  // It begins anew.
                             return head.status == 206 && head.begins == before && place(before);
                           },
                           [&](const char* bytes, size_t count) {
                             while (count > 0 && error == 0) {
                               const ssize_t written = write(descriptor, bytes, count);
                               if (written < 0 && errno == EINTR) continue;
                               if (written < 0) error = errno;
                               if (written < 0) break;
                               bytes += written;
                               count -= static_cast<size_t>(written);
                               there += written;
                             }
                             if (on_bytes != nullptr) on_bytes(there);
                             return error == 0 && (known.size < 0 || there <= known.size);
                           }));
    if (error != 0) return write_error();
    const bool good = answer.status == 200 || answer.status == 206;
    if (good && answer.complete && (known.size < 0 || there == known.size)) {
      const absl::Status checked = CheckFile(part, known.checksum);
      complete = checked.ok();
      if (complete) break;
      if (!place(0)) return write_error();
      if (++wrong == 2) {
        unlink(part.c_str());
        return absl::DataLossError(
            absl::StrCat(what, " was fetched twice with a wrong checksum: ", checked.message()));
      }
      continue;
    }
    if (known.size >= 0 && there > known.size) {
      unlink(part.c_str());
      return absl::DataLossError(
          absl::StrCat(what, " must have ", known.size, " bytes, and the hub sends more"));
    }
    if (answer.status == 416 || (answer.status == 206 && answer.begins != before)) {
      if (!place(0)) return write_error();
    } else if (answer.status != 0 && !good && !MayPass(answer.status)) {
      return ErrorOf(answer, what);
    }
    if (there >= before + kProgress) tried = 0;
    if (++tried >= options_.tries) {
      if (good) answer.status = 0;
      if (answer.why.empty()) answer.why = "the connection broke again and again";
      return ErrorOf(answer, what);
    }
    Wait(tried - 1, &answer);
  }
  // A file that has its name is whole, after a crash, too.
  if (fsync(descriptor) != 0 || rename(part.c_str(), path.c_str()) != 0) {
    error = errno;
    return write_error();
  }
  return absl::OkStatus();
}

}  // namespace leapstream::client
