// Each row of the table of errors in docs/protocol.md is provoked once on real servers: its code,
// reason and details are those of the table, and the server serves on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "server/token_file.h"
#include "tests/end_to_end/edited_model.h"
#include "tests/end_to_end/exported_model.h"
#include "tests/end_to_end/processes.h"
#include "tests/end_to_end/speaker.h"
#include "tests/server/raw_stream.h"
#include "tests/testing/metrics_page.h"

namespace leapstream {
namespace {

using Row = std::pair<std::string, std::string>;  // Code and reason; no reason: no details.

// The rows of the table, one per reason.
std::set<Row> DocumentedRows() {
  std::set<Row> rows;
  std::string text = ReadFile(LEAPSTREAM_SOURCE_DIR "/docs/protocol.md");
  text = text.substr(text.find("\n## Errors\n"));
  std::vector<std::string> codes;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 6 || absl::StrContains(line, "---") ||
        absl::StrContains(line, "| reason |")) {
      continue;
    }
    for (std::string& cell : cells) absl::StripAsciiWhitespace(&cell);
    if (!cells[1].empty()) codes = absl::StrSplit(cells[1], ", ");
    const std::vector<std::string> reasons = absl::StrSplit(cells[2], ", ");
    for (const std::string& reason : reasons) {
      const bool named = absl::StartsWith(reason, "`");
      for (const std::string& code : codes) {
        rows.insert({code, named ? reason.substr(1, reason.size() - 2) : ""});
      }
    }
  }
  return rows;
}

// The name in the table: CANCELLED, not 1.
std::string CodeName(grpc::StatusCode code) {
  return absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
}

class Peer {
 public:
  explicit Peer(int port)
      : channel(ConnectWithSmallWindow(port)),
        stub(v1::SimultaneousTranslationService::NewStub(channel)) {}
  // The status that ends a stream of these messages.
  grpc::Status Ending(const std::vector<Request>& requests, const std::string& token = "") const {
    grpc::ClientContext context;
    SetDeadline(&context);
    if (!token.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token));
    const auto stream = stub->StreamTranslate(&context);
    for (const Request& request : requests) stream->Write(request);
    stream->WritesDone();
    for (Response response; stream->Read(&response);) {
    }
    return stream->Finish();
  }

  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SimultaneousTranslationService::Stub> stub;
};

class ErrorTableTest : public testing::Test {
 protected:
  static constexpr int kSlots = 4;

  void SetUp() override {
    WriteEditedModel(folder_ / "edited");
    ExportSpeechModel();
    ExportSoftmaxModel(folder_);
    std::ofstream(folder_ / "config.yaml") << "models:\n  - {path: " << kEmbeddedModel
                                           << ", name: en-de}\n  - {path: " << folder_ / "edited"
                                           << ", name: edited}\n  - {path: " << folder_ / "speech"
                                           << ", name: speech}\n  - {path: " << folder_ / "softmax"
                                           << ", name: softmax}\n";
    for (const char* name : {"alice", "carol"}) {
      tokens_[name] = TokenFile::NewToken();
      std::ofstream(folder_ / "tokens", std::ios::app)
          << *TokenFile::Entry(name, tokens_[name])
          << (std::string(name) == "carol" ? " 2001-01-01T00:00:00Z\n" : "\n");
    }
    Start("main", {"--config", folder_ / "config.yaml", "--max-sessions", absl::StrCat(kSlots),
                   "--stuck-reader-timeout", "2s", "--config-timeout", "1s", "--metrics-listen",
                   "127.0.0.1:0", "--max-state-bytes", "6500000"});
    Start("brief", {"--max-session-duration", "1s", "--resume-lifetime", "1s"});
    Start("locked", {"--auth-tokens-file", folder_ / "tokens", "--auth-without-tls", "true",
                     "--max-sessions-per-principal", "1"});
    Start("doomed", {});
  }

  void Start(const std::string& name, const std::vector<std::string>& flags) {
    servers_[name] = std::make_unique<ServerProcess>(folder_, name, flags);
    StartAgain(name);
  }
  void StartAgain(const std::string& name) {
    ASSERT_NO_FATAL_FAILURE(servers_[name]->StartAndWait());
    peers_.insert_or_assign(name, Peer(servers_[name]->port()));
  }
  const Peer& peer(const std::string& name) const { return peers_.at(name); }

  void ExportSpeechModel() {
    const std::string golden = LEAPSTREAM_SOURCE_DIR "/tests/golden/speech/";
    Process exporter;
    exporter.Start(
        {LEAPSTREAM_BINARY_DIR "/bin/leapstream-export", "--checkpoint",
         golden + "checkpoints/speech_leap.pt", "--config-yaml", golden + "data/config_st.yaml",
         "--target-dict", golden + "data/spm_unigram400_st.txt", "--target-spm",
         golden + "data/spm_unigram400_st.model", "--source-lang", "en", "--target-lang", "fr",
         "--output", folder_ / "speech"},
        folder_ / "export.log");
    ASSERT_EQ(exporter.Wait(), 0) << ReadFile(folder_ / "export.log");
  }

  // A normal session, as it has always been.
  void ExpectServes(const std::string& server) {
    std::pair<grpc::Status, std::string> served = Serve(server);
    // On "brief" a session may be over before a busy machine has translated the sentence.
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (Reason(served.first) == "MAX_DURATION" && absl::Now() < deadline) served = Serve(server);
    EXPECT_TRUE(served.first.ok()) << server << ": " << served.first.error_message();
    EXPECT_EQ(served.second, sentence_.translation) << server;
  }
  // The status of a normal session, and its translation.
  std::pair<grpc::Status, std::string> Serve(const std::string& server) {
    Request config = Named(server == "main" ? "en-de" : "");
    config.mutable_config()->mutable_policy()->mutable_wait_k()->set_k(3);
    config.mutable_config()->mutable_policy()->set_early_end(v1::EARLY_END_STOP);
    grpc::ClientContext context;
    SetDeadline(&context);
    if (server == "locked") context.AddMetadata("authorization", "Bearer " + tokens_["alice"]);
    const auto stream = peer(server).stub->StreamTranslate(&context);
    stream->Write(config);
    stream->Write(Text(sentence_.source));
    stream->WritesDone();
    std::string text;
    for (Response response; stream->Read(&response);) text += response.target().text();
    return {stream->Finish(), text};
  }

  static Request Named(const std::string& model) {
    Request config = Config();
    config.mutable_config()->set_model(model);
    return config;
  }
  // A request to a model of text, changed by `edit`.
  static Request Edited(const std::function<void(v1::SessionConfig*)>& edit) {
    Request config = Named("en-de");
    edit(config.mutable_config());
    return config;
  }
  static Request Audio(const std::string& bytes) {
    Request request;
    request.mutable_source()->set_audio(bytes);
    return request;
  }
  static Request Ids(const std::vector<int>& ids) {
    Request request;
    for (const int id : ids) request.mutable_source()->mutable_token_ids()->add_ids(id);
    return request;
  }

  // A session of `server` that has one complete segment; `resume` continues it.
  struct Resumable {
    std::unique_ptr<OpenStream> stream;
    Request resume;
  };
  Resumable Begin(const std::string& server = "main") {
    Resumable begun;
    const Request config = Named(server == "main" ? "en-de" : "");
    begun.stream = std::make_unique<OpenStream>(
        *peer(server).stub, std::vector<Request>{config, Text("a word", 1), EndSegment()});
    EXPECT_TRUE(begun.stream->ReadUntil(
        [](const Response& response) { return response.has_segment_completed(); }));
    begun.resume = config;
    v1::ResumeRequest& resume = *begun.resume.mutable_config()->mutable_resume();
    resume.set_session_id(begun.stream->started.session_id());
    resume.set_resume_token(begun.stream->point.resume_token());
    resume.set_next_source_sequence(2);
    return begun;
  }
  // The status of a resume that `edit` has changed.
  grpc::Status Resume(const std::function<void(v1::SessionConfig*)>& edit,
                      const std::vector<Request>& then = {}) {
    Resumable begun = Begin();
    edit(begun.resume.mutable_config());
    std::vector<Request> requests = {begun.resume};
    requests.insert(requests.end(), then.begin(), then.end());
    const grpc::Status status = peer("main").Ending(requests);
    begun.stream->context.TryCancel();
    begun.stream->Finish();
    return status;
  }

  // The gauge of main's used slots.
  double SlotsUsed() {
    httplib::Client http("127.0.0.1", servers_["main"]->port_of("metrics"));
    const auto page = http.Get("/metrics");
    return page ? MetricIn(page->body, "leapstream_slots_used") : -1;
  }
  // Waits until no session of main is left from the case before.
  void WaitUntilIdle() {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (SlotsUsed() != 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(SlotsUsed(), 0);
  }

  // Reads nothing until the server has given up the stream; then reads its status.
  grpc::Status StuckReader() {
    Request config = Edited([](v1::SessionConfig* c) {
      c->mutable_policy()->mutable_wait_k()->set_k(1);
      c->mutable_output()->set_token_details(true);
      c->mutable_output()->set_log_probs(true);
    });
    OpenStream stuck(*peer("main").stub, {config});
    EXPECT_TRUE(stuck.ReadUntil(IsStarted));
    std::thread writer([&] {
      while (stuck.stream->Write(Text("so many words and more words ")) &&
             stuck.stream->Write(EndSegment())) {
      }
    });
    WaitUntilIdle();  // The slot is free; up to twice the timeout the client may still hear why.
    const grpc::Status status = stuck.Finish();
    writer.join();
    return status;
  }
  grpc::Status Full() {
    std::vector<std::unique_ptr<OpenStream>> open;
    for (int i = 0; i < kSlots; ++i) {
      open.push_back(
          std::make_unique<OpenStream>(*peer("main").stub, std::vector<Request>{Named("en-de")}));
      EXPECT_TRUE(open.back()->ReadUntil(IsStarted));
    }
    const grpc::Status status = peer("main").Ending({Named("en-de")});
    EXPECT_GT(RetryDelay(status), absl::ZeroDuration());
    for (const auto& stream : open) stream->stream->WritesDone();
    for (const auto& stream : open) EXPECT_TRUE(stream->Finish().ok());
    return status;
  }
  grpc::Status OverQuota() {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.AddMetadata("authorization", "Bearer " + tokens_["alice"]);
    const auto first = peer("locked").stub->StreamTranslate(&context);
    first->Write(Config());
    Response response;
    EXPECT_TRUE(first->Read(&response));
    const grpc::Status status = peer("locked").Ending({Config()}, tokens_["alice"]);
    google::rpc::QuotaFailure failure;
    EXPECT_TRUE(SecondDetail(status, &failure)) << status.error_message();
    if (failure.violations_size() > 0) {
      EXPECT_EQ(failure.violations(0).subject(), "alice");
    }
    first->WritesDone();
    while (first->Read(&response)) {
    }
    EXPECT_TRUE(first->Finish().ok());
    return status;
  }
  // Sends SIGTERM to `doomed`, and starts it again.
  grpc::Status Drained() {
    ServerProcess& server = *servers_["doomed"];
    OpenStream open(*peer("doomed").stub, {Config(), Text("an open segment ")});
    EXPECT_TRUE(open.ReadUntil(IsTarget));
    server.Signal(SIGTERM);
    EXPECT_TRUE(open.ReadUntil([](const Response& response) { return response.has_going_away(); }));
    const grpc::Status late = peer("doomed").Ending({Config()});
    EXPECT_EQ(Reason(late), "DRAINING");
    EXPECT_GT(RetryDelay(late), absl::ZeroDuration());
    open.stream->Write(EndSegment());
    const grpc::Status status = open.Finish();
    EXPECT_EQ(open.completed.size(), 1u);
    EXPECT_EQ(server.Wait(), 0);
    StartAgain("doomed");
    return status;
  }
  grpc::Status Killed() {
    OpenStream open(*peer("doomed").stub, {Config()});
    EXPECT_TRUE(open.ReadUntil(IsStarted));
    servers_["doomed"]->Kill();
    const grpc::Status status = open.Finish();
    StartAgain("doomed");
    return status;
  }
  grpc::Status Superseded() {
    Resumable begun = Begin();
    EXPECT_TRUE(peer("main").Ending({begun.resume, Text("on it goes", 2)}).ok());
    return begun.stream->Finish();
  }
  grpc::Status Expired() {
    Resumable begun = Begin("brief");
    grpc::Status status = begun.stream->Finish();  // The session has lasted long enough.
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    while (Reason(status) != "RESUME_TOKEN_EXPIRED" && absl::Now() < deadline) {
      status = peer("brief").Ending({begun.resume});
    }
    return status;
  }
  grpc::Status Silent(const std::vector<Request>& requests) {
    OpenStream stream(*peer("main").stub, requests);
    return stream.Finish();
  }
  grpc::Status CancelledByClient() {
    OpenStream stream(*peer("main").stub, {Named("en-de")});
    EXPECT_TRUE(stream.ReadUntil(IsStarted));
    stream.context.TryCancel();
    return stream.Finish();
  }
  grpc::Status Translate(const std::string& server, const std::string& line, int lines,
                         grpc_compression_algorithm compression = GRPC_COMPRESS_NONE) {
    grpc::ClientContext context;
    SetDeadline(&context);
    context.set_compression_algorithm(compression);
    v1::TranslateRequest request;
    request.set_model(server == "main" ? "en-de" : "");
    for (int i = 0; i < lines; ++i) request.mutable_text()->append(line + "\n");
    v1::TranslateResponse response;
    return peer(server).stub->Translate(&context, request, &response);
  }
  grpc::Status TooLate() {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Milliseconds(100)));
    const auto stream = peer("main").stub->StreamTranslate(&context);
    stream->Write(Named("en-de"));
    for (Response response; stream->Read(&response);) {
    }
    return stream->Finish();
  }
  grpc::Status Malformed() {
    grpc::ClientContext context;
    SetDeadline(&context);
    const auto stream = OpenRaw(peer("main").channel.get(), &context, kStreamMethod);
    stream->Write(Bytes(Named("en-de").SerializeAsString()));
    stream->Write(Bytes("\x12\x03\x12\x01\xff"));  // A chunk of text that is not UTF-8.
    for (grpc::ByteBuffer response; stream->Read(&response);) {
    }
    return stream->Finish();
  }
  grpc::Status WrongPage() {
    grpc::ClientContext context;
    SetDeadline(&context);
    v1::ListModelsRequest request;
    request.set_page_size(-1);
    v1::ListModelsResponse response;
    return peer("main").stub->ListModels(&context, request, &response);
  }

  const Sentence sentence_ = ReadSentences().front();
  TestFolder folder_;
  std::map<std::string, std::string> tokens_;
  std::map<std::string, std::unique_ptr<ServerProcess>> servers_;
  std::map<std::string, Peer> peers_;
};

struct Case {
  const char* code;
  const char* reason;
  const char* server;
  std::function<grpc::Status()> provoke;
};

TEST_F(ErrorTableTest, EachRowIsAsDocumentedAndTheServerServesOn) {
  const auto main = [this](std::vector<Request> requests) {
    return [this, requests = std::move(requests)] { return peer("main").Ending(requests); };
  };
  const auto edited = [&](const std::function<void(v1::SessionConfig*)>& edit,
                          const std::vector<Request>& then = {}) {
    std::vector<Request> requests = {Edited(edit)};
    requests.insert(requests.end(), then.begin(), then.end());
    return main(std::move(requests));
  };
  const auto resume = [this](const std::function<void(v1::SessionConfig*)>& edit,
                             const std::vector<Request>& then = {}) {
    return [=] { return Resume(edit, then); };
  };
  const auto locked = [this](const std::string& token) {
    return [=] { return peer("locked").Ending({Config()}, token); };
  };
  const auto speech = [](v1::InputFormat format) {
    Request config = Named("speech");
    config.mutable_config()->set_input_format(format);
    return config;
  };
  const Request start = Named("en-de");
  Request no_content, nothing;
  no_content.mutable_source();
  const float nan = std::nanf("");
  const std::string not_finite(reinterpret_cast<const char*>(&nan), sizeof(nan));
  const char* const invalid = "INVALID_ARGUMENT";
  const char* const failed = "FAILED_PRECONDITION";
  const std::vector<Case> cases = {
      {invalid, "CONFIG_MISSING", "main", main({Text("a")})},
      {invalid, "CONFIG_REPEATED", "main", main({start, start})},
      {invalid, "EVENT_MISSING", "main", main({start, nothing})},
      {invalid, "CONTENT_MISSING", "main", main({start, no_content})},
      {invalid, "MALFORMED_MESSAGE", "main", [this] { return Malformed(); }},
      {invalid, "INVALID_POLICY", "main",
       edited([](auto* c) { c->mutable_policy()->mutable_wait_k()->set_k(1 << 30); })},
      {invalid, "UNKNOWN_ENUM_VALUE", "main",
       edited([](auto* c) { c->set_input_format(static_cast<v1::InputFormat>(77)); })},
      {invalid, "LANGUAGE_MISMATCH", "main",
       edited([](auto* c) { c->set_target_language_code("fr"); })},
      {invalid, "MODEL_AMBIGUOUS", "main", main({Config()})},
      {invalid, "SEQUENCE_MISMATCH", "main", main({start, Text("a", 2)})},
      {invalid, "CHUNK_TOO_LARGE", "main", main({start, Text(std::string((64 << 10) + 1, 'a'))})},
      {invalid, "INPUT_FORMAT_MISMATCH", "main", main({start, Ids({5})})},
      {invalid, "SOURCE_KIND_MISMATCH", "main", main({speech(v1::INPUT_FORMAT_TEXT)})},
      {invalid, "SAMPLE_RATE_INVALID", "main",
       edited([](auto* c) { c->set_sample_rate_hertz(16000); })},
      {invalid, "PAUSE_INVALID", "main", edited([](auto* c) {
         c->mutable_pause_detection()->mutable_min_duration()->set_seconds(1);
       })},
      {invalid, "SEGMENTATION_INVALID", "main", edited([](auto* c) {
         c->set_input_format(v1::INPUT_FORMAT_PIECES);
         c->set_text_segmentation(v1::TEXT_SEGMENTATION_SENTENCES);
       })},
      {invalid, "GLOSSARY_INVALID", "main",
       edited([](auto* c) { c->mutable_glossary()->add_terms()->set_target("without a source"); })},
      {invalid, "AUDIO_NOT_WHOLE_SAMPLES", "main",
       main({speech(v1::INPUT_FORMAT_PCM_S16LE), Audio("abc")})},
      {invalid, "AUDIO_NOT_FINITE", "main",
       main({speech(v1::INPUT_FORMAT_PCM_F32LE), Audio(not_finite)})},
      {invalid, "INVALID_SOURCE", "main",
       edited([](auto* c) { c->set_input_format(v1::INPUT_FORMAT_TOKEN_IDS); }, {Ids({1 << 30})})},
      {invalid, "INVALID_PAGE_SIZE", "main", [this] { return WrongPage(); }},
      {invalid, "RESUME_TOKEN_INVALID", "main",
       resume([](auto* c) { c->mutable_resume()->set_session_id("another"); })},
      {invalid, "RESUME_TARGET_INVALID", "main",
       resume([](auto* c) { c->mutable_resume()->mutable_committed_target()->add_ids(5); },
              {Text(" ", 2)})},
      {"NOT_FOUND", "MODEL_NOT_FOUND", "main", main({Named("nowhere")})},
      {failed, "RESUME_TOKEN_EXPIRED", "brief", [this] { return Expired(); }},
      {failed, "RESUME_MODEL_MISMATCH", "main", resume([](auto* c) { c->set_model("edited"); })},
      {failed, "RESUME_CONFIG_MISMATCH", "main",
       resume([](auto* c) { c->mutable_policy()->mutable_wait_k()->set_k(5); })},
      {"UNAUTHENTICATED", "TOKEN_MISSING", "locked", locked("")},
      {"UNAUTHENTICATED", "TOKEN_INVALID", "locked", locked(std::string(64, 'a'))},
      {"UNAUTHENTICATED", "TOKEN_EXPIRED", "locked", locked(tokens_["carol"])},
      {"RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "locked", [this] { return OverQuota(); }},
      {"RESOURCE_EXHAUSTED", "STATE_MEMORY_EXHAUSTED", "main",
       [this] {
         Request config = Named("softmax");
         config.mutable_config()->mutable_policy()->set_early_end(v1::EARLY_END_SUPPRESS);
         std::string text;
         while (text.size() < 60000) text += "a file and a page ";
         return peer("main").Ending({config, Text(text)});
       }},
      {"UNAVAILABLE", "SERVER_FULL", "main", [this] { return Full(); }},
      {"UNAVAILABLE", "DRAINING", "doomed", [this] { return Drained(); }},
      {"UNAVAILABLE", "MAX_DURATION", "brief",
       [this] { return OpenStream(*peer("brief").stub, {Config()}).Finish(); }},
      {"UNAVAILABLE", "", "doomed", [this] { return Killed(); }},
      {"ABORTED", "IDLE_TIMEOUT", "main",
       [this] {
         return Silent({Edited([](auto* c) { c->mutable_idle_timeout()->set_nanos(100000000); })});
       }},
      {"ABORTED", "READER_STUCK", "main", [this] { return StuckReader(); }},
      {"ABORTED", "CONFIG_TIMEOUT", "main", [this] { return Silent({}); }},
      {"ABORTED", "MAX_DURATION", "brief",
       [this] { return Translate("brief", "a file and a page", 5000); }},
      {invalid, "TOO_MANY_LINES", "main", [this] { return Translate("main", "", 1 << 16); }},
      {"UNIMPLEMENTED", "", "main",
       [this] { return Translate("main", "a file and a page", 100, GRPC_COMPRESS_GZIP); }},
      {"ABORTED", "SUPERSEDED", "main", [this] { return Superseded(); }},
      {"INTERNAL", "INTERNAL", "main",
       [this] {
         Request config = Named("edited");
         config.mutable_config()->set_input_format(v1::INPUT_FORMAT_TOKEN_IDS);
         return peer("main").Ending({config, Ids({5, kPoison, 6, 7, 8})});
       }},
      {"CANCELLED", "", "main", [this] { return CancelledByClient(); }},
      {"DEADLINE_EXCEEDED", "", "main", [this] { return TooLate(); }},
  };

  std::set<Row> provoked;
  for (const Case& row : cases) {
    SCOPED_TRACE(absl::StrCat(row.code, " ", row.reason));
    provoked.insert({row.code, row.reason});
    const grpc::Status status = row.provoke();
    EXPECT_EQ(CodeName(status.error_code()), row.code) << status.error_message();
    EXPECT_EQ(Reason(status), *row.reason == '\0' ? "no details" : row.reason)
        << status.error_message();
    EXPECT_NE(status.error_message(), "");
    if (std::string(row.server) == "main") WaitUntilIdle();
    ExpectServes(row.server);
    EXPECT_TRUE(servers_[row.server]->running());
  }
  std::set<Row> documented = DocumentedRows();
  documented.erase({"INVALID_ARGUMENT", "TEXT_TOO_LONG"});  // bounds_test provokes it.
  documented.erase({"any other", ""});
  EXPECT_THAT(provoked, testing::ContainerEq(documented));
}

}  // namespace
}  // namespace leapstream
